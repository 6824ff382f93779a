#!/usr/bin/env python3
"""Compare input pipelines: CPU time per picture and wall time, side by side, interleaved.

Every candidate runs in processes of its own; in each round each of them delivers batches for the same time, and the CPU
time of its whole process tree is taken from /proc. (For the same number of batches, ours would work for a quarter of a
second, of which the first tenth finds cold caches and a processor that was asleep: 15% more a picture than after three
seconds.) The table holds medians over the rounds. "limit" is a C loop that only reads the files and decodes the same
random crops' windows.

FFCV, DALI, torch with Pillow, and grain are measured where they are installed: beside the project, or in the Python
that
--extras-python names, which needs nothing of ours (grain apart). Such a Python on Debian 12, where FFCV is compiled:

    apt-get install g++ pkg-config libopencv-dev libturbojpeg0-dev
    python3.11 -m venv extras
    extras/bin/pip install setuptools "numpy<2.3" torch==2.13.0 pillow==13.0.0 nvidia-dali-cuda120==2.4.0
    extras/bin/pip install --no-build-isolation ffcv==1.0.2
    make bench-input BENCH="--extras-python extras/bin/python"
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from webvision.environment import use_project_environment

use_project_environment("numpy", "cv2")

from benchmarks.input_candidates import CANDIDATES, EXTRAS, STORES, entries  # noqa: E402
from benchmarks.serve_input import MARK  # noqa: E402
from webvision.errors import UsageError, run_command  # noqa: E402

_HERE = os.path.dirname(os.path.abspath(__file__))
_SERVE = os.path.join(_HERE, "serve_input.py")
_QUICK = ("ours", "ours, no colours", "upstream on tensorpack", "tf.data")


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="DIR", help="an ILSVRC-layout folder instead of the sets made here")
    parser.add_argument("--sets", default="resized,imagenet", help="of %(default)s")
    parser.add_argument(
        "--work",
        metavar="DIR",
        default=os.path.join(os.path.dirname(_HERE), "build", "bench"),
        help="where the sets are made, once (%(default)s)",
    )
    parser.add_argument("--count", type=int, default=2048, help="pictures per set (%(default)s)")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=3.0, help="per candidate and round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="only ours, upstream, tf.data and the limit")
    parser.add_argument(
        "--only", metavar="TEXT", help="only pipelines whose name contains one of these words, comma-separated"
    )
    parser.add_argument(
        "--extras-python",
        metavar="FILE",
        default=sys.executable,
        help="the Python in which FFCV, DALI, torch and grain are looked for first",
    )
    return parser.parse_args(argv)


class Candidate:
    """One pipeline in its process tree, in the interpreter `python`."""

    def __init__(self, name, python, data, args):
        command = [python, _SERVE, name, data, str(args.batch), str(args.seconds)]
        self.name, self._batch = name, args.batch
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", STORES: args.work},
        )
        self.cpu, self.wall = [], []
        self.works = self._answer() is not None

    def _answer(self):
        """The numbers that the process says next, past whatever its libraries print; None if it ended."""
        return next(
            (list(map(float, line.split()[1:])) for line in self._process.stdout if line.startswith(MARK)), None
        )

    def problem(self):
        """Why it does not work."""
        self._errors.seek(0)
        return f"does not start here: {last_line(self._errors.read())}"

    def round(self):
        settle(self._process.pid)
        before = tree_seconds(self._process.pid)
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        wall, batches = self._answer()
        settle(self._process.pid)  # the buffers are full again, as they were at the start
        pictures = batches * self._batch
        self.cpu.append((tree_seconds(self._process.pid) - before) / pictures * 1e6)
        self.wall.append(wall / pictures * 1e6)

    def end(self):
        for pid in descendants(self._process.pid):
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                pass
        self._process.wait()


class Limit:
    """The C loop over the same crops."""

    works = True

    def __init__(self, kind, program, listing, seconds):
        self.name = {"window": "C limit: read, decode the window", "full": "C: read, decode all"}[kind]
        self._process = subprocess.Popen(
            [program, listing, str(seconds), kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._process.stdout.readline()
        self.cpu, self.wall = [], []

    def round(self):
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        self.cpu.append(float(self._process.stdout.readline()))

    def end(self):
        self._process.stdin.close()
        self._process.wait()


def descendants(pid):
    """`pid` and all processes below it."""
    parents = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat", "rb") as file:
                parents[int(entry)] = int(file.read().rpartition(b")")[2].split()[1])
        except OSError:
            continue
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def tree_seconds(pid):
    """CPU seconds, user and system, of a process tree, with its children that have ended."""
    total = 0
    for one in descendants(pid):
        try:
            with open(f"/proc/{one}/stat", "rb") as file:
                total += sum(map(int, file.read().rpartition(b")")[2].split()[11:15]))
        except OSError:
            continue
    return total / os.sysconf("SC_CLK_TCK")


def settle(pid, longest_s=20.0):
    """Wait until the tree uses no CPU: its buffers are full."""
    deadline, last = time.monotonic() + longest_s, -1.0
    while time.monotonic() < deadline:
        now = tree_seconds(pid)
        if now - last < 0.011 and last >= 0:
            return
        last = now
        time.sleep(0.25)


def build_limit(work, data):
    """(program, list of crops) for the C loop, or None without a compiler and headers."""
    import numpy as np

    from webvision.data.pictures.headers import read_header
    from webvision.data.views.augment import Augmentation

    compiler = shutil.which("cc") or shutil.which("gcc")
    program, listing = os.path.join(work, "limit"), os.path.join(work, "crops.txt")
    sources = [
        os.path.join(_HERE, "limit.c"),
        os.path.join(_HERE, "..", "webvision", "data", "native", "decode_window.c"),
    ]
    if not compiler or subprocess.run([compiler, "-O3", *sources, "-o", program, "-ljpeg"], check=False).returncode:
        return None
    order = np.random.default_rng(0).permutation(len(files := entries(data)))[:20000]
    plan = Augmentation().plan(1, 0, len(order))
    with open(listing, "w", encoding="utf-8", errors="surrogateescape") as out:
        for number, row in enumerate(order):
            with open(files[row][0], "rb") as file:
                header = read_header(file.read())
            if header.plain:
                box = plan.place([header.width], [header.height], [number])[0, :4]
                print(*box, header.width, header.height, files[row][0], file=out)
    return program, listing


def choose(args):
    """{pipeline: the Python to run it in}; says which extras are left out."""
    chosen = {name: sys.executable for name in CANDIDATES if not args.quick or name in _QUICK}
    if not args.quick:
        found = installed_extras([args.extras_python, sys.executable])
        chosen.update(found)
        for name in EXTRAS:
            if name not in found:
                print(f"{name}: left out, not installed", file=sys.stderr)
    wanted = args.only.split(",") if args.only else [""]
    return {name: python for name, python in chosen.items() if any(word in name for word in wanted)}


def installed_extras(pythons):
    """{extra: the first of `pythons` that can run it}."""
    found = {}
    for python in dict.fromkeys(pythons):
        try:
            answer = subprocess.run([python, _SERVE, "--installed"], capture_output=True, text=True, check=True).stdout
        except OSError as error:
            raise UsageError(f"--extras-python {python}: {error.strerror}") from None
        except subprocess.CalledProcessError as error:
            raise UsageError(f"--extras-python {python}: {last_line(error.stderr)}") from None
        for name in json.loads(answer):
            found.setdefault(name, python)
    return found


def last_line(text):
    """What an error's traceback ends with."""
    return (text.strip().splitlines() or ["no message"])[-1]


