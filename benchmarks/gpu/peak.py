"""How much of a card's arithmetic a step uses."""

from webvision.model.backbones import BACKBONES

TRAINING = 3  # forward, and the gradients of activations and of weights

# Dense TFLOP/s by NVIDIA's data sheets: float32, TF32, half precision (float16 and bfloat16) with float32 sums.
PEAKS = {
    "H200": (67, 495, 990),
    "H100 PCIe": (51, 378, 756),
    "H100 NVL": (60, 418, 836),
    "H100": (67, 495, 990),
    "A100": (19.5, 156, 312),
    "A40": (37.4, 74.8, 150),
    "A30": (10.3, 82, 165),
    "A10": (31.2, 62.5, 125),
    "L40S": (91.6, 183, 366),
    "L40": (90.5, 90.5, 181),
    "L4": (30.3, 60, 121),
    "V100": (15.7, None, 125),
    "T4": (8.1, None, 65),
}
_COLUMN = {"float32": 0, "tf32": 1, "float16": 2, "bfloat16": 2}


def peak(card, precision):
    """FLOP/s of the card called `card`, or None where the table does not know it."""
    name = next((name for name in PEAKS if name in card), None)
    found = PEAKS[name][_COLUMN[precision]] if name else None
    return found and found * 1e12


def share_of_peak(card, precision, network, pictures_per_second):
    """The share of the card's peak that training `network` at this rate multiplies and adds, or None."""
    flops = BACKBONES[network].mmac * 1e6 * 2 * TRAINING * pictures_per_second
    found = peak(card, precision)
    return found and flops / found


def told(card, precision, pictures_per_second):
    """What a check that measures the rate of a ResNet-50 tells."""
    share = share_of_peak(card, precision, "resnet50", pictures_per_second)
    of_peak = f", {share:.0%} of the card's peak" if share else ", the card's peak is not in our table"
    return {
        "held": None,
        "words": f"{pictures_per_second:.0f} pictures/s{of_peak}",
        "pictures_per_second": pictures_per_second,
        "share_of_peak": share,
    }
