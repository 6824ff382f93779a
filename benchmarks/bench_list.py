#!/usr/bin/env python3
"""What a list of 16 million pictures costs: ours, beside lists of Python tuples as the original code keeps them.

Makes its own list (34 bytes a row, 5000 classes, sizes spread as WebVision's, rows shuffled) in a temporary folder.
Each figure comes from a process of its own; CPU seconds are user and system time of that step.
"""

import argparse
import collections
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from webvision.environment import use_project_environment

use_project_environment("numpy")

import numpy as np  # noqa: E402

from webvision.data.lists.balance import parse_balance, targets  # noqa: E402
from webvision.data.lists.index import open_index  # noqa: E402
from webvision.data.lists.order import EpochOrder  # noqa: E402
from webvision.progress import Progress  # noqa: E402

CLASSES = 5000
MEDIAN, LARGEST, SIGMA = 2546, 14176, 0.676  # of WebVision 2.0's classes; the log-normal between them has its mean, too
LOOK_UPS = 200_000  # rows a worker asks for before its memory is read: 3000 batches of 64
ORDER_ENTRIES = 4_000_000  # entries of the epoch that are computed; the cost is the same for each


def write_list(path, rows):
    """The benchmark's list: `rows` lines, labels shuffled, the same bytes for the same number."""
    rng = np.random.default_rng(0)
    spread = np.clip(MEDIAN * np.exp(SIGMA * rng.standard_normal(CLASSES)), 10, LARGEST)
    ends = np.round(np.cumsum(spread) * (rows / spread.sum())).astype(np.int64)
    labels = rng.permutation(np.repeat(np.arange(CLASSES, dtype=np.uint16), np.diff(ends, prepend=0)))
    with open(path, "wb") as file, Progress("making the list", rows, "rows") as progress:
        for low in range(0, rows, 1 << 16):
            part = labels[low : low + (1 << 16)].tolist()
            file.write(
                b"".join(b"n%08d/%014d.jpg %d\n" % (label * 3001, low + i, label) for i, label in enumerate(part))
            )
            progress.update(low)


class Meter:
    """CPU and wall seconds of a block."""

    def __enter__(self):
        self._wall, self._cpu = time.perf_counter(), self._used()
        return self

    def __exit__(self, *error):
        self.cpu, self.wall = self._used() - self._cpu, time.perf_counter() - self._wall

    @staticmethod
    def _used():
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime


def memory_mb(field, source="status"):
    """A memory field of this process in MB: VmHWM is its peak; Private_Dirty (of smaps_rollup) is what no other process
    shares."""
    with open(f"/proc/self/{source}", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field + ":")) / 1024


