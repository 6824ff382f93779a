#!/usr/bin/env python3
"""Compare input pipelines: CPU time per picture and wall time, side by side, interleaved.

Every candidate runs in processes of its own; in each round each of them delivers the same number of batches, and the CPU
time of its whole process tree is taken from /proc. The table holds medians over the rounds. "limit" is a C loop that only
reads the files and decodes the same random crops' windows.
"""
import argparse
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from webvision.environment import use_project_environment  # noqa: E402

use_project_environment("numpy", "cv2")

_HERE = os.path.dirname(os.path.abspath(__file__))
_MARK = "@@"
_QUICK = ("ours", "ours, no colours", "upstream on tensorpack", "tf.data")


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="DIR", help="an ILSVRC-layout folder instead of the sets made here")
    parser.add_argument("--sets", default="resized,imagenet", help="of %(default)s")
    parser.add_argument("--work", metavar="DIR", default=os.path.join(os.path.dirname(_HERE), "build", "bench"),
                        help="where the sets are made, once (%(default)s)")
    parser.add_argument("--count", type=int, default=2048, help="pictures per set (%(default)s)")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--batches", type=int, default=16, help="per candidate and round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="only ours, upstream, tf.data and the limit")
    parser.add_argument("--only", metavar="TEXT", help="only pipelines whose name contains one of these words, comma-separated")
    parser.add_argument("--candidate", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def serve(name, data, batch, batches):
    """A candidate's own process: for each line on stdin deliver `batches`, answer the wall seconds."""
    from benchmarks.input_candidates import CANDIDATES, EXTRAS
    start = CANDIDATES.get(name) or EXTRAS[name][1]
    flow = iter(start(data, batch))
    for _ in range(4):
        next(flow)
    print(_MARK, "0", flush=True)
    for _ in sys.stdin:
        began = time.monotonic()
        for _ in range(batches):
            next(flow)
        print(_MARK, time.monotonic() - began, flush=True)
    os._exit(0)         # tensorpack's processes would keep a normal exit waiting


class Candidate:
    """One pipeline in its process tree."""

    def __init__(self, name, data, args):
        command = [sys.executable, __file__, "--candidate", name, "--data", data, "--batch", str(args.batch),
                   "--batches", str(args.batches)]
        self.name, self._pictures = name, args.batch * args.batches
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                         text=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""})
        self.cpu, self.wall = [], []
        self.works = self._answer() is not None

    def _answer(self):
        """The number that the process says next, past whatever its libraries print; None if it ended."""
        return next((float(line.split()[1]) for line in self._process.stdout if line.startswith(_MARK)), None)

    def round(self):
        settle(self._process.pid)
        before = tree_seconds(self._process.pid)
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        wall = self._answer()
        settle(self._process.pid)       # the buffers are full again, as they were at the start
        self.cpu.append((tree_seconds(self._process.pid) - before) / self._pictures * 1e6)
        self.wall.append(wall / self._pictures * 1e6)

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

    def __init__(self, kind, program, listing, rounds):
        self.name = {"window": "C limit: read, decode the window", "full": "C: read, decode all"}[kind]
        self._process = subprocess.Popen([program, listing, str(rounds), kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
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


def settle(pid, longest_s=20.):
    """Wait until the tree uses no CPU: its buffers are full."""
    deadline, last = time.monotonic() + longest_s, -1.
    while time.monotonic() < deadline:
        now = tree_seconds(pid)
        if now - last < 0.011 and last >= 0:
            return
        last = now
        time.sleep(0.25)


def build_limit(work, data):
    """(program, list of crops) for the C loop, or None without a compiler and headers."""
    import numpy as np

    from benchmarks.input_candidates import entries
    from webvision.data.augment import AUGMENTATIONS
    from webvision.data.image_headers import read_header
    compiler = shutil.which("cc") or shutil.which("gcc")
    program, listing = os.path.join(work, "limit"), os.path.join(work, "crops.txt")
    sources = [os.path.join(_HERE, "limit.c"), os.path.join(_HERE, "..", "webvision", "data", "decode_window.c")]
    if not compiler or subprocess.run([compiler, "-O3", *sources, "-o", program, "-ljpeg"], check=False).returncode:
        return None
    order = np.random.default_rng(0).permutation(len(files := entries(data)))[:20000]
    plan = AUGMENTATIONS["webvision"].plan(1, 0, len(order))
    with open(listing, "w", encoding="utf-8", errors="surrogateescape") as out:
        for number, row in enumerate(order):
            with open(files[row][0], "rb") as file:
                header = read_header(file.read())
            if header.plain:
                box = plan.place([header.width], [header.height], [number])[0, :4]
                print(*box, header.width, header.height, files[row][0], file=out)
    return program, listing


def measure(data, args):
    """The candidates with their figures, after all rounds."""
    from benchmarks.input_candidates import CANDIDATES, EXTRAS
    names = [name for name in CANDIDATES if not args.quick or name in _QUICK]
    names += [name for name, (module, _) in EXTRAS.items() if not args.quick and importlib.util.find_spec(module)]
    if args.only:
        names = [name for name in names if any(word in name for word in args.only.split(","))]
    os.makedirs(args.work, exist_ok=True)
    limit = build_limit(args.work, data)
    candidates = [Limit(kind, *limit, 1) for kind in ("window", "full")] if limit else []
    try:
        for name in names:
            print(f"starting {name}", file=sys.stderr)
            candidates.append(Candidate(name, data, args))
        candidates = [one for one in candidates if one.works or print(f"{one.name}: does not start here", file=sys.stderr)]
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
    print(f"\n{title}\n\n| pipeline | CPU us/picture (all rounds) | wall us/picture | of the limit | x upstream |\n|---|---|---|---|---|")
    for one in sorted(candidates, key=lambda one: median[one.name]):
        value = median[one.name]
        print(f"| {one.name} | {value:.0f} ({min(one.cpu):.0f}-{max(one.cpu):.0f}) | "
              f"{f'{statistics.median(one.wall):.0f}' if one.wall else ''} | {f'{limit / value:.2f}' if limit else ''} | "
              f"{f'{upstream / value:.1f}' if upstream else ''} |")
    print(json.dumps({"set": title, "cpu_us": {name: round(value, 1) for name, value in median.items()}}))


def main(argv=None):
    args = parse_args(argv)
    if args.candidate:
        return serve(args.candidate, args.data, args.batch, args.batches)
    from benchmarks.pictures import make_set
    from webvision.data.decode import describe
    print(f"JPEG decoding: {describe()}")
    folders = {args.data: args.data} if args.data else {name: make_set(args.work, name, args.count) for name in args.sets.split(",")}
    for title, folder in folders.items():
        show(title, measure(folder, args))


if __name__ == "__main__":
    from webvision.errors import run_command
    run_command(main)
