"""`--batch auto`: the largest batch that fits the GPUs, found by trying."""

import os
import re
import subprocess
import sys

from webvision.environment import ROOT
from webvision.errors import ResourceError, UsageError
from webvision.files import read_json
from webvision.machine.choices import FIRST_BATCH, search_batch

STEPS = 8  # memory is allotted and kernels are chosen in the first ones
_FULL = re.compile(r"out of memory|OOM when|ALLOC_FAILED")  # cuDNN's and CUDA's words, where no class tells it
LIMIT = 600  # seconds of one attempt; XLA compiles for a minute


def batch_of_run(folder):
    """The batch that the run in `folder` has, which may not change; None where there is none yet."""
    try:
        return read_json(os.path.join(folder, "run.json"))["recipe"]["batch"]
    except (FileNotFoundError, NotADirectoryError):
        return None


def find(arguments, towers, *, say):
    """The largest batch for which `webvision step ARGUMENTS --batch N` ends well."""

    def fits(batch):
        command = [sys.executable, "-P", "-m", "webvision", "step", *arguments]
        done = subprocess.run(
            [*command, "--steps", str(STEPS), "--batch", str(batch)],
            env={**os.environ, "PYTHONPATH": ROOT},
            text=True,
            capture_output=True,
            timeout=LIMIT,
        )
        full = done.returncode == ResourceError.exit_code or _FULL.search(done.stderr)
        if done.returncode and not full:
            raise UsageError(f"--batch auto: {(done.stderr.strip().splitlines() or ['no words'])[-1]}")
        say(f"--batch auto: {batch} {'does not fit' if full else 'fits'}")
        return not full

    batch = search_batch(fits, towers=towers)
    if batch is None:
        raise ResourceError(
            f"--batch auto: not even {FIRST_BATCH} pictures a GPU fit; a smaller --image-size or network needs less"
        )
    return batch
