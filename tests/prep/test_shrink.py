"""shrink: smaller pictures, the same lists; killed anywhere and run again, the same folder."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from tests.support.data_set import ROOT
from tests.support.loader_fixtures import CLASSES, jpeg, make_tree, picture
from webvision.data.pictures.images import ImagePolicy, inspect, read_image_file
from webvision.errors import LockedError, UsageError
from webvision.files import directory_lock
from webvision.prep.shrink import shrink_set


@pytest.fixture
def data(tmp_path):
    tree = make_tree(tmp_path / "data", count=30, broken=(4,))
    (tree / "meta" / "synsets.txt").write_text("".join(f"c{label}\n" for label in range(CLASSES)))
    (tree / "train" / "c0" / "picture 0.jpg").write_bytes(jpeg(picture(0, 900, 600), 95))
    (tree / "train" / "c1" / "picture 1.jpg").write_bytes(cv2.imencode(".png", picture(1, 300, 500))[1].tobytes())
    (tree / "train" / "c1" / "picture 2.jpg").unlink()
    return tree


def run(data, out, **options):
    return shrink_set(
        data,
        out,
        **{"splits": ["train", "val"], "short_side": 60, "quality": 90, "jobs": 2, "max_bad": 0.05, **options},
    )


def content(folder):
    return {
        os.path.relpath(os.path.join(base, name), folder): hashlib.sha256(
            open(os.path.join(base, name), "rb").read()
        ).hexdigest()
        for base, _, names in os.walk(folder)
        for name in names
        if name != ".lock" and not name.endswith(".index")
    }


def test_how_far_it_is_stands_in_the_log(data, tmp_path, capsys, hurried_progress):
    run(data, tmp_path / "out")
    assert "shrinking train: 30 pictures of 30 pictures (100.0 %)" in capsys.readouterr().err


def test_pictures_shrink_and_lists_stay_true(data, tmp_path):
    before = content(data)
    out = tmp_path / "out"
    report = run(data, out).text
    assert "30 listed" in report and "1 missing" in report and "1 copied, damaged" in report
    assert content(data) == before  # only read, but for the index beside the list
    assert (out / "meta" / "train.txt").read_bytes() == (data / "meta" / "train.txt").read_bytes()
    large = read_image_file(out / "train" / "c0" / "picture 0.jpg")
    assert large.shape == (60, 90, 3)
    expected = cv2.resize(picture(0, 900, 600), (90, 60), interpolation=cv2.INTER_AREA)
    assert np.abs(large.astype(int) - expected).mean() < 4
    header = inspect((out / "train" / "c1" / "picture 1.jpg").read_bytes())
    assert header.format == "jpeg" and header.plain and (header.width, header.height) == (60, 100)
    small = "train/c0/picture 26.jpg" if (data / "train/c0/picture 26.jpg").exists() else "train/c4/picture 17.jpg"
    assert (out / small).read_bytes() == (data / small).read_bytes()  # 50 x 50: copied
    assert not (out / ".shrink").exists()


def test_run_again_writes_nothing(data, tmp_path):
    run(data, tmp_path / "out")
    first = content(tmp_path / "out")
    assert "29 there from before" in run(data, tmp_path / "out").text
    assert content(tmp_path / "out") == first


def test_killed_anywhere_and_run_again_gives_the_same(data, tmp_path):
    run(data, tmp_path / "whole")
    command = [
        sys.executable,
        os.path.join(ROOT, "utils", "shrink.py"),
        "--data",
        data,
        "--out",
        tmp_path / "out",
        "--short-side",
        "60",
        "--jobs",
        "2",
        "--max-bad",
        "5%",
    ]
    draws = np.random.default_rng(0)
    for _ in range(4):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        time.sleep(float(draws.uniform(0.3, 0.8)))
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "train: 30 listed" in done.stdout
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def farm_of(data, folder):
    """A data set whose pictures are links to `data`'s."""
    for base, _, names in os.walk(data / "train"):
        linked = folder / os.path.relpath(base, data)
        os.makedirs(linked)
        for name in names:
            (linked / name).symlink_to(os.path.join(base, name))
    shutil.copytree(data / "meta", folder / "meta")
    return folder


