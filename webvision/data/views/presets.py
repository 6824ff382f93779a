"""How each system prepares a picture for evaluation, by name. Pixels stay uint8 BGR; the normalisation is for the
graph.

| preset     | border | resize                               | crop | then                         |
|------------|--------|--------------------------------------|------|------------------------------|
| webvision  | -      | short side 256, OpenCV bicubic       | 224  | BGR, ImageNet mean and std   |
| objectnet  | 2 px   | short side 224, Pillow bilinear      | 224  | RGB, ImageNet mean and std   |
| sotabench  | -      | short side 256, Pillow bicubic       | 224  | RGB, ImageNet mean and std   |
| di-engine  | -      | short side 256, Pillow bilinear      | 224  | RGB, ImageNet mean and std   |
| kneron     | -      | 224 x 224, sides not kept, bilinear  | -    | RGB, x / 256 - 0.5           |

The Pillow ones are exact to the bit, given the same decoded pixels; one difference is deliberate: EXIF orientation is
applied for all of them (torchvision and Pillow ignore it). Kneron publishes the normalisation and the size, not how the
sides are brought to it; a plain resize is our reading.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np

from webvision.data.views import augment
from webvision.data.views.placement import Plan

_MEAN_RGB = (0.485, 0.456, 0.406)
_STD_RGB = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preset:
    """A fixed view of a picture, and what the graph does with its pixels: (x / scale - mean) / std in
    `colour_order`."""

    name: str
    image_size: int = 224
    short_side: int | None = 256  # None: both sides are brought to the image size
    border: int = 0  # pixels cut from each side first
    resampling: str = "cubic"  # or "pil-bilinear", "pil-bicubic"; see pictures/resample.py
    rounding: str = "tensorpack"  # of the long side and the crop's corner: 'tensorpack' or 'torchvision'
    colour_order: str = "rgb"  # of the network's input; the loader always yields BGR
    scale: float = 255.0
    mean: tuple = _MEAN_RGB  # in colour_order
    std: tuple = _STD_RGB  # in colour_order
    crops: int = 1  # views of a picture: 1, its centre, or 5, the corners of the resized picture first
    flip: bool = False  # each crop mirrored too, after all crops as they are

    shrink = False  # never: evaluation sees the pixels that a full decode gives

    def __post_init__(self):
        if not 8 <= self.image_size <= 4096:
            raise ValueError(f"image size {self.image_size} is outside 8..4096")
        if self.short_side is not None and self.short_side < self.image_size:
            raise ValueError(f"short side {self.short_side} is smaller than the image size {self.image_size}")
        if self.crops not in (1, 5):
            raise ValueError(f"{self.crops} crops; it is 1 (centre) or 5 (corners and centre)")

    @property
    def views(self) -> int:
        """How many views of a picture are shown, one after the other."""
        return self.crops * (2 if self.flip else 1)

    def scaled(self, image_size: int) -> "Preset":
        """The same preset for another image size, with the short side in proportion."""
        short = self.short_side and max(image_size, round(self.short_side * image_size / self.image_size))
        return dataclasses.replace(self, image_size=image_size, short_side=short)

    def normalised(self, images: np.ndarray) -> np.ndarray:
        """uint8 BGR images as float32 in `colour_order`, scaled, mean and deviation out: what the graph does."""
        images = images[..., ::-1] if self.colour_order == "rgb" else images
        scaled = images.astype(np.float32) * np.float32(1.0 / self.scale)
        return (scaled - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)

    def plan(self, seed: int, first: int, count: int) -> Plan:
        """The `Plan` of `count` samples: the views of one picture, then those of the next; the same for every seed."""
        views = np.arange(first, first + count) % self.views

        def place(widths, heights, rows=slice(None)):
            return np.array(
                [
                    self.place(int(width), int(height), crop=int(view) % self.crops)
                    for width, height, view in zip(widths, heights, views[rows])
                ],
                np.int32,
            ).reshape(-1, 8)

        return Plan(place=place, flips=views >= self.crops, colours=None)

    def place(self, width: int, height: int, *, crop: int | None = None) -> tuple[int, ...]:
        """Region, resized size and corner (placement.FIELDS) for a picture of this size.

        Of five crops, 0..3 are the corners of the resized picture, left before right and top before bottom; any other
        is the centre.
        """
        *resized, left, top = self._centre(width, height)
        if self.crops == 5 and crop is not None and crop < 4:
            left, top = crop % 2 * (resized[4] - self.image_size), crop // 2 * (resized[5] - self.image_size)
        return (*resized, left, top)

    def _centre(self, width, height):
        border = min(self.border, (min(width, height) - 1) // 2)  # a picture of 3 px keeps one
        width, height, size = width - 2 * border, height - 2 * border, self.image_size
        if self.short_side is None:
            return border, border, width, height, size, size, 0, 0
        if self.rounding == "tensorpack":
            return (border, border, *augment.centre(width, height, self.short_side, size)[2:])
        long_side = int(self.short_side * max(width, height) / min(width, height))
        resized = (self.short_side, long_side) if width <= height else (long_side, self.short_side)
        return border, border, width, height, *resized, *(int(round((side - size) / 2.0)) for side in resized)


PRESETS = {
    preset.name: preset
    for preset in (
        Preset("webvision", colour_order="bgr", mean=_MEAN_RGB[::-1], std=_STD_RGB[::-1]),
        Preset("objectnet", short_side=224, border=2, resampling="pil-bilinear", rounding="torchvision"),
        Preset("sotabench", resampling="pil-bicubic", rounding="torchvision"),
        Preset("di-engine", resampling="pil-bilinear", rounding="torchvision"),
        Preset(
            "kneron", short_side=None, resampling="pil-bilinear", scale=256.0, mean=(0.5, 0.5, 0.5), std=(1.0, 1.0, 1.0)
        ),
    )
}
