"""One matrix against the four operations one after the other, as tensorpack does them on floats."""

import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from tests.support.data_set import ROOT
from tests.support.loader_fixtures import picture
from webvision.data.views import colour


def draws(count, seed=0):
    generator = np.random.Generator(np.random.Philox(key=seed))
    return colour.ColourDraws(
        order=np.arange(count) % 24,
        brightness=generator.uniform(0.6, 1.4, count),
        contrast=generator.uniform(0.6, 1.4, count),
        saturation=generator.uniform(0.6, 1.4, count),
        lighting=generator.normal(0, 0.1, (count, 3)),
    )


def in_sequence(image, drawn, row, contrast_mean):
    """An independent reference: float32, one operation after the other, nothing clipped."""
    image = image.astype(np.float32)
    for operation in colour.ORDERS[drawn.order[row]]:
        if operation == 0:
            image = image * np.float32(drawn.brightness[row])
        elif operation == 1:
            factor = np.float32(drawn.contrast[row])
            mean = (
                image.mean(axis=(0, 1), dtype=np.float64)
                if contrast_mean == "channel"
                else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).mean(dtype=np.float64)
            )
            image = (image * factor + mean * (1 - factor)).astype(np.float32)
        elif operation == 2:
            factor = np.float32(drawn.saturation[row])
            image = image * factor + (cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) * (1 - factor))[..., None]
        else:
            eigenvectors = np.array(
                [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]
            )
            added = eigenvectors @ (drawn.lighting[row][::-1] * np.array([0.2175, 0.0188, 0.0045]) * 255)
            image = image + added[::-1].astype(np.float32)  # the published constants are RGB
    return image


@pytest.mark.parametrize("contrast_mean", ["channel", "grey"])
def test_the_matrix_equals_the_sequence(contrast_mean):
    """Within 0.03 of 255 before rounding, one level after, for all 24 orders."""
    count, worst = 96, 0.0
    drawn = draws(count)
    composed = colour.compose(drawn, contrast_mean)
    for row in range(count):
        image = picture(row, 61, 47)
        matrix = colour.matrices(
            colour.Composed(*(part[row : row + 1] for part in composed)), np.array([cv2.mean(image)[:3]])
        )[0]
        expected = in_sequence(image, drawn, row, contrast_mean)
        ours = image.astype(np.float64) @ matrix[:, :3].T.astype(np.float64) + matrix[:, 3]
        worst = max(worst, np.abs(ours - expected).max())
        rounded = np.clip(np.rint(expected), 0, 255)
        assert np.abs(cv2.transform(image, matrix).astype(int) - rounded).max() <= 1
    assert worst <= 0.03


def test_nothing_drawn_is_nothing_changed():
    ones = np.ones(3)
    composed = colour.compose(colour.ColourDraws(np.array([0, 11, 23]), ones, ones, ones, np.zeros((3, 3))))
    matrices = colour.matrices(composed, np.full((3, 3), 117.0))
    assert np.abs(matrices - np.eye(3, 4)).max() < 1e-6


def test_tensorpacks_own_augmenters_agree():
    """tensorpack 0.11 on float32 with clip=False, in its own process: it imports TensorFlow."""
    done = subprocess.run(
        [sys.executable, "-c", TENSORPACK],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        check=True,
    )
    worst = json.loads(done.stdout.splitlines()[-1])
    assert worst["channel"] <= 0.03 and worst["grey"] <= 0.03, worst


TENSORPACK = """
import json
import cv2
import numpy as np
from tensorpack.dataflow import imgaug
from tests.support.loader_fixtures import picture
from tests.views.test_colour import draws
from webvision.data.views import colour
eigval = np.asarray([0.2175, 0.0188, 0.0045][::-1]) * 255.0
eigvec = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]], dtype="float32")
eigvec = eigvec[::-1, ::-1]
worst = {}
drawn = draws(48, seed=4)
for mean, rgb in (("channel", None), ("grey", False)):
    steps = [imgaug.BrightnessScale((0.6, 1.4), clip=False), imgaug.Contrast((0.6, 1.4), rgb=rgb, clip=False),
             imgaug.Saturation(0.4, rgb=False, clip=False),
             imgaug.Lighting(0.1, eigval=eigval, eigvec=eigvec, clip=False)]
    composed = colour.compose(drawn, mean)
    for row in range(48):
        image = picture(row + 100, 224, 224)
        value = image.astype("float32")
        numbers = [drawn.brightness[row], drawn.contrast[row], drawn.saturation[row],
                   drawn.lighting[row].astype("float32")]
        for step in colour.ORDERS[drawn.order[row]]:
            # NumPy's float32 mean over two axes is itself off by 0.03 at this size; the channel mean: in float64.
            wide = value.astype("float64") if step == 1 and mean == "channel" else value
            value = steps[step]._augment(wide, numbers[step]).astype("float32")
        one = colour.Composed(*(part[row:row + 1] for part in composed))
        matrix = colour.matrices(one, np.array([cv2.mean(image)[:3]]))[0].astype(np.float64)
        ours = image.astype(np.float64) @ matrix[:, :3].T + matrix[:, 3]
        worst[mean] = max(worst.get(mean, 0), float(np.abs(ours - value).max()))
print(json.dumps(worst))
"""