def test_pictures_that_are_left_out_are_counted_by_reason_and_end_in_no_lists(data, tmp_path):
    farm, out = farm_of(data, tmp_path / "farm"), tmp_path / "out"
    (farm / "train" / "c1" / "picture 3.jpg").unlink()
    os.mkdir(farm / "train" / "c1" / "picture 3.jpg")
    report = run(farm, out)
    assert report.incomplete == ("train",)
    assert "30 listed: 1 missing, 28 links out of the data folder, 1 not regular files; " in report.text
    assert not (out / "meta" / "train.txt").exists()
    followed = run(farm, out, policy=ImagePolicy(allow_outside=True), max_bad=2.1 / 30)
    assert followed.incomplete == () and "1 missing, 1 not regular files" in followed.text
    assert (out / "meta" / "train.txt").exists() and len(content(out / "train")) == 28


def test_the_command_says_what_to_do_when_pictures_are_left_out(data, tmp_path):
    command = [
        sys.executable,
        os.path.join(ROOT, "utils", "shrink.py"),
        "--data",
        farm_of(data, tmp_path / "farm"),
        "--out",
        tmp_path / "out",
        "--short-side",
        "60",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 4 and "29 links out of the data folder" in done.stdout
    assert "more than 1 %" in done.stderr and "--allow-outside" in done.stderr and "Traceback" not in done.stderr
    done = subprocess.run([*command, "--allow-outside", "--max-bad", "4%"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "outside" not in done.stdout


def test_a_second_line_of_a_picture_is_no_earlier_run(data, tmp_path):
    lines = (data / "meta" / "train.txt").read_text().splitlines(keepends=True)
    (data / "meta" / "train.txt").write_text("".join([lines[0], lines[5], *lines, lines[5]]))
    first, second = (run(data, tmp_path / "out").text for _ in range(2))
    assert "33 listed: " in first and "3 listed before" in first and "there from before" not in first
    assert "29 there from before, 3 listed before, 1 missing" in second


def test_an_empty_file_is_copied_once(data, tmp_path):
    (data / "train" / "c1" / "picture 3.jpg").write_bytes(b"")
    assert "2 copied, damaged" in run(data, tmp_path / "out").text
    assert "29 there from before, 1 missing" in run(data, tmp_path / "out").text
    (tmp_path / "out" / "train" / "c0" / "picture 0.jpg").write_bytes(b"")  # as a power cut leaves it
    assert "1 rewritten, 28 there from before" in run(data, tmp_path / "out").text


@pytest.mark.parametrize("out", ["file", "file/below", "/proc/nowhere", "x" * 300])
def test_an_out_that_cannot_be_a_folder(data, tmp_path, out):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="--out .*cannot be made a folder"):
        run(data, tmp_path / out)


def test_refusals(data, tmp_path):
    for out in (data, data / "inside", tmp_path):
        with pytest.raises(UsageError, match="outside"):
            run(data, out)
    os.makedirs(tmp_path / "out")
    with directory_lock(tmp_path / "out"), pytest.raises(LockedError):
        run(data, tmp_path / "out")
    run(data, tmp_path / "out")
    with pytest.raises(UsageError, match="short side 60"):  # half of the pictures would be of another size
        run(data, tmp_path / "out", short_side=50)


def test_help_is_quick_and_usage_errors_exit_2(tmp_path):
    script = os.path.join(ROOT, "utils", "shrink.py")
    began = time.monotonic()
    assert (
        "short side"
        in subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, check=True).stdout
    )
    assert time.monotonic() - began < 2
    for wrong in (["--quality", "0"], ["--short-side", "5"], ["--jobs", "0"], ["--max-bad", "2"]):
        assert (
            subprocess.run(
                [sys.executable, script, "--data", "a", "--out", "b", *wrong], capture_output=True, check=False
            ).returncode
            == 2
        )
