"""20,000 steps: neither memory nor file descriptors may grow. Exit status 1 if they do. STEPS can be given as
argument."""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.support import tiny_run
from tests.support.data_set import write_data_set
from webvision.processes import children

EPOCHS = 20
WARMUP = 0.2  # of the run: the allocator's and TensorFlow's pools fill
MOST_MB_PER_1000_STEPS = 1.0


def measure(steps):
    """Rows of (step, resident MB of the process and its workers, open descriptors), about every second."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        data, log = write_data_set(Path(folder) / "data"), Path(folder) / "run" / "log.log"
        epoch = steps // EPOCHS
        run = subprocess.Popen(
            [
                sys.executable,
                "tests/support/tiny_run.py",
                *tiny_run.ARGS,
                "--data",
                data,
                "--out",
                folder,
                "--workers",
                "1",
                "--epochs",
                str(EPOCHS),
                "--epoch-size",
                str(6 * epoch),
                "--log-every",
                "50",
                "--keep",
                "2",
            ],
            cwd=tiny_run.ROOT,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        )
        while run.poll() is None:
            time.sleep(1)
            lines = re.findall(r"Epoch (\d+) \[(\d+)/", log.read_text()) if log.exists() else []
            if lines:
                try:
                    own, workers = resident_mb(run.pid), [resident_mb(pid) for pid in children(run.pid)]
                    descriptors = len(os.listdir(f"/proc/{run.pid}/fd"))
                except OSError:  # it ended between the look and the count
                    break
                rows.append(((int(lines[-1][0]) - 1) * epoch + int(lines[-1][1]), own + sum(workers), descriptors))
        if run.wait() != 0:
            sys.exit(f"the run ended with {run.returncode}")
    return np.array(
        [row for row in rows if WARMUP * steps < row[0] < EPOCHS * epoch]
    )  # after its last step it takes itself down


def resident_mb(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main():
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    began = time.monotonic()
    rows = measure(steps)
    slope = np.polyfit(rows[:, 0], rows[:, 1], 1)[0] * 1000
    early, late = np.array_split(rows[:, 2], 2)
    print(
        f"{steps} steps in {time.monotonic() - began:.0f} s, {len(rows)} samples after {WARMUP:.0%}: resident "
        f"{rows[0, 1]:.0f} MB to {rows[-1, 1]:.0f} MB, {slope:+.3f} MB per 1,000 steps; open descriptors "
        f"{rows[:, 2].min():.0f} "
        f"to {rows[:, 2].max():.0f}",
        flush=True,
    )
    sys.exit(1 if slope > MOST_MB_PER_1000_STEPS or np.median(late) > np.median(early) else 0)


if __name__ == "__main__":
    main()