def in_child(work):
    """What `work()` returns (JSON), run in a forked worker."""
    reader, writer = os.pipe()
    if not os.fork():
        os.write(writer, json.dumps(work()).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        return json.loads(pipe.read())


def ours_first(path):
    with Meter() as meter:
        index = open_index(path, CLASSES)
    disk = os.path.getsize(side_file(path)) / 2**20
    return {"load": meter.cpu, "peak": memory_mb("VmHWM"), "disk": disk, "rows": len(index)}


def ours_again(path):
    with Meter() as meter:
        index = open_index(path, CLASSES)
    load, wall = meter.cpu, meter.wall
    with Meter() as meter:
        order = EpochOrder(index, targets(index.counts, parse_balance("upsample")), seed=1)
    balance = meter.cpu
    with Meter() as meter:
        for low in range(0, ORDER_ENTRIES, 4096):
            order.rows(0, np.arange(low, low + 4096) % len(order))
    per_entry = meter.cpu / ORDER_ENTRIES
    with Meter() as meter:
        order.rows(0, np.arange(64))
    return {
        "second": load,
        "wall": wall,
        "balance": balance,
        "entries": len(order),
        "per_entry": per_entry,
        "batch": meter.cpu,
        "peak": memory_mb("VmHWM"),
        "largest": int(index.counts.max()),
        "median": float(np.median(index.counts)),
        "fork": in_child(lambda: ours_worker(index, order)),
    }


def ours_worker(index, order):
    before = memory_mb("Private_Dirty", "smaps_rollup")
    for low in range(0, LOOK_UPS, 64):
        rows = order.rows(low, np.arange(low, low + 64))
        index.names(rows), index.labels[rows]
    return memory_mb("Private_Dirty", "smaps_rollup") - before


def ours_spawned(path):
    before = memory_mb("Private_Dirty", "smaps_rollup")
    with Meter() as meter:
        index = open_index(path, CLASSES)
        order = EpochOrder(index, targets(index.counts, parse_balance("upsample")), seed=1)
        index.names(order.rows(0, np.arange(64)))
    start = meter.cpu
    ours_worker(index, order)
    return {"spawn": start, "spawn_memory": memory_mb("Private_Dirty", "smaps_rollup") - before}


def tuples(path):
    """The original's way: a list of (name, label) tuples, indices by class in a dict, balanced by extending a list of
    integers."""
    with Meter() as meter:
        with open(path, encoding="utf-8") as file:
            entries = []
            for line in file:
                name, label = line.split()
                entries.append((name, int(label)))
    result = {"load": meter.cpu, "peak": memory_mb("VmHWM"), "rows": len(entries)}
    result["fork"] = in_child(lambda: tuples_worker(entries))
    with Meter() as meter:
        by_class = collections.defaultdict(list)
        for i, (_, label) in enumerate(entries):
            by_class[label].append(i)
    result["group"] = meter.cpu
    with Meter() as meter:
        largest = max(map(len, by_class.values()))
        balanced = []
        for rows in by_class.values():
            balanced.extend(rows if len(rows) == largest else np.random.choice(rows, largest))
    result |= {"balance": meter.cpu, "entries": len(balanced)}
    with Meter() as meter:
        np.random.shuffle(balanced[:500_000])
    result["shuffle"] = meter.cpu * len(balanced) / 500_000
    return result | {"balanced_peak": memory_mb("VmHWM")}


def tuples_worker(entries):
    before = memory_mb("Private_Dirty", "smaps_rollup")
    for row in np.random.permutation(len(entries))[: len(entries) // 8]:
        entries[row]
    return memory_mb("Private_Dirty", "smaps_rollup") - before


def side_file(path):
    return os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.index")


def measure(step, path, repeat=1):
    """The results of `repeat` fresh processes, each figure its median."""
    results = []
    for _ in range(repeat):
        if step is ours_first and os.path.exists(side_file(path)):
            os.unlink(side_file(path))
        done = subprocess.run(
            [sys.executable, __file__, "--step", step.__name__, path], stdout=subprocess.PIPE, check=True
        )
        results.append(json.loads(done.stdout))
    return {key: float(np.median([result[key] for result in results])) for key in results[0]}


def table(first, again, spawned, theirs):
    """Lines of (step, ours, tuples); the right column is scaled up by rows."""
    scale = first["rows"] / theirs["rows"]

    def seconds(value):
        return f"{value:.2f} s" if value >= 0.1 else f"{value * 1000:.1f} ms"

    def memory(value):
        return f"{value / 1024:.2f} GB" if value >= 1000 else f"{value:.1f} MB"

    return [
        ("first start", seconds(first["load"]), seconds((theirs["load"] + theirs["group"]) * scale)),
        ("  its peak memory", memory(first["peak"]), memory(theirs["peak"] * scale)),
        ("  on disk", memory(first["disk"]), "-"),
        (
            "later start",
            f"{seconds(again['second'])} ({seconds(again['wall'])} wall)",
            seconds((theirs["load"] + theirs["group"]) * scale),
        ),
        ("balance", seconds(again["balance"]), seconds(theirs["balance"] * scale)),
        ("  balanced entries", f"{again['entries']:,.0f}", f"{theirs['entries'] * scale:,.0f}"),
        ("  peak memory with it", memory(again["peak"]), memory(theirs["balanced_peak"] * scale)),
        (
            "order of an epoch",
            f"{again['per_entry'] * 1e6:.2f} us an entry, 0 MB",
            f"{seconds(theirs['shuffle'] * scale)} in each worker",
        ),
        ("  64 rows", seconds(again["batch"]), "-"),
        ("private memory, forked worker", memory(again["fork"]), memory(theirs["fork"] * scale)),
        ("private memory, spawned worker", memory(spawned["spawn_memory"]), "-"),
        ("  its start", seconds(spawned["spawn"]), "-"),
    ]


STEPS = {step.__name__: step for step in (ours_first, ours_again, ours_spawned, tuples)}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rows", type=int, default=16_000_000, help="rows of the list (default: WebVision 2.0's 16 million)"
    )
    parser.add_argument(
        "--tuple-rows",
        type=int,
        default=1_000_000,
        help="rows the original's way is run at, then scaled up (default: a million; all 16 need 10 GB)",
    )
    parser.add_argument("--dir", help="where the temporary folder is made")
    parser.add_argument("--step", nargs=2, metavar=("STEP", "LIST"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.step:
        print(json.dumps(STEPS[args.step[0]](args.step[1])))
        return
    with tempfile.TemporaryDirectory(dir=args.dir) as folder:
        ours_path, tuples_path = os.path.join(folder, "train.txt"), os.path.join(folder, "part.txt")
        write_list(ours_path, args.rows)
        write_list(tuples_path, args.tuple_rows)
        size = os.path.getsize(ours_path)
        first = measure(ours_first, ours_path, 3)
        again, spawned = measure(ours_again, ours_path, 3), measure(ours_spawned, ours_path, 3)
        theirs = measure(tuples, tuples_path)
    print(
        f"{args.rows:,} rows of {size / args.rows:.1f} bytes, {CLASSES} classes, largest {again['largest']:.0f}, "
        "median "
        f"{again['median']:.0f}; medians of 3 processes;\nright: lists of tuples at {args.tuple_rows:,} rows, "
        f"times {args.rows / args.tuple_rows:g}\n"
    )
    for step, ours, tuples_way in [("CPU time and memory", "ours", "tuples"), *table(first, again, spawned, theirs)]:
        print(f"{step:32}{ours:>28}{tuples_way:>26}")


if __name__ == "__main__":
    main()
