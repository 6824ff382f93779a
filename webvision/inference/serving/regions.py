"""Which region of a picture mattered: how much less probable the best class is with that region covered.

Needs nothing of the network but its answers, so it is the same for a checkpoint and an ONNX file.
"""

import numpy as np

GRID = 7  # regions a side; as many as the last map of most networks has


def covered(image, grid=GRID):
    """uint8 [1 + grid * grid, h, w, 3]: the picture, then with each region and half its neighbours in its mean
    colour."""
    height, width = image.shape[:2]
    copies = np.repeat(image[None], 1 + grid * grid, axis=0)
    grey = image.reshape(-1, image.shape[-1]).mean(axis=0).round().astype(np.uint8)
    rows, columns = _edges(height, grid), _edges(width, grid)
    for i, (top, bottom) in enumerate(rows):
        for j, (left, right) in enumerate(columns):
            copies[1 + i * grid + j, top:bottom, left:right] = grey
    return copies


def _edges(length, grid):
    """[(first, end)] of the regions along one side, each half a region wider than its share at both ends."""
    half = length / grid / 2
    return [
        (max(0, round(length * i / grid - half)), min(length, round(length * (i + 1) / grid + half)))
        for i in range(grid)
    ]


def importance(probabilities, grid=GRID):
    """[grid, grid] in 0..1 of the answers to `covered`: the fall of the best class, the largest fall being 1.

    All zero where nothing that is covered makes it less probable.
    """
    best = int(probabilities[0].argmax())
    falls = np.maximum(probabilities[0, best] - probabilities[1:, best], 0)
    return (falls / falls.max() if falls.max() > 0 else falls).reshape(grid, grid)
