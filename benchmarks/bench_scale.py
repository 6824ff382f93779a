#!/usr/bin/env python3
"""What lists, orders and archives' indexes cost at 100 million rows, and at any number that the disk holds.

Makes its own list (26 bytes a row, 5,000 classes) and member index (28 bytes a member: a thousand of real names, the
rest stands for itself) in a temporary folder. Each step runs in a process of its own, so that its memory is its own.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from webvision.environment import use_project_environment

use_project_environment("numpy")

import numpy as np  # noqa: E402

from webvision.data.archives.members import Archive, Facts, Members, write_members  # noqa: E402
from webvision.data.archives.walk import RECORD, digest  # noqa: E402
from webvision.data.lists.balance import parse_balance, targets  # noqa: E402
from webvision.data.lists.index import open_index  # noqa: E402
from webvision.data.lists.order import EpochOrder, permute  # noqa: E402

FIRST_CLASS, CLASSES = 1000, 5000  # labels have four digits, so that all lines are of one length
LINE = b"q00000/000000000.jpg 0000\n"
CHUNK = 1 << 20
KNOWN = 1000  # members with a real name
LOOK_UPS = 200_000


def write_list(folder, rows):
    """`rows` lines `q01234/000000017.jpg 1234`; classes of unequal size, mixed."""
    draw = np.random.Generator(np.random.Philox(key=1))
    with open(os.path.join(folder, "train.txt"), "wb") as file:
        for low in range(0, rows, CHUNK):
            count = min(CHUNK, rows - low)
            lines = np.frombuffer(LINE * count, np.uint8).reshape(count, -1).copy()
            labels = FIRST_CLASS + (CLASSES * draw.random(count) ** 1.5).astype(np.int64)
            _digits(lines[:, 1:6], labels)
            _digits(lines[:, 7:16], np.arange(low, low + count))
            _digits(lines[:, 21:25], labels)
            file.write(lines.tobytes())


def _digits(columns, numbers):
    for place in range(columns.shape[1] - 1, -1, -1):
        columns[:, place] = ord("0") + numbers % 10
        numbers = numbers // 10


def index_first(folder, rows):
    """The list is scanned, and its side file written."""
    index = open_index(os.path.join(folder, "train.txt"), FIRST_CLASS + CLASSES)
    assert len(index) == rows
    return {"side file MB": os.path.getsize(os.path.join(folder, ".train.txt.index")) / 1e6}


def index_again(folder, rows):
    """A later start: the side file is mapped, and its sums are checked."""
    assert len(open_index(os.path.join(folder, "train.txt"), FIRST_CLASS + CLASSES)) == rows
    return {}


def order_and_names(folder, rows):
    """A worker's life: rows of the balanced order from anywhere in the epoch, and their names."""
    index = open_index(os.path.join(folder, "train.txt"), FIRST_CLASS + CLASSES)
    order = EpochOrder(index, targets(index.counts, parse_balance("upsample")), seed=1)
    draw = np.random.Generator(np.random.Philox(key=2))
    began = time.process_time()
    for _ in range(LOOK_UPS // 4096):
        found = order.rows(3, draw.integers(0, len(order), 4096))
    each = (time.process_time() - began) / (LOOK_UPS // 4096 * 4096)
    began = time.process_time()
    names = index.names(found)
    named = (time.process_time() - began) / len(names)
    return {"entries of an epoch": len(order), "us a row": 1e6 * each, "us a name": 1e6 * named}


def exactly_once(folder, rows):
    """Every row of an epoch, counted: a bijection, position by position."""
    seen = np.zeros(-(-rows // 8), np.uint8)
    for low in range(0, rows, CHUNK):
        found = permute(np.arange(low, min(low + CHUNK, rows)), rows, seed=5, epoch=1)
        np.bitwise_or.at(seen, found >> 3, (1 << (found & 7)).astype(np.uint8))
    missing = int(8 * len(seen) - np.bitwise_count(seen).sum()) - (8 * len(seen) - rows)
    assert missing == 0
    return {"rows seen once": rows}


class Generated:
    """Stands for SortedFiles of a billion members: keys spread evenly, in order; KNOWN of them of real names."""

    def __init__(self, rows):
        self.count, self._made, self._last = rows, 0, 0
        self._known = np.zeros(KNOWN, RECORD)
        known = np.frombuffer(b"".join(digest(b"known/%d.jpg" % i) for i in range(KNOWN)), np.uint8)
        self._known.view(np.uint8).reshape(KNOWN, -1)[:, :12] = known.reshape(KNOWN, -1)
        self._known["size"] = np.arange(KNOWN)
        self._known.sort(order="key")
        self._draw = np.random.Generator(np.random.Philox(key=3))

    def below(self, key):
        """The next records with keys below `key`."""
        count = (self.count - KNOWN) * key // (1 << 64) - self._made
        records = np.zeros(count, RECORD)
        records["key"] = self._draw.integers(self._last, key - 1, count, np.uint64, endpoint=True)
        known = self._known["key"]
        inside = (known >= self._last) & (known <= np.uint64(key - 1))
        self._made, self._last = self._made + count, key if key < 1 << 64 else 0
        return np.concatenate([records, self._known[inside]])


def members_written(folder, rows):
    """An index of as many members is sorted and written, part by part."""
    archives = [Archive(Facts(f"{number:05d}.tar", 1, 2, 3, 4), 10_000, None) for number in range(rows // 10_000)]
    path = os.path.join(folder, ".train.members")
    write_members(path, archives, [Generated(rows)], settle=lambda records: np.ones(len(records), bool))
    return {"index MB": os.path.getsize(path) / 1e6}


def members_found(folder, rows):
    """A worker's life: the index is opened, members are looked up by name."""
    began = time.perf_counter()
    members = Members(os.path.join(folder, ".train.members"))
    opened = time.perf_counter() - began
    assert len(members) == rows
    names = [b"known/%d.jpg" % number for number in range(KNOWN)]
    found, records = members.find(names)
    assert found.all() and (records["size"] == np.arange(KNOWN)).all()
    others = [b"other/%d.jpg" % number for number in range(LOOK_UPS)]
    began = time.process_time()
    assert not members.find(others)[0].any()
    return {"open ms": 1e3 * opened, "us a look-up": 1e6 * (time.process_time() - began) / LOOK_UPS}


STEPS = {
    step.__name__: step
    for step in (write_list, index_first, index_again, order_and_names, exactly_once, members_written, members_found)
}


def measured(step, folder, rows):
    """What a step in its own process took: CPU and wall seconds, its peak memory and what is its alone."""
    began, cpu = time.perf_counter(), time.process_time()
    facts = STEPS[step](folder, rows) or {}
    with open("/proc/self/smaps_rollup", encoding="ascii") as file:
        private = sum(int(line.split()[1]) for line in file if line.startswith("Private_Dirty"))
    with open("/proc/self/status", encoding="ascii") as file:
        peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
    took = {"cpu s": time.process_time() - cpu, "wall s": time.perf_counter() - began}
    return took | {"peak MB": peak / 1e3, "private MB": private / 1e3} | facts


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000_000, help="%(default)s; 54 bytes of disk each, and 11 more")
    parser.add_argument("--steps", default=",".join(STEPS), help="of %(default)s")
    parser.add_argument("--dir", help="where the temporary folder is made")
    parser.add_argument("--step", nargs=2, metavar=("STEP", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.step:
        print(json.dumps(measured(*args.step, args.rows)))
        return
    with tempfile.TemporaryDirectory(dir=args.dir) as folder:
        for step in args.steps.split(","):
            command = [sys.executable, os.path.abspath(__file__), "--rows", str(args.rows), "--step", step, folder]
            took = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
            print(f"{step:16}", ", ".join(f"{what} {value:,.4g}" for what, value in took.items()), flush=True)


if __name__ == "__main__":
    from webvision.errors import run_command

    run_command(main)
