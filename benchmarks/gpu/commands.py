"""The training command itself, as it is typed: ended hard and continued, diverging, out of memory."""

import os
import re
import shutil
import subprocess
import sys

import numpy as np

from benchmarks.pictures import make_set
from webvision.environment import ROOT

PICTURES = 256
STEPS = 8
BOUND = 0.05  # of two runs on a GPU without deterministic kernels, norm of the difference over the norm


def run_training(place, *flags, environment=None, limit=200):
    """The finished process of a training of `imagenet-resnet.py`, small enough for where it runs."""
    network = ["-d", "50", "--image-size", "224"] if place.gpus else ["-d", "18", "--image-size", "64"]
    return run_card(*network, "--workers", 2, "--log-every", 4, *flags, environment=environment, limit=limit)


def run_card(*flags, environment=None, limit=200):
    """The finished process of the card's command."""
    return subprocess.run(
        [sys.executable, os.path.join(ROOT, "imagenet-resnet.py"), *map(str, flags)],
        env={**os.environ, **(environment or {})},
        text=True,
        capture_output=True,
        timeout=limit,
    )


def divided(pictures, place):
    """The largest batch up to `pictures` that divides over the GPUs."""
    return pictures - pictures % max(1, place.gpus)


def nan_guard(place):
    """A loss that is no number ends the run with exit code 6."""
    done = _train(place, "nan", "--lr", "1e18", "--fresh")
    words = _last_line(done)
    return {"held": done.returncode == 6 and "step" in words, "words": f"exit {done.returncode}: {words}"}


def kill_and_resume(place):
    """Killed in mid-epoch and continued, the weights are those of a run that nobody disturbed."""
    for name in ("whole", "killed"):
        shutil.rmtree(os.path.join(place.folder, "runs", name), ignore_errors=True)
    exact = {"TF_DETERMINISTIC_OPS": "1"}
    whole = _train(place, "whole", environment=exact)
    if whole.returncode and place.gpus:  # an operation has no deterministic kernel
        exact = {}
        whole = _train(place, "whole", "--fresh")
    died = _train(place, "killed", "--save-every", "0.0001", environment={**exact, "WEBVISION_FAULT": "step:6"})
    again = _train(place, "killed", environment=exact)
    if (whole.returncode, died.returncode, again.returncode) != (0, -9, 0):
        codes = f"exit {whole.returncode}, {died.returncode}, {again.returncode}, expected 0, -9, 0"
        return {"held": False, "words": f"{codes}: {_last_line(again)}"}
    apart = _apart(*(os.path.join(place.folder, "runs", name) for name in ("whole", "killed")))
    held = apart == 0 if exact else apart <= BOUND
    wanted = "deterministic kernels, must be 0" if exact else f"no deterministic kernels, bound {BOUND}"
    return {"held": held, "words": f"weights differ by {apart:.1e} ({wanted})", "difference": apart}


def out_of_memory(place):
    """A batch that does not fit ends the run with exit code 7 and one line that says what to do."""
    batch = divided(8192, place)  # of a ResNet-152: 230 GB on each of eight GPUs, 1.9 TB on one
    done = run_card("--fake", "-d", 152, "--batch", batch)
    words = _last_line(done)
    held = done.returncode == 7 and f"out of memory with --batch {batch}" in words
    return {"held": held, "words": f"exit {done.returncode}: {words[:200]}"}


def _train(place, name, *flags, environment=None):
    data = make_set(place.folder, "resized", PICTURES)
    batch = divided(PICTURES // STEPS, place)
    sizes = ["--batch", batch, "--epochs", 1, "--epoch-size", batch * STEPS, "--lr", 0.05]
    out = os.path.join(place.folder, "runs")
    return run_training(place, "--data", data, "--out", out, "--name", name, *sizes, *flags, environment=environment)


def _apart(one, other):
    """Norm of the difference over the norm, over all variables of two runs' last checkpoints."""
    from webvision.compat import tf

    readers = [tf.train.load_checkpoint(os.path.join(folder, f"model-{STEPS}")) for folder in (one, other)]
    apart = whole = 0.0
    for name in readers[0].get_variable_to_shape_map():
        values = [np.asarray(reader.get_tensor(name), np.float64) for reader in readers]
        apart += float(np.square(values[0] - values[1]).sum())
        whole += float(np.square(values[0]).sum())
    return float(np.sqrt(apart / whole))


def _last_line(done):
    lines = [line for line in done.stderr.splitlines() if re.search(r"\S", line)]
    return lines[-1] if lines else "(nothing on stderr)"
