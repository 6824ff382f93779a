"""Where the pixels of a training or evaluation picture come from, as numbers, before any is decoded.

A view of a picture is: take the region (x, y, width, height), resize it to (resized_width, resized_height), keep the
square of the image size at (left, top) of that. A random crop is resized to just the square; a centre crop keeps a
part.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from webvision.data.views import colour

FIELDS = ("x", "y", "width", "height", "resized_width", "resized_height", "left", "top")


class Plan(NamedTuple):
    """What is decided for a batch before its files are opened: how to place pictures of any size, mirror, and
    colours."""

    place: Callable[..., np.ndarray]  # (widths [n], heights [n], rows of the batch [n]) -> int32 [n, 8], columns FIELDS
    flips: np.ndarray  # bool [n]
    colours: colour.Composed | None


def shrink_factor(width: int, height: int, resized_width: int, resized_height: int) -> int:
    """By how much (1, 2, 4, 8) a JPEG may be shrunk while decoding so that a region keeps at least its target's
    size."""
    for factor in (8, 4, 2):
        if width >= factor * resized_width and height >= factor * resized_height:
            return factor
    return 1


def shrink_region(region: Sequence[int], factor: int, picture: tuple[int, int]) -> tuple[int, ...]:
    """`region` (x, y, width, height) in pixels of a `picture` (width, height) that was shrunk by `factor`, each side
    rounded up.

    Rounded to whole pixels, so it moves by up to half a shrunk pixel.
    """
    if factor == 1:
        return tuple(region)
    shrunk = [-(-side // factor) for side in picture]
    width, height = (max(1, round(side / factor)) for side in region[2:])
    x, y = (min(round(low / factor), side - length) for low, side, length in zip(region[:2], shrunk, (width, height)))
    return x, y, width, height
