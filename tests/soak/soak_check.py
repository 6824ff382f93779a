#!/usr/bin/env python3
"""Kill `utils/check.py` at random times, again and again; run it once more and compare with an undisturbed check.

Also kills single workers, and looks for orphans and leftovers. Exit status 1 if anything differs.
"""

import argparse
import collections
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)
from tests.support import check_fixtures  # noqa: E402

KILLS_A_TRIAL = 4  # before the check may end


def tree(*folders):
    """{path: bytes} of every file and link, but the lock and, of the index, its time stamps."""
    files = {}
    for folder in folders:
        for base, _, names in os.walk(folder):
            for name in names:
                path = os.path.join(base, name)
                if name != ".lock":
                    with open(path, "rb") as file:
                        files[os.path.relpath(path, folder)] = file.read()
    return files


def children(pid):
    """Process numbers of the workers of `pid`."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(child) for child in file.read().split()]
    except OSError:
        return []


def alive(pid):
    """Whether a process is there and no zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Soak:
    """One data set, one reference, many kills."""

    def __init__(self, folder, seed):
        self.rng = random.Random(seed)
        self.data, self.out = os.path.join(folder, "data"), os.path.join(folder, "out")
        check_fixtures.make(self.data, per_class=1600)
        self.command = [
            sys.executable,
            os.path.join(ROOT, "utils", "check.py"),
            "--data",
            self.data,
            "--near",
            "--fix",
            "--jobs",
            "2",
            "--max-bad",
            "1",
        ]
        self.violations = collections.Counter()
        self.kills = collections.Counter()
        subprocess.run(
            [*self.command, "--out", self.out], stdout=subprocess.DEVNULL, check=True
        )  # indexes are there now
        shutil.rmtree(self.out)
        began = time.monotonic()
        subprocess.run([*self.command, "--out", self.out], stdout=subprocess.DEVNULL, check=True)
        self.seconds = time.monotonic() - began
        self.reference = tree(self.out, self.data)
        shutil.rmtree(self.out)

    def trial(self):
        """Kill it a few times, then let it end, and compare."""
        if self.rng.random() < 0.2:  # build the indexes, too, under fire
            for name in ("train", "val", "test"):
                os.unlink(os.path.join(self.data, "meta", f".{name}.txt.index"))
        for _ in range(KILLS_A_TRIAL):
            self.disturbed_run()
        done = subprocess.run(
            [*self.command, "--out", self.out], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        if done.returncode:
            self.violations[f"ends with {done.returncode}: {done.stderr[-300:]}"] += 1
        result = tree(self.out, self.data)
        for path in sorted(result.keys() | self.reference.keys()):
            if path not in result or path not in self.reference:
                self.violations[f"{'left over' if path in result else 'missing'}: {os.path.basename(path)}"] += 1
            elif result[path] != self.reference[path]:
                self.violations[f"differs: {path}"] += 1
        shutil.rmtree(self.out)

    def disturbed_run(self):
        """Start the check and kill it, or one of its workers and then it."""
        process = subprocess.Popen(
            [*self.command, "--out", self.out], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(self.rng.uniform(0.1, self.seconds))
        workers = children(process.pid)
        if workers and self.rng.random() < 0.3:
            os.kill(self.rng.choice(workers), signal.SIGKILL)
            self.kills["worker"] += 1
            time.sleep(self.rng.uniform(0, 0.3))
            workers = children(process.pid)
        if process.poll() is None:
            process.kill()
            self.kills["check"] += 1
        process.wait()
        deadline = time.monotonic() + 5
        while any(map(alive, workers)) and time.monotonic() < deadline:
            time.sleep(0.01)
        if any(map(alive, workers)):
            self.violations["a worker outlives the check"] += 1


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300, help="kill -9s of the check itself (default: 300)")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(folder, args.seed)
        print(f"undisturbed: {soak.seconds:.1f} s", file=sys.stderr)
        while soak.kills["check"] < args.kills:
            soak.trial()
            print(
                f"\r{soak.kills['check']} kills, {sum(soak.violations.values())} violations",
                end="",
                file=sys.stderr,
                flush=True,
            )
    print(
        f"\nseed {args.seed}: {soak.kills['check']} kills of the check, {soak.kills['worker']} of workers, "
        f"{sum(soak.violations.values())} violations"
    )
    for violation, count in soak.violations.most_common():
        print(f"  {count} x {violation}")
    return 1 if soak.violations else 0


if __name__ == "__main__":
    sys.exit(main())
