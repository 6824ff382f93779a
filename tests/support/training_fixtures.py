"""Whole trainings of the command, with a tiny network, inside the test's process: a second each."""

import json
import os
import re

import pytest

from tests.support import tiny_run
from webvision import faults

STEPS = 8  # 2 epochs of 4, as tiny_run.ARGS says


class Trainings:
    """Runs `imagenet-resnet.py FLAGS` on `data` into `out`/run."""

    def __init__(self, data, out, monkeypatch):
        self.data, self.out, self.folder = data, out, out / "run"
        self._monkeypatch = monkeypatch

    def __call__(self, *flags, fault=""):
        """Train; raises what ends the command. `fault`: as in WEBVISION_FAULT, or a function called with each point
        passed."""
        faults._passed.clear()
        with self._monkeypatch.context() as patch:
            if callable(fault):
                patch.setattr(faults, "point", fault)
            else:
                patch.setenv(faults.VARIABLE, fault)
            args = [] if "--eval" in flags else tiny_run.ARGS  # of which --eval knows few
            tiny_run.main([*args, "--data", str(self.data), "--out", str(self.out), *map(str, flags)])

    def weights(self, folder=None):
        return ((folder or self.folder) / f"model-{STEPS}.data-00000-of-00001").read_bytes()

    def log(self):
        return (self.folder / "log.log").read_text()

    def steps(self):
        """Steps of the finished checkpoints."""
        return sorted(
            int(match[1]) for name in os.listdir(self.folder) if (match := re.fullmatch(r"model-(\d+)\.json", name))
        )

    def stats(self):
        return json.loads((self.folder / "stats.json").read_text())

    def epochs(self):
        return [(entry["epoch_num"], entry["global_step"]) for entry in self.stats()]


@pytest.fixture
def train(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    return Trainings(tiny_data, tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def undisturbed(tiny_data, tmp_path_factory):
    """A finished training that nobody disturbed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "-1")
        done = Trainings(tiny_data, tmp_path_factory.mktemp("undisturbed"), patch)
        done()
    return done


def at(name, number, action):
    """A fault that calls `action` when the point `name` is passed for the `number`th time."""
    passed = [0]

    def point(here):
        passed[0] += here == name
        if here == name and passed[0] == number:
            action()

    return point
