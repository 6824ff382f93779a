"""shrink: smaller pictures, the same lists; killed anywhere and run again, the same folder."""
import hashlib
import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from tests.loader_fixtures import CLASSES, jpeg, make_tree, picture
from webvision.data.images import inspect, read_image_file
from webvision.data.shrink import shrink_set
from webvision.errors import LockedError, UsageError
from webvision.files import directory_lock

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@pytest.fixture
def data(tmp_path):
    tree = make_tree(tmp_path / "data", count=30, broken=(4,))
    (tree / "meta" / "synsets.txt").write_text("".join(f"c{label}\n" for label in range(CLASSES)))
    (tree / "train" / "c0" / "picture 0.jpg").write_bytes(jpeg(picture(0, 900, 600), 95))
    (tree / "train" / "c1" / "picture 1.jpg").write_bytes(cv2.imencode(".png", picture(1, 300, 500))[1].tobytes())
    (tree / "train" / "c1" / "picture 2.jpg").unlink()
    return tree


def run(data, out, **options):
    return shrink_set(data, out, **{"splits": ["train", "val"], "short_side": 60, "quality": 90, "jobs": 2, **options})


def content(folder):
    return {os.path.relpath(os.path.join(base, name), folder): hashlib.sha256(open(os.path.join(base, name), "rb").read()).hexdigest()
            for base, _, names in os.walk(folder) for name in names if name != ".lock" and not name.endswith(".index")}


def test_pictures_shrink_and_lists_stay_true(data, tmp_path):
    before = content(data)
    out = tmp_path / "out"
    report = run(data, out)
    assert "30 listed" in report and "1 missing" in report and "1 copied, damaged" in report
    assert content(data) == before                              # only read, but for the index beside the list
    assert (out / "meta" / "train.txt").read_bytes() == (data / "meta" / "train.txt").read_bytes()
    large = read_image_file(out / "train" / "c0" / "picture 0.jpg")
    assert large.shape == (60, 90, 3)
    expected = cv2.resize(picture(0, 900, 600), (90, 60), interpolation=cv2.INTER_AREA)
    assert np.abs(large.astype(int) - expected).mean() < 4
    header = inspect((out / "train" / "c1" / "picture 1.jpg").read_bytes())
    assert header.format == "jpeg" and header.plain and (header.width, header.height) == (60, 100)
    small = "train/c0/picture 26.jpg" if (data / "train/c0/picture 26.jpg").exists() else "train/c4/picture 17.jpg"
    assert (out / small).read_bytes() == (data / small).read_bytes()    # 50 x 50: copied
    assert not (out / ".shrink").exists()


def test_run_again_writes_nothing(data, tmp_path):
    run(data, tmp_path / "out")
    first = content(tmp_path / "out")
    assert "29 there from before" in run(data, tmp_path / "out")
    assert content(tmp_path / "out") == first


def test_killed_anywhere_and_run_again_gives_the_same(data, tmp_path):
    run(data, tmp_path / "whole")
    command = [sys.executable, os.path.join(ROOT, "utils", "shrink.py"), "--data", data, "--out", tmp_path / "out",
               "--short-side", "60", "--jobs", "2"]
    draws = np.random.default_rng(0)
    for _ in range(4):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        time.sleep(float(draws.uniform(0.3, 0.8)))
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "train: 30 listed" in done.stdout
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_refusals(data, tmp_path):
    for out in (data, data / "inside", tmp_path):
        with pytest.raises(UsageError, match="outside"):
            run(data, out)
    os.makedirs(tmp_path / "out")
    with directory_lock(tmp_path / "out"), pytest.raises(LockedError):
        run(data, tmp_path / "out")
    run(data, tmp_path / "out")
    with pytest.raises(UsageError, match="short side 60"):          # half of the pictures would be of another size
        run(data, tmp_path / "out", short_side=50)


def test_help_is_quick_and_usage_errors_exit_2(tmp_path):
    script = os.path.join(ROOT, "utils", "shrink.py")
    began = time.monotonic()
    assert "short side" in subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, check=True).stdout
    assert time.monotonic() - began < 2
    for wrong in (["--quality", "0"], ["--short-side", "5"], ["--jobs", "0"]):
        assert subprocess.run([sys.executable, script, "--data", "a", "--out", "b", *wrong], capture_output=True,
                              check=False).returncode == 2