def measure(data, chosen, args):
    """The candidates with their figures, after all rounds."""
    os.makedirs(args.work, exist_ok=True)
    limit = build_limit(args.work, data)
    candidates = [Limit(kind, *limit, args.seconds) for kind in ("window", "full")] if limit else []
    try:
        for name, python in chosen.items():
            print(f"starting {name}", file=sys.stderr)
            candidates.append(Candidate(name, python, data, args))
        candidates = [one for one in candidates if one.works or print(f"{one.name}: {one.problem()}", file=sys.stderr)]
        for number in range(args.rounds):
            for one in candidates:
                one.round()
            print(f"round {number + 1} of {args.rounds}", file=sys.stderr)
    finally:
        for one in candidates:
            one.end()
    return candidates


def show(title, candidates):
    """The table: CPU us per picture, wall us, share of the limit, times upstream."""
    median = {one.name: statistics.median(one.cpu) for one in candidates}
    limit = next((value for name, value in median.items() if name.startswith("C limit")), None)
    upstream = median.get("upstream on tensorpack")
    print(
        f"\n{title}\n\n| pipeline | CPU us/picture (all rounds) | wall us/picture | of the limit | x upstream "
        "|\n|---|---|---|---|---|"
    )
    for one in sorted(candidates, key=lambda one: median[one.name]):
        value = median[one.name]
        print(
            f"| {one.name} | {value:.0f} ({min(one.cpu):.0f}-{max(one.cpu):.0f}) | "
            f"{f'{statistics.median(one.wall):.0f}' if one.wall else ''} | {f'{limit / value:.2f}' if limit else ''} | "
            f"{f'{upstream / value:.1f}' if upstream else ''} |"
        )
    print(json.dumps({"set": title, "cpu_us": {name: round(value, 1) for name, value in median.items()}}))


def main(argv=None):
    args = parse_args(argv)
    chosen = choose(args)
    from benchmarks.pictures import make_set
    from webvision.data.pictures.decode import describe

    print(f"JPEG decoding: {describe()}")
    folders = (
        {args.data: args.data}
        if args.data
        else {name: make_set(args.work, name, args.count) for name in args.sets.split(",")}
    )
    for title, folder in folders.items():
        show(title, measure(folder, chosen, args))


if __name__ == "__main__":
    run_command(main)
