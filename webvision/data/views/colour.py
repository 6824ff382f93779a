"""Brightness, contrast, saturation and lighting as ONE affine map of a pixel, composed for a whole batch at once.

Each of the four is affine in the pixel, and contrast's mean passes through the ones before it, so their product, in any
order, is `A x + b` with `b = C mean + d`: A, C and d follow from the random numbers alone, the crop's mean is one look
at the pixels. The sequential operations in float32 differ by at most 0.03 of 255 (measured; the tests repeat it).

tensorpack clips and truncates between the operations when it is given uint8, whatever `clip=` says; that is not copied:
the float form is fb.resnet.torch's, from which the recipe comes.
"""

import itertools
from typing import NamedTuple

import numpy as np

GREY_BGR = np.array([0.114, 0.587, 0.299])  # ITU-R BT.601, as cv2.COLOR_BGR2GRAY
_GREY_ROWS = np.tile(GREY_BGR, (3, 1))  # x -> its grey value in each channel
# ImageNet's colour covariance (Krizhevsky et al. 2012, sec. 4.1, with fb.resnet.torch's numbers), turned to BGR.
LIGHTING_EIGENVALUES = np.array([0.0045, 0.0188, 0.2175]) * 255
LIGHTING_EIGENVECTORS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])[
    ::-1, ::-1
]
ORDERS = np.array(list(itertools.permutations(range(4))))  # of brightness, contrast, saturation, lighting


class ColourDraws(NamedTuple):
    """What was drawn for a batch: row numbers of ORDERS, three factors, and three normal numbers times their
    deviation."""

    order: np.ndarray  # [n]
    brightness: np.ndarray  # [n] factor
    contrast: np.ndarray  # [n] factor
    saturation: np.ndarray  # [n] factor
    lighting: np.ndarray  # [n, 3]


class Composed(NamedTuple):
    """x -> linear x + (of_mean mean + offset), for each picture of a batch."""

    linear: np.ndarray  # [n, 3, 3]
    of_mean: np.ndarray  # [n, 3, 3]
    offset: np.ndarray  # [n, 3]


def compose(draws: ColourDraws, contrast_mean: str = "channel") -> Composed:
    """The four operations of each picture, in its order, as one map. `contrast_mean`: 'channel' or 'grey'."""
    count = len(draws.order)
    # One array holds all: columns 0-2 linear, 3-5 of_mean, 6 offset; brightness and saturation act on all columns
    # alike.
    maps = np.zeros((count, 3, 7))
    maps[:, :, :3] = np.eye(3)
    added = (draws.lighting * LIGHTING_EIGENVALUES) @ LIGHTING_EIGENVECTORS.T
    to_mean = np.eye(3) if contrast_mean == "channel" else _GREY_ROWS
    for step in ORDERS[draws.order].T:
        for operation in range(4):
            chosen = np.flatnonzero(step == operation)
            if not len(chosen):
                continue
            now = maps[chosen]
            if operation == 0:
                now *= draws.brightness[chosen, None, None]
            elif operation == 1:
                now = _contrast(now, draws.contrast[chosen, None, None], to_mean)
            elif operation == 2:
                factor = draws.saturation[chosen, None, None]
                now = factor * now + (1 - factor) * (_GREY_ROWS @ now)
            else:
                now[:, :, 6] += added[chosen]
            maps[chosen] = now
    return Composed(maps[:, :, :3], maps[:, :, 3:6], maps[:, :, 6])


def _contrast(maps, factor, to_mean):
    """x * factor + m (1 - factor), where m is the mean of x as the map so far makes it."""
    mean = np.zeros_like(maps)
    mean[:, :, 3:6] = to_mean @ (maps[:, :, :3] + maps[:, :, 3:6])
    mean[:, :, 6] = maps[:, :, 6] @ to_mean.T
    return maps * factor + mean * (1 - factor)


def matrices(composed: Composed, means: np.ndarray) -> np.ndarray:
    """The float32 matrices [n, 3, 4] for pictures whose means are `means` [n, 3] (BGR, 0..255): x -> M[:, :3] x + M[:,
    3]."""
    out = np.empty((len(means), 3, 4), np.float32)
    out[:, :, :3] = composed.linear
    out[:, :, 3] = np.matmul(composed.of_mean, means[:, :, None])[:, :, 0] + composed.offset
    return out
