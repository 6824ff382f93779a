"""A run with TensorFlow's deterministic operations, which GPUs need to repeat a run bit for bit."""

import json

import pytest

from webvision.compat import tf

from tensorflow.python.framework import config


@pytest.fixture
def deterministic():
    tf.config.experimental.enable_op_determinism()
    yield
    config.disable_op_determinism()


def test_a_run_of_deterministic_operations_trains_and_repeats(deterministic, train, tmp_path):
    train("--name", "once")
    train("--name", "again")
    assert train.weights(tmp_path / "once") == train.weights(tmp_path / "again")
    assert all(
        0 <= entry["data-wait-share"] <= 1 for entry in json.loads((tmp_path / "once" / "stats.json").read_text())
    )
