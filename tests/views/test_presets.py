"""Each preset against the library that its system uses: tensorpack's arithmetic with OpenCV, or Pillow."""

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.support.loader_fixtures import picture
from webvision.data.pictures.resample import resize_part
from webvision.data.views.presets import PRESETS, Preset

SIZES = [
    (341, 256),
    (256, 384),
    (500, 375),
    (375, 500),
    (50, 60),
    (700, 640),
    (224, 224),
    (256, 256),
    (3, 40),
    (257, 231),
]


def ours(preset, image):
    x, y, width, height, *resized, left, top = preset.place(image.shape[1], image.shape[0])
    return resize_part(
        image[y : y + height, x : x + width], tuple(resized), (left, top), preset.image_size, preset.resampling
    )


def with_pillow(image, short_side, crop, border, method):
    """torchvision's Resize and CenterCrop in its own arithmetic, on Pillow pictures."""
    image = Image.fromarray(image)
    if border:
        image = image.crop((border, border, image.width - border, image.height - border))
    short, long = min(image.size), max(image.size)
    long = int(short_side * long / short)
    image = image.resize((short_side, long) if image.width <= image.height else (long, short_side), method)
    left, top = int(round((image.width - crop) / 2.0)), int(round((image.height - crop) / 2.0))
    return np.asarray(image)[top : top + crop, left : left + crop]


@pytest.mark.parametrize("size", SIZES)
def test_the_pillow_presets_are_pillow_to_the_bit(size):
    image = picture(7, *size)
    for name, short, border, method in (
        ("sotabench", 256, 0, Image.BICUBIC),
        ("di-engine", 256, 0, Image.BILINEAR),
        ("objectnet", 224, 2, Image.BILINEAR),
    ):
        if name == "objectnet" and min(size) < 5:
            continue
        assert (ours(PRESETS[name], image) == with_pillow(image, short, 224, border, method)).all(), name


@pytest.mark.parametrize("size", SIZES)
def test_kneron_is_a_plain_resize_within_one_level(size):
    """Pillow 13 may shrink rows before columns where the sides change differently; we keep the older order, as it was
    published with."""
    image = picture(7, *size)
    expected = np.asarray(Image.fromarray(image).resize((224, 224), Image.BILINEAR))
    assert np.abs(ours(PRESETS["kneron"], image).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("size", SIZES)
def test_webvision_is_opencv_with_tensorpacks_rounding(size):
    image = picture(7, *size)
    width, height = size
    factor = 256.0 / min(size)
    resized = (256, int(factor * height + 0.5)) if width <= height else (int(factor * width + 0.5), 256)
    expected = cv2.resize(image, resized, interpolation=cv2.INTER_CUBIC)
    top, left = int((resized[1] - 224) * 0.5), int((resized[0] - 224) * 0.5)
    assert (ours(PRESETS["webvision"], image) == expected[top : top + 224, left : left + 224]).all()


def test_the_normalisations():
    for name, preset in PRESETS.items():
        assert preset.name == name and len(preset.mean) == len(preset.std) == 3
    webvision, kneron = PRESETS["webvision"], PRESETS["kneron"]
    assert webvision.colour_order == "bgr" and webvision.mean == (0.406, 0.456, 0.485) and webvision.std[0] == 0.225
    assert kneron.scale == 256 and kneron.mean == (0.5, 0.5, 0.5) and kneron.std == (1, 1, 1)
    assert {p.colour_order for n, p in PRESETS.items() if n != "webvision"} == {"rgb"}


def test_other_image_sizes_keep_the_proportion():
    small = PRESETS["webvision"].scaled(64)
    assert (small.image_size, small.short_side) == (64, 73)
    assert ours(small, picture(1, 300, 200)).shape == (64, 64, 3)
    assert PRESETS["kneron"].scaled(112).short_side is None
    assert PRESETS["objectnet"].scaled(112).short_side == 112
    for wrong in ({"image_size": 2}, {"short_side": 200}):
        with pytest.raises(ValueError):
            Preset("x", **wrong)


def test_plans_are_the_same_for_every_seed():
    for preset in PRESETS.values():
        plan = preset.plan(1, 5, 3)
        assert plan.colours is None and not plan.flips.any()
        assert (
            plan.place([341, 50, 9], [256, 80, 9]) == [preset.place(341, 256), preset.place(50, 80), preset.place(9, 9)]
        ).all()
