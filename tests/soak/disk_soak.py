"""Trainings on disks that fill: of every size from nothing to enough, and with `ulimit -f`; each ends with exit code 7
or as it would have, and once there is room the same command ends in the same bytes.

    sudo make soak-disk ROUNDS=30 SEED=1

Needs to mount a tmpfs. Exit status 1 if anything was not as it must be.
"""

import argparse
import functools
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.soak.kill_soak import Soak
from webvision.training import callbacks, fit

FULL, ENOUGH = 7, 1 << 23
LARGEST = 130_000  # bytes of disk; a run of tiny_run takes 100,000 or so, with checkpoints and figures


def attempt(soak, out, *, limit=resource.RLIM_INFINITY):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))  # for the child; the log of an attempt is small
    try:
        return soak.attempt(soak.train_args(out, **{"save-every": 0.0001}), expected=(0, FULL))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def one_round(soak, disk, *, size, limit):
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], check=True)
    try:
        status = attempt(soak, disk, limit=limit)
        if status == FULL:
            subprocess.run(["mount", "-o", f"remount,size={ENOUGH}", disk], check=True)
            if attempt(soak, disk) != 0:
                soak.violation("does not continue", f"{size} bytes, files up to {limit}")
        soak.check_training(disk / "run")
        return status
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(Path(folder), args.seed)
        soak.measure()
        fit.Job = functools.partial(fit.Job, save_patience=1)
        callbacks.RETRY_SECONDS = 0.2
        disk, ends = Path(folder) / "disk", []
        disk.mkdir()
        for _ in range(args.rounds):
            limited = soak.random.random() < 0.3
            size = ENOUGH if limited else soak.random.randrange(4096, LARGEST)
            limit = soak.random.randrange(512, 65_536) if limited else resource.RLIM_INFINITY
            ends.append(one_round(soak, disk, size=size, limit=limit))
    print(
        f"{args.rounds} disks (seed {args.seed}): {ends.count(0)} trained, {ends.count(FULL)} said that they were full"
    )
    print(dict(soak.violations) or "no violation")
    sys.exit(1 if soak.violations else 0)


if __name__ == "__main__":
    main()
