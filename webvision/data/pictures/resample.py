"""Resizing as the systems we are compared with do it: OpenCV's bicubic, Pillow's bilinear and bicubic.

They are not interchangeable: OpenCV interpolates between the nearest pixels whatever the factor (a = -0.75), Pillow
widens its filter when it shrinks (antialiasing; bicubic a = -0.5). On photographs halved in size they differ by 5
levels on average. Pillow's is done here in NumPy, to the bit, so that evaluation needs no Pillow.
"""

import functools

import numpy as np

_BITS = 22  # Pillow's fixed point for 8-bit pictures: 32 - 8 - 2


def resize_part(
    image: np.ndarray, resized: tuple[int, ...], corner: tuple[int, ...], size: int, method: str
) -> np.ndarray:
    """Resize `image` (uint8 BGR) to `resized` = (width, height), and of that the `size` x `size` square at `corner`."""
    if method == "cubic":
        return _opencv(image, resized, corner, size)
    across = _coefficients(image.shape[1], resized[0], corner[0], size, method)
    down = _coefficients(image.shape[0], resized[1], corner[1], size, method)
    first, last = down[0].min(), (down[0] + down[1].shape[1]).max()
    rows = _weigh(image[first:last].transpose(1, 0, 2), *across).transpose(1, 0, 2)
    return _weigh(rows, down[0] - first, down[1])


def _opencv(image, resized, corner, size):
    import cv2

    left, top = corner
    if image.shape[1::-1] != tuple(resized):
        image = cv2.resize(image, resized, interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(image[top : top + size, left : left + size])


@functools.lru_cache(maxsize=256)
def _coefficients(length, resized, start, count, method):
    """For each output start..start+count-1: the first input pixel [count], and the integer weights [count, taps]."""
    reach, weigh = {"pil-bilinear": (1.0, _triangle), "pil-bicubic": (2.0, _bicubic)}[method]
    factor = length / resized
    stretch = max(factor, 1.0)
    centres = (np.arange(start, start + count) + 0.5) * factor
    first = np.maximum((centres - reach * stretch + 0.5).astype(np.int64), 0)
    last = np.minimum((centres + reach * stretch + 0.5).astype(np.int64), length)
    taps = np.arange(int((last - first).max()))
    # One tap after the other, in Pillow's order of operations: the sums must round as its do.
    weights = weigh((taps + first[:, None] - centres[:, None] + 0.5) * (1.0 / stretch))
    weights[taps >= (last - first)[:, None]] = 0
    total = np.zeros(count)
    for tap in taps:
        total += weights[:, tap]
    weights /= total[:, None]
    fixed = np.trunc(weights * (1 << _BITS) + np.where(weights < 0, -0.5, 0.5)).astype(np.int32)
    # All rows as many taps: where a row has fewer, it starts earlier with weights of zero, so that no index leaves the
    # input.
    over = np.maximum(first + len(taps) - length, 0)
    for row in np.flatnonzero(over):
        fixed[row] = np.roll(fixed[row], over[row])
    return np.maximum(first - over, 0), fixed[:, :length]


def _triangle(x):
    return np.maximum(1 - np.abs(x), 0)


def _bicubic(x):
    a, x = -0.5, np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def _weigh(image, first, weights):
    """The weighted sums along the first axis, rounded to uint8."""
    total = np.full((len(first), *image.shape[1:]), 1 << (_BITS - 1), np.int32)
    for tap in range(weights.shape[1]):
        total += image[first + tap] * weights[:, tap, None, None]
    return np.clip(total >> _BITS, 0, 255).astype(np.uint8)
