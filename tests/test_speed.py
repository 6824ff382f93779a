"""speed: the figures add up, and the advice follows from them."""
import json
import os
import subprocess
import sys

import pytest

from tests.loader_fixtures import CLASSES, make_tree
from webvision.data.speed import Timing, enough_workers, explain

SCRIPT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "utils", "speed.py")
FAST = Timing(read_disk_wall=100., read=15., decode=200., augment=85., hand_over=5., workers=8, together_wall=40., damaged=0)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    tree = make_tree(tmp_path_factory.mktemp("speed"), count=60, broken=(7,))
    (tree / "meta" / "synsets.txt").write_text("".join(f"c{label}\n" for label in range(CLASSES)))
    return tree


def command(*options):
    return subprocess.run([sys.executable, SCRIPT, *map(str, options)], capture_output=True, text=True, timeout=60, check=False)


def test_every_part_is_measured(data):
    done = command("--data", data, "--workers", 2, "--batch", 16, "--size", 64, "--pictures", 64, "--rate", 1e5, "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    for part in ("read_disk_wall", "read", "decode", "hand_over", "together_wall", "worker", "rate"):
        assert figures[part] > 0, part
    assert figures["worker"] == pytest.approx(figures["read"] + figures["decode"] + figures["augment"])
    assert figures["damaged"] >= 1
    assert figures["enough_workers"] == pytest.approx(1.25e5 * figures["worker"] / 1e6, abs=1)


def test_the_table_is_for_people(data):
    done = command("--data", data, "--workers", 1, "--batch", 8, "--size", 32, "--pictures", 16)
    assert done.returncode == 0, done.stderr
    for words in ("JPEG decoding:", "reading from the storage", "hand-over", "--rate"):
        assert words in done.stdout


def test_the_bottleneck_is_named():
    said = " ".join(explain(FAST, 10000., 64))
    assert "most of it decoding (67%)" in said and "not the bottleneck" in said
    said = " ".join(explain(FAST, 24000., 64))
    assert "The loader is the bottleneck" in said and "9 workers would be enough" in said
    assert enough_workers(FAST, 24000.) == 9 and enough_workers(FAST, 0.1) == 1
    said = " ".join(explain(FAST, 100000., 16))
    assert "more than the 16 cores" in said and "shrink.py" in said
    assert "storage is slow" in " ".join(explain(FAST._replace(read_disk_wall=9000.), None, 4))
    assert "check.py --decode" in " ".join(explain(FAST._replace(damaged=3), None, 4))


@pytest.mark.parametrize("options", [["--workers", 0], ["--batch", 0], ["--rate", -1], ["--size", 3]])
def test_wrong_settings_exit_2(data, options):
    assert command("--data", data, *options).returncode == 2


def test_a_folder_that_is_none_is_an_error_with_its_name(tmp_path):
    done = command("--data", tmp_path / "none")
    assert done.returncode == 3 and "none" in done.stderr and "Traceback" not in done.stderr
