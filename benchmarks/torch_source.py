"""The recipe as PyTorch users write it: Pillow, one picture at a time, colour jitter and lighting in floats."""

import io

import numpy as np


class PillowSet:
    """A map-style data set of (uint8 array [224, 224, 3], label)."""

    def __init__(self, entries, colours=True):
        self._entries, self._colours = entries, colours

    def __len__(self):
        return len(self._entries)

    def __getitem__(self, number):
        from PIL import Image

        path, label = self._entries[number]
        with Image.open(path) as file:
            return _view(file.convert("RGB"), self._colours), label


def augmented(sample, colours=True):
    """The same of a WebDataset sample: (bytes of a JPEG, label in digits)."""
    from PIL import Image

    return _view(Image.open(io.BytesIO(sample[0])).convert("RGB"), colours), int(sample[1])


def _view(image, colours):
    from PIL import Image

    draw = np.random.default_rng()
    x, y, width, height = _crop(draw, *image.size)
    image = image.resize((224, 224), Image.BICUBIC, box=(x, y, x + width, y + height))
    pixels = _coloured(draw, image) if colours else np.array(image)
    return pixels[:, ::-1].copy() if draw.random() < 0.5 else pixels


def _coloured(draw, image):
    from PIL import ImageEnhance

    for enhance in draw.permutation([ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color]):
        image = enhance(image).enhance(draw.uniform(0.6, 1.4))
    return np.clip(np.asarray(image, np.float32) + draw.normal(0, 5, 3).astype(np.float32), 0, 255).astype(np.uint8)


def _crop(draw, width, height):
    for _ in range(10):
        area, aspect = draw.uniform(0.08, 1) * width * height, draw.uniform(0.75, 1.333)
        wide, high = int(np.sqrt(area * aspect) + 0.5), int(np.sqrt(area / aspect) + 0.5)
        if wide <= width and high <= height:
            return draw.integers(0, width - wide + 1), draw.integers(0, height - high + 1), wide, high
    side = min(width, height)
    return (width - side) // 2, (height - side) // 2, side, side
