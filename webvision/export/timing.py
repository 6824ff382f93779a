"""What each backbone costs on this machine: one picture at a time, in TensorFlow, in ONNX Runtime, and there in int8.

Beside it stands what Kneron publishes for its chips, as theirs: nothing of that was measured here.
"""

import time
from dataclasses import dataclass

import numpy as np

from webvision.data.views.presets import PRESETS
from webvision.export.graph import freeze
from webvision.export.onnx_writer import Options, onnx_model
from webvision.export.parity import OnnxRunner
from webvision.export.quantise import int8_model
from webvision.model.backbones import BACKBONES, Network

# Pictures a second on the KL520 and the KL720: the table in the README of github.com/kneron/Model_Zoo.
KNERON_FPS = {
    "mobilenetv2": (58.94, 620.7),
    "resnet18": (20.44, 141.4),
    "resnet50": (6.33, 49.08),
    "FP_classifier": (323.5, 3370.0),
}
CLASSES = {"FP_classifier": 2}


@dataclass(frozen=True)
class Timing:
    """One backbone's figures; milliseconds for one picture, the median of the runs."""

    backbone: str
    parameters: int
    megabytes: float  # of the float ONNX file, in millions of bytes
    mmac: float
    tensorflow_ms: float
    onnx_ms: float
    int8_ms: float
    kneron_fps: tuple | None  # (KL520, KL720), published


def time_backbone(name, *, runs=20, clock=time.perf_counter):
    """The Timing of a backbone with fresh weights, whose values do not matter for it."""
    row = BACKBONES[name]
    network = Network(name, CLASSES.get(name, 1000))
    frozen = freeze(network, None, PRESETS[row.preset])
    picture = np.random.default_rng(0).standard_normal((1, network.height, network.width, 3)).astype(np.float32)
    model = onnx_model(frozen, Options())
    with frozen.session() as session:
        in_tensorflow = session.make_callable(frozen.logits, [frozen.input])
        return Timing(
            name,
            row.parameters,
            len(model.SerializeToString()) / 1e6,
            row.mmac,
            _median_ms(lambda: in_tensorflow(picture), runs, clock),
            _median_ms(lambda run=OnnxRunner(model): run(picture), runs, clock),
            _median_ms(lambda run=OnnxRunner(int8_model(model, picture)): run(picture), runs, clock),
            KNERON_FPS.get(name),
        )


def _median_ms(function, runs, clock):
    function()  # memory is allotted, kernels are chosen
    times = []
    for _ in range(runs):
        began = clock()
        function()
        times.append(clock() - began)
    return 1000 * float(np.median(times))


HEADING = (
    f"{'backbone':<24}{'parameters':>12}{'MB':>7}{'MMAC':>9}{'TF ms':>9}{'ORT ms':>9}{'int8 ms':>9}{'pictures/s':>12}"
    f"{'KL520/720, published':>23}"
)


def line(timing):
    """A Timing as a line below HEADING; pictures a second are ONNX Runtime's, in float."""
    fps = "{:g} / {:g}".format(*timing.kneron_fps) if timing.kneron_fps else "-"
    rate = 1000 / timing.onnx_ms
    return (
        f"{timing.backbone:<24}{timing.parameters:>12,}{timing.megabytes:>7.1f}{timing.mmac:>9.1f}"
        f"{timing.tensorflow_ms:>9.2f}{timing.onnx_ms:>9.2f}{timing.int8_ms:>9.2f}{rate:>12.1f}{fps:>23}"
    )
