"""kill -9 at random over packing, indexing and reading from archives: each goes on, and ends in the same bytes.

    make soak-archives KILLS=300 SEED=1

A third of the kills each: `pack` of a small set; the member index of many archives, in processes; batches out of the
archives, by workers, which write down each batch's hash and go on after the last. Exit status 1 if the end is another
than without kills, if anything is left over, or if a worker outlives its parent.
"""

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)

from tests.support.loader_fixtures import CLASSES, make_tree  # noqa: E402
from tests.support.prep_fixtures import picture_of  # noqa: E402
from webvision.data.archives.members import Members  # noqa: E402

BATCHES = 12
PACK = """
import sys
from webvision.data.data_set import DataSet
from webvision.prep.shards.pack import PackOptions, pack_set
split = DataSet.open(sys.argv[1]).split("train")
pack_set({"train": (split.index, split.pictures)}, sys.argv[1] + "/meta", sys.argv[2], PackOptions(5, 3, 2))
"""
INDEX = """
import sys
from webvision.data.archives import building
building.LOT_BYTES, building._IN_PROCESS = 60_000, 1
building.open_members(sys.argv[2] + "/train", beside=sys.argv[2] + "/meta", jobs=2)
"""
READ = (
    """
import hashlib, os, sys
from webvision.data.data_set import DataSet
from webvision.data.loader.batches import TrainBatches
from webvision.data.loader.spec import BatchSpec
from webvision.data.views.augment import Augmentation
split, log = DataSet.open(sys.argv[1]).split("train"), sys.argv[2]
done = len(open(log).read().splitlines()) if os.path.exists(log) else 0
batches = TrainBatches(split, split.order("upsample", seed=2), BatchSpec(Augmentation(image_size=32), 16),
                       workers=2, start=16 * done)
for number, batch in zip(range(done, %d), batches):
    line = hashlib.sha256(batch.images.tobytes() + batch.rows.tobytes()).hexdigest() + "\\n"
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, line.encode())
    os.close(fd)
batches.close()
"""
    % BATCHES
)


def run(code, *arguments, after=None):
    """(exit status, seconds) of a process that runs `code`, killed `after` so many seconds."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], cwd=ROOT)
    try:
        return process.wait(after), time.monotonic() - began
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait(), time.monotonic() - began


def killed_until_done(code, arguments, kills, draw, seconds):
    """Kill it up to `kills` times, each at another moment, then let it end; returns how many kills hit."""
    hit = 0
    for _ in range(kills):
        status, _ = run(code, *arguments, after=draw.uniform(0.05, seconds))
        if status == 0:
            return hit
        assert status == -signal.SIGKILL, f"ended with {status}"
        hit += 1
    status, _ = run(code, *arguments)
    assert status == 0, f"the run after the kills ended with {status}"
    return hit


def state_of(folder):
    """What lies there, the lists' own side files and locks apart; of the member index, which knows times of its
    archives, what it says of members."""
    found = {name: what for name, what in picture_of(folder).items() if not name.endswith((".index", ".lock"))}
    members = Members(str(folder / "meta" / ".train.members"))
    archives = [(archive.facts.name, archive.members, archive.damage) for archive in members.archives]
    return found | {"meta/.train.members": (members.records().tobytes(), archives)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    draw = random.Random(args.seed)
    work = Path(tempfile.mkdtemp(prefix="archive-soak-"))
    loose = make_tree(work / "loose", 60)
    (loose / "meta" / "synsets.txt").write_text("".join(f"c{label}\n" for label in range(CLASSES)))
    seconds = {}
    for name, code, arguments in (
        ("pack", PACK, (loose, work / "right")),
        ("index", INDEX, (loose, work / "right")),
        ("read", READ, (work / "right", work / "right.log")),
    ):
        status, seconds[name] = run(code, *arguments)
        assert status == 0
    right, right_log = state_of(work / "right"), (work / "right.log").read_text()
    counts, wrong, turn = dict.fromkeys(seconds, 0), 0, 0
    while sum(counts.values()) < args.kills:
        turn += 1
        out, log = work / f"out {turn}", work / f"out {turn}.log"
        counts["pack"] += killed_until_done(PACK, (loose, out), 6, draw, 1.1 * seconds["pack"])
        counts["index"] += killed_until_done(INDEX, (loose, out), 6, draw, 1.1 * seconds["index"])
        same = state_of(out) == right
        counts["read"] += killed_until_done(READ, (out, log), 6, draw, 1.1 * seconds["read"])
        same &= log.read_text() == right_log
        wrong += not same
        print(f"turn {turn}: {counts}, {'the same' if same else 'NOT THE SAME'}", flush=True)
        if same:
            shutil.rmtree(out)
    digest = hashlib.sha256(repr(sorted(right.items())).encode()).hexdigest()[:16]
    print(f"{sum(counts.values())} kills in {turn} turns ({counts}), {wrong} ends not the same; the state is {digest}")
    left = [name for name in os.listdir("/proc") if name.isdigit() and str(work) in _command_of(name)]
    print(f"processes left over: {len(left)}")
    shutil.rmtree(work)
    sys.exit(1 if wrong or left else 0)


def _command_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


if __name__ == "__main__":
    main()
