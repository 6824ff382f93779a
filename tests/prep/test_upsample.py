"""`utils/upsample.py`: the balanced list in a file equals the order of training, and is whole or absent."""

import collections
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.support.data_set import ROOT
from webvision.data.lists.balance import parse_balance, targets
from webvision.data.lists.index import open_index
from webvision.data.lists.order import EpochOrder

COMMAND = [sys.executable, os.path.join(ROOT, "utils", "upsample.py")]
COUNTS = [60, 7, 0, 31]


@pytest.fixture
def data(tmp_path):
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "synsets.txt").write_text("n0\nn1\nn2\nn3\n")
    lines = [b"n%d/a picture %d.jpg %d" % (c, i, c) for c, count in enumerate(COUNTS) for i in range(count)]
    lines[3] = b"n0/caf\xe9.jpg 0"
    random.Random(0).shuffle(lines)
    (tmp_path / "meta" / "train.txt").write_bytes(b"\n".join(lines))  # and no newline at the end
    return tmp_path


def upsample(*arguments):
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True)


@pytest.mark.parametrize("balance, seed, epoch", [("upsample", 0, 0), ("sqrt", 3, 2), ("cap:2", 1, 0), ("none", 5, 9)])
def test_the_file_is_the_epoch_that_training_walks(data, balance, seed, epoch):
    out = data / "balanced.txt"
    done = upsample("--data", data, "--balance", balance, "--seed", seed, "--epoch", epoch, "--out", out)
    assert done.returncode == 0, done.stderr
    index = open_index(data / "meta" / "train.txt", 4)
    order = EpochOrder(index, targets(index.counts, parse_balance(balance)), seed=seed)
    expected = [index.entry(row) for row in order.rows(epoch, np.arange(len(order)))]
    written = list(open_index(out, 4).entries())
    assert written == expected
    assert {e.name for e in written} == {e.name for e in index.entries()}
    assert "1 of 4 classes have no picture and cannot be learned: 2 (n2)" in done.stderr
    if balance == "upsample":
        assert collections.Counter(e.label for e in written) == {0: 60, 1: 60, 3: 60}


def test_equal_arguments_give_equal_bytes_and_another_seed_does_not(data):
    outs = [data / f"{i}.txt" for i in range(3)]
    for out, seed in zip(outs, (1, 1, 2)):
        upsample("--list", data / "meta" / "train.txt", "--seed", seed, "--out", out)
    assert outs[0].read_bytes() == outs[1].read_bytes() != outs[2].read_bytes()


@pytest.mark.parametrize(
    "arguments, text",
    [
        (["--balance", "double"], "unknown balance 'double'"),
        (["--seed", "-1"], "count from 0"),
        (["--synsets", "x"], "belongs to --list"),
    ],
)
def test_wrong_flags_exit_2(data, arguments, text):
    done = upsample("--data", data, "--out", data / "x", *arguments)
    assert done.returncode == 2 and text in done.stderr and not (data / "x").exists()


def test_the_list_itself_is_not_overwritten_and_an_unlabelled_list_is_refused(data):
    path = data / "meta" / "train.txt"
    before = path.read_bytes()
    done = upsample("--data", data, "--out", path)
    assert done.returncode == 2 and "is the list itself" in done.stderr and path.read_bytes() == before
    path.write_text("a.jpg\n")
    done = upsample("--data", data, "--out", data / "x")
    assert done.returncode == 2 and "no labels" in done.stderr


def test_a_wrong_list_exits_3_with_its_line(data):
    (data / "meta" / "train.txt").write_text("a.jpg 1\nb.jpg 4\n")
    done = upsample("--data", data, "--out", data / "x")
    assert done.returncode == 3 and "train.txt:2: label '4' is outside 0..3" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_killed_run_leaves_the_old_file_and_the_next_run_no_leftovers(data):  # B2
    (data / "meta" / "train.txt").write_text("".join(f"{i}.jpg {int(i < 3)}\n" for i in range(300_000)))
    out = data / "out" / "balanced.txt"
    out.parent.mkdir()
    out.write_text("old")
    arguments = ["--data", str(data), "--out", str(out)]
    open_index(data / "meta" / "train.txt", 4)
    seen = set()
    for delay in (0.2, 0.25, 0.3, 0.35, 0.4):
        process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.DEVNULL)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        seen.add(out.stat().st_size)
    assert upsample(*arguments).returncode == 0
    size = out.stat().st_size
    assert seen <= {3, size} and os.listdir(out.parent) == ["balanced.txt"]


def test_help_is_fast_and_needs_no_numpy():
    code = (
        f"import sys, runpy; sys.argv = ['upsample.py', '--help']\ntry: runpy.run_path({COMMAND[1]!r}, "
        "run_name='__main__')\n"
        "finally: print('numpy' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "--balance" in done.stdout and done.stderr.strip() == "False"
