"""The training recipe's randomness: draw everything for a batch at once, apply it later, anywhere, with the same
result.

Sample number n of a run (n = 0, 1, ... over all epochs) owns DRAWS numbers of one counter-based generator: its crop,
colours and mirroring depend on (seed, n) alone, not on the batch size, the worker or the rank that builds it.
"""

from dataclasses import dataclass

import numpy as np

from webvision.data.views import colour
from webvision.data.views.placement import Plan

DRAWS = 48  # uniform numbers per sample; a multiple of 4, Philox makes four at a time
_FLIP, _ORDER, _BRIGHTNESS, _CONTRAST, _SATURATION, _NORMAL, _X, _Y, _TRIES = 0, 1, 2, 3, 4, 5, 9, 10, 12


@dataclass(frozen=True)
class Augmentation:
    """The WebVision training recipe (upstream's, which is fb.resnet.torch's), one field per knob."""

    image_size: int = 224
    area: tuple = (0.08, 1.0)  # of the crop, as a share of the picture; Szegedy et al. 2014, sec. 6
    aspect: tuple = (0.75, 1.333)  # of the crop, width to height, then swapped in half of the cases
    tries: int = 10  # to fit a crop into the picture; then a centre crop of the shorter side
    brightness: tuple = (0.6, 1.4)  # factor
    contrast: tuple = (0.6, 1.4)  # factor
    contrast_mean: str = (
        "channel"  # 'channel': each channel keeps its mean (upstream); 'grey': one mean (fb.resnet.torch)
    )
    saturation: float = 0.4  # factor within 1 +- this
    lighting: float = 0.1  # standard deviation along the colour axes of ImageNet
    colours: bool = True  # False: crop and mirror only
    flip: bool = True
    shrink: bool = True  # decode a JPEG at 1/2, 1/4, 1/8 where the crop is that much larger than the target

    views = 1  # of a picture, where it is shown once in list order; another row of the list is another draw
    resampling = "cubic"  # OpenCV's INTER_CUBIC, as upstream; not a field: nothing else is built

    def __post_init__(self):
        if not 8 <= self.image_size <= 4096:
            raise ValueError(f"image size {self.image_size} is outside 8..4096")
        if self.contrast_mean not in ("channel", "grey"):
            raise ValueError(f"contrast_mean is 'channel' or 'grey', not {self.contrast_mean!r}")
        if not 1 <= self.tries <= (DRAWS - _TRIES) // 3:
            raise ValueError(f"tries {self.tries} is outside 1..{(DRAWS - _TRIES) // 3}")
        for name in ("area", "aspect", "brightness", "contrast"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} {low}..{high} is no range of positive numbers")

    def plan(self, seed: int, first: int, count: int) -> Plan:
        """The `Plan` of the samples first .. first+count-1 of the run with `seed`."""
        drawn = draw(seed, first, count)
        return Plan(
            place=lambda widths, heights, rows=slice(None): self._place(drawn[rows], widths, heights),
            flips=(drawn[:, _FLIP] < 0.5) if self.flip else np.zeros(count, bool),
            colours=colour.compose(self.colour_draws(drawn), self.contrast_mean) if self.colours else None,
        )

    def colour_draws(self, drawn: np.ndarray) -> colour.ColourDraws:
        """The colour part of the uniform numbers `drawn` [n, DRAWS]."""
        # Box and Muller: normal numbers from a fixed number of uniform ones.
        radius = np.sqrt(-2 * np.log1p(-drawn[:, _NORMAL : _NORMAL + 2]))
        angle = 2 * np.pi * drawn[:, _NORMAL + 2 : _NORMAL + 4]
        normal = np.concatenate([radius * np.cos(angle), radius[:, :1] * np.sin(angle[:, :1])], axis=1)
        return colour.ColourDraws(
            order=(drawn[:, _ORDER] * len(colour.ORDERS)).astype(np.int64),
            brightness=_between(self.brightness, drawn[:, _BRIGHTNESS]),
            contrast=_between(self.contrast, drawn[:, _CONTRAST]),
            saturation=_between((1 - self.saturation, 1 + self.saturation), drawn[:, _SATURATION]),
            lighting=normal * self.lighting,
        )

    def _place(self, drawn, widths, heights):
        """Random-area crops of pictures of the given sizes; int32 [n, 8]."""
        widths, heights = np.asarray(widths, np.int64)[:, None], np.asarray(heights, np.int64)[:, None]
        tries = drawn[:, _TRIES : _TRIES + 3 * self.tries].reshape(len(drawn), self.tries, 3)
        area = _between(self.area, tries[..., 0]) * (widths * heights)
        aspect = _between(self.aspect, tries[..., 1])
        crop_width = np.maximum((np.sqrt(area * aspect) + 0.5).astype(np.int64), 1)
        crop_height = np.maximum((np.sqrt(area / aspect) + 0.5).astype(np.int64), 1)
        swap = tries[..., 2] < 0.5
        crop_width, crop_height = np.where(swap, crop_height, crop_width), np.where(swap, crop_width, crop_height)
        fits = (crop_width <= widths) & (crop_height <= heights)
        one = (np.arange(len(drawn)), fits.argmax(axis=1))
        size = self.image_size
        placed = np.empty((len(drawn), 8), np.int32)
        placed[:, 2], placed[:, 3] = crop_width[one], crop_height[one]
        # Upstream's randint(0, w - ww) never reaches the last column; here every position is as likely as any other.
        placed[:, 0] = drawn[:, _X] * (widths[:, 0] - placed[:, 2] + 1)
        placed[:, 1] = drawn[:, _Y] * (heights[:, 0] - placed[:, 3] + 1)
        placed[:, 4:6], placed[:, 6:8] = size, 0
        for row in np.flatnonzero(~fits.any(axis=1)):
            placed[row] = centre(int(widths[row, 0]), int(heights[row, 0]), size, size)
        return placed


def draw(seed: int, first: int, count: int) -> np.ndarray:
    """The uniform numbers [count, DRAWS] in [0, 1) of the samples first .. first+count-1; independent of how they are
    grouped."""
    generator = np.random.Philox(key=int(seed) & (1 << 128) - 1, counter=int(first) * (DRAWS // 4))
    return np.random.Generator(generator).random((count, DRAWS))


def centre(width: int, height: int, short_side: int, size: int) -> tuple[int, ...]:
    """Resize so that the shorter side is `short_side`, keep the centre: rounding as tensorpack's ResizeShortestEdge,
    CenterCrop."""
    factor = short_side / min(width, height)
    if height < width:
        resized_height, resized_width = short_side, int(factor * width + 0.5)
    else:
        resized_height, resized_width = int(factor * height + 0.5), short_side
    return (
        0,
        0,
        width,
        height,
        resized_width,
        resized_height,
        int((resized_width - size) * 0.5),
        int((resized_height - size) * 0.5),
    )


def _between(limits, uniform):
    return limits[0] + (limits[1] - limits[0]) * uniform
