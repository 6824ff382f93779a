"""speed: the figures add up, and the advice follows from them."""

import json
import os
import subprocess
import sys

import pytest

from tests.support.loader_fixtures import CLASSES, make_tree
from webvision.data.loader.speed import Timing, bottleneck, enough_workers, explain
from webvision.devices import cpu_cores

SCRIPT = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "utils", "speed.py")
FAST = Timing(
    read_disk_wall=100.0, read=15.0, decode=200.0, augment=85.0, hand_over=5.0, workers=8, together_wall=40.0, damaged=0
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    tree = make_tree(tmp_path_factory.mktemp("speed"), count=60, broken=(7,))
    (tree / "meta" / "synsets.txt").write_text("".join(f"c{label}\n" for label in range(CLASSES)))
    return tree


def command(*options):
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, options)], capture_output=True, text=True, timeout=60, check=False
    )


def test_every_part_is_measured(data):
    done = command(
        "--data", data, "--workers", 2, "--batch", 16, "--size", 64, "--pictures", 64, "--rate", 1e5, "--json"
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    for part in ("read_disk_wall", "read", "decode", "hand_over", "together_wall", "worker", "rate"):
        assert figures[part] > 0, part
    assert figures["worker"] == pytest.approx(figures["read"] + figures["decode"] + figures["augment"])
    assert figures["damaged"] >= 1
    assert figures["enough_workers"] == pytest.approx(
        1.25e5 * figures["together_wall"] * min(2, cpu_cores()) / 1e6, abs=1
    )


def test_the_table_is_for_people(data):
    done = command("--data", data, "--workers", 1, "--batch", 8, "--size", 32, "--pictures", 16)
    assert done.returncode == 0, done.stderr
    for words in ("JPEG decoding:", "reading from the storage", "hand-over", "--rate"):
        assert words in done.stdout


def test_the_bottleneck_is_named():
    said = " ".join(explain(FAST, 10000.0, 64))
    assert (
        "most of it decoding (67%)" in said
        and "The step is the bottleneck, not the loader: 8 workers feed 25000" in said
    )
    said = " ".join(explain(FAST, 24000.0, 64))
    assert "The loader is the bottleneck" in said and "10 would be enough." in said
    said = " ".join(explain(FAST, 100000.0, 16))
    assert "more than the 16 cores" in said and "webvision shrink" in said and "--workers 40, on as many cores" in said
    assert "storage is slow" in " ".join(explain(FAST._replace(read_disk_wall=9000.0), None, 4))
    assert "webvision check --decode" in " ".join(explain(FAST._replace(damaged=3), None, 4))


def test_a_training_process_that_cannot_pass_pictures_on_is_not_told_to_have_more_workers():
    busy = FAST._replace(hand_over=90.0)
    assert (
        bottleneck(busy, 10000.0) == "hand-over"
        and bottleneck(FAST, 10000.0) == "step"
        and bottleneck(FAST, 24000.0) == "loader"
    )
    assert "The hand-over is the bottleneck" in " ".join(explain(busy, 10000.0, 64))


def test_workers_that_hold_each_other_up_are_counted_at_the_pace_they_had_together():
    crowded = FAST._replace(workers=2, together_wall=440.0)  # 300 us alone, 880 us each of two
    assert enough_workers(crowded, 5000.0, 2) == 6
    assert "2 at once, each takes 880 us" in " ".join(explain(crowded, 5000.0, 2))
    assert enough_workers(FAST._replace(workers=8, together_wall=150.0), 5000.0, 2) == 2, (
        "eight on two cores are as good as two"
    )
    assert "at once" not in " ".join(explain(FAST, 5000.0, 64))


@pytest.mark.parametrize("rate", [10.0, 3000.0, 19999.0, 20001.0, 1e6])
def test_workers_that_are_too_few_are_never_called_enough(rate):
    said = " ".join(explain(FAST, rate, 64))
    assert ("The loader is the bottleneck" in said) == (enough_workers(FAST, rate, 64) > FAST.workers)


@pytest.mark.parametrize("options", [["--workers", 0], ["--batch", 0], ["--rate", -1], ["--size", 3]])
def test_wrong_settings_exit_2(data, options):
    assert command("--data", data, *options).returncode == 2


def test_a_folder_that_is_none_is_an_error_with_its_name(tmp_path):
    done = command("--data", tmp_path / "none")
    assert done.returncode == 3 and "none" in done.stderr and "Traceback" not in done.stderr
