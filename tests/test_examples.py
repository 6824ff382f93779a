"""The loader in other people's programs: its public names, and the Keras example. PyTorch's is in tests/torch."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.support.data_set import ROOT
from webvision.data import DataSet, batches
from webvision.data.views.augment import Augmentation
from webvision.data.views.presets import PRESETS


def test_the_public_names_load_nothing_until_they_are_asked_for():
    code = (
        "import sys, webvision.data; print('numpy' in sys.modules); webvision.data.batches; print('cv2' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.stdout.splitlines()[0] == "False" and done.returncode == 0, done.stderr
    with pytest.raises(ImportError, match="cannot import name 'loader_of_mine'"):
        from webvision.data import loader_of_mine  # noqa: F401


@pytest.mark.parametrize("workers", [0, 1])
def test_training_batches_do_not_end_and_begin_where_they_are_told(tiny_data, workers):
    split = DataSet.open(tiny_data).split("train")
    view = Augmentation(image_size=32)
    with batches(split, 6, view, balance="upsample", seed=3, workers=workers) as loader:
        feed = iter(loader)
        first = [next(feed) for _ in range(8)]  # more than the 36 entries of an epoch
    assert first[0].images.shape == (6, 32, 32, 3) and first[0].images.dtype == np.uint8
    assert set(np.concatenate([batch.labels for batch in first])) == {0, 1, 2}
    with batches(split, 6, view, balance="upsample", seed=3, start=12) as later:
        assert np.array_equal(next(iter(later)).images, first[2].images)


def test_evaluation_batches_have_every_picture_once_in_order(tiny_data):
    data = DataSet.open(tiny_data)
    with batches(data.split("val"), 4, PRESETS["webvision"].scaled(32)) as loader:
        rows = np.concatenate([batch.rows for batch in loader])
    assert rows.tolist() == list(range(9))
    with batches(data.split("val"), 4, "sotabench") as loader:
        assert next(iter(loader)).images.shape == (4, 224, 224, 3)


def test_the_keras_example_trains_and_saves(tiny_data, tmp_path):
    done = subprocess.run(
        [sys.executable, os.path.join(ROOT, "examples", "keras_training.py"), "--data", str(tiny_data)]
        + ["--epochs", "2", "--batch", "8", "--size", "32", "--workers", "1", "--out", "m.keras"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr
    assert "epoch 2/2: val loss" in done.stdout and (tmp_path / "m.keras").stat().st_size > 10_000
