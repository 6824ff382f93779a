"""utils/json2sub.py as a user runs it: defaults, upstream's bytes, refusals with row numbers, the old zip kept."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from tests.support.data_set import ROOT
from webvision.scoring.predictions.file import PredictionWriter

SCRIPT = os.path.join(ROOT, "utils", "json2sub.py")


def run(folder, *args, prefix=""):
    command = [sys.executable, SCRIPT, *map(str, args)]
    if prefix:
        command = [
            sys.executable,
            "-c",
            f"{prefix}\nimport runpy, sys\nsys.argv = {command[1:]!r}\nrunpy.run_path(sys.argv[0], "
            "run_name='__main__')",
        ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.fixture
def folder(tmp_path):
    """A folder as --eval leaves it: train_log/predictions.json and the list that it was made from."""
    (tmp_path / "train_log").mkdir()
    names = [f"test{i:06d}.jpg" for i in range(1, 41)]
    listing = "".join(f"{name}\n" for name in names).encode()
    (tmp_path / "test.txt").write_bytes(listing)
    rng = np.random.default_rng(0)
    scores = rng.dirichlet(np.ones(30), size=40).astype(np.float32)
    top = np.argsort(-scores, axis=1)[:, :5]
    header = {
        "list": {"path": "test.txt", "sha256": hashlib.sha256(listing).hexdigest(), "rows": 40},
        "classes": {"count": 30},
        "k": 5,
    }
    with PredictionWriter(tmp_path / "train_log/predictions.json", header) as writer:
        writer.write(names, None, top, np.take_along_axis(scores, top, 1), ["truncated"] + [None] * 39)
    return tmp_path


def edit(folder, change):
    path = folder / "train_log/predictions.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def upstream_text(folder):
    """The submission in an independent way: split names, ids with four blanks between them."""
    rows = json.loads((folder / "train_log/predictions.json").read_text())["predictions"]
    return "".join(row["name"] + " " + "    ".join(str(c) for c in row["top"]) + "\n" for row in rows).encode()


def test_without_arguments_it_makes_the_submission(folder):
    result = run(folder)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("train_log/submission.zip: 40 rows in predictions.txt, sha256 ")
    assert "1 of 40 pictures could not be read" in result.stderr
    with zipfile.ZipFile(folder / "train_log/submission.zip") as archive:
        assert archive.namelist() == ["predictions.txt"] and archive.read("predictions.txt") == upstream_text(folder)
    assert sorted(os.listdir(folder / "train_log")) == ["predictions.json", "submission.zip"]


def test_paths_can_be_given(folder):
    os.rename(folder / "train_log/predictions.json", folder / "p.json")
    assert run(folder, "p.json").returncode == 0 and (folder / "submission.zip").exists()
    assert run(folder, "p.json", "--out", "x.zip", "--list", "test.txt").returncode == 0
    assert (folder / "x.zip").read_bytes() == (folder / "submission.zip").read_bytes()


def test_upstreams_list_of_ids_with_the_image_list_gives_the_same_bytes(folder):
    rows = json.loads((folder / "train_log/predictions.json").read_text())["predictions"]
    (folder / "top5_resnet2x.json").write_text(json.dumps([row["top"] for row in rows]))
    assert run(folder, "top5_resnet2x.json").returncode == 2
    assert run(folder, "top5_resnet2x.json", "--list", "test.txt").returncode == 0
    with zipfile.ZipFile(folder / "submission.zip") as archive:
        assert archive.read("predictions.txt") == upstream_text(folder)
    (folder / "test.txt").write_text("one.jpg\n")
    result = run(folder, "top5_resnet2x.json", "--list", "test.txt")
    assert result.returncode == 3 and "row 2: 40 rows of ids, but the list has 1 images" in result.stderr


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda d: d["predictions"].pop(3), "row 39: the file ends here, but the list has 40 images"),
        (lambda d: d["predictions"][3].update(name="other.jpg"), "names are not those that were written"),
        (
            lambda d: d["predictions"][3].update(name="test000001.jpg"),
            "row 4: name 'test000001.jpg' stands in row 1 too",
        ),
        (lambda d: d["predictions"][3].update(top=[1, 2, 3, 4]), "row 4: 4 class ids where 5 are expected"),
        (lambda d: d["predictions"][3].update(top=[1, 2, 3, 4, 30]), "row 4: class id 30 is outside 0..29"),
        (lambda d: d["predictions"][3].update(top=[1, 2, 3, 4, True]), "row 4: bool True is not a class id"),
        (
            lambda d: (d.pop("rows"), d.pop("names_sha256"), d["predictions"][3].update(name="other.jpg")),
            "row 4: 'other.jpg' is not in test.txt",
        ),
    ],
)
def test_wrong_rows_are_refused_by_number_and_the_old_zip_stays(folder, change, words):
    (folder / "train_log/submission.zip").write_text("old")
    edit(folder, change)
    result = run(folder)
    assert (
        result.returncode == 3 and words in result.stderr and "Traceback" not in result.stderr and result.stdout == ""
    )
    assert (folder / "train_log/submission.zip").read_text() == "old"


def test_all_wrong_rows_are_listed_at_once(folder):
    def change(document):
        for i in (1, 5, 9):
            document["predictions"][i]["top"] = [0, 0, 1, 2, 3]

    edit(folder, change)
    assert [line.split(":")[-2].strip() for line in run(folder).stderr.splitlines()[:3]] == ["row 2", "row 6", "row 10"]


def test_a_list_that_is_not_the_one_evaluated_is_refused(folder):  # S2
    (folder / "other.txt").write_text("x.jpg\n")
    result = run(folder, "--list", "other.txt")
    assert result.returncode == 3 and "another list, or edited since" in result.stderr
    (folder / "test.txt").write_text((folder / "test.txt").read_text() + "more.jpg\n")
    assert run(folder).returncode == 3
    assert not (folder / "train_log/submission.zip").exists()


def test_without_the_list_the_names_are_still_guarded_by_their_hash(folder):
    os.unlink(folder / "test.txt")
    result = run(folder)
    assert result.returncode == 0 and "--list FILE checks them" in result.stderr
    edit(folder, lambda d: d["predictions"].reverse())
    assert run(folder).returncode == 3


def test_fewer_than_five_classes(tmp_path):
    with PredictionWriter(tmp_path / "p.json", {"classes": {"count": 2}, "k": 2}) as writer:
        writer.write(["a.jpg"], None, np.array([[1, 0]]), np.array([[0.75, 0.25]]))
    assert run(tmp_path, "p.json").returncode == 0
    with zipfile.ZipFile(tmp_path / "submission.zip") as archive:
        assert archive.read("predictions.txt") == b"a.jpg 1    0\n"


def test_nothing_to_read_is_one_line_with_the_next_step(tmp_path):
    result = run(tmp_path)
    assert result.returncode == 3 and result.stderr.count("\n") == 1 and "webvision eval" in result.stderr


def test_a_kill_or_a_full_disk_keeps_the_old_zip(folder):  # S3
    (folder / "train_log/submission.zip").write_text("old")
    full = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))"
    )
    result = run(folder, prefix=full)
    assert result.returncode != 0
    killed = run(folder, prefix="import os, signal\nos.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)")
    assert killed.returncode == -signal.SIGKILL
    assert (folder / "train_log/submission.zip").read_text() == "old"


GOOD_LINE = "a.jpg 1    2    3    4    5\n"


def checked(folder, text, *args, member="predictions.txt", code=3):
    with zipfile.ZipFile(folder / "s.zip", "w") as archive:
        archive.writestr(member, text)
    result = run(folder, "--check", "s.zip", *args)
    assert result.returncode == code and "Traceback" not in result.stderr, result.stderr
    return result.stderr if code else result.stdout


def test_a_submission_on_the_disk_is_checked(folder):
    assert run(folder).returncode == 0
    result = run(folder, "--check", "train_log/submission.zip", "--list", "test.txt", "--classes", "30")
    assert result.returncode == 0 and "40 rows, no fault found" in result.stdout and result.stderr == ""
    (folder / "names.txt").write_text("a b.jpg\n")
    checked(folder, "a b.jpg 1    2    3    4    5\n", "--list", "names.txt", code=0)


def test_the_checker_lists_every_fault_by_line(folder):
    text = (
        GOOD_LINE
        + "b.jpg 1 2 3 4 9\nb.jpg 1    2    3    4    5\n\nc.jpg 1    1    2    3    4\nd.jpg 1.0    x    -1    2    "
        "3\ne.jpg 1    2    3    4"
    )
    found = checked(folder, text, "--classes", "9")
    for words in (
        "line 2: class id 9 is outside 0..8",
        "line 3: name 'b.jpg' stands in line 2 too",
        "line 4: 0 class ids",
        "line 5: a class is named twice",
        "line 6: '1.0' is not a class id",
        "line 6: '-1' is not",
        "line 7: no line end",
        "line 7: 4 class ids where 5",
    ):
        assert words in found, words
    (folder / "names.txt").write_text("a.jpg\nz.jpg\n")
    assert "no line for 'z.jpg' (line 2 of names.txt)" in checked(folder, GOOD_LINE, "--list", "names.txt")
    assert "line 2: 'y.jpg' is not in names.txt" in checked(
        folder, GOOD_LINE + GOOD_LINE.replace("a", "y"), "--list", "names.txt"
    )


def test_the_checker_knows_the_archives_form(folder):  # S4
    assert "must be at the zip's root" in checked(folder, GOOD_LINE, member="sub/predictions.txt")
    (folder / "plain.txt").write_text(GOOD_LINE.replace("    ", " "))
    plain = run(folder, "--check", "plain.txt")
    assert plain.returncode == 0 and "line 1: not exactly" in plain.stderr
    whole = (folder / "s.zip").read_bytes()
    (folder / "cut.zip").write_bytes(whole[:40] + bytes(20) + whole[60:])
    assert run(folder, "--check", "cut.zip").returncode == 3
