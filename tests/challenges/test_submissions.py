"""Submissions: upstream's bytes, a zip that a challenge accepts, all faults before a byte is written."""

import hashlib
import os
import zipfile

import numpy as np
import pytest

from webvision.challenges.codalab import submission
from webvision.errors import DataError
from webvision.scoring.predictions.scan import Arrays

LINES = b"test000001.jpg 1    2    3    4    5\ntest000002.jpg 4999    0    17    3    2\n"


def arrays(names=("test000001.jpg", "test000002.jpg"), top=((1, 2, 3, 4, 5), (4999, 0, 17, 3, 2))):
    return Arrays(list(names), None, np.array(top, np.int32), None, [None] * len(names))


def member(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["predictions.txt"] and archive.testzip() is None
        return archive.read("predictions.txt")


def test_the_lines_are_upstreams_bytes(tmp_path):
    receipt = submission.write_submission(tmp_path / "s.zip", arrays(), num_classes=5000)
    assert member(tmp_path / "s.zip") == LINES
    assert receipt == (2, hashlib.sha256(LINES).hexdigest())


def test_more_than_five_ids_are_cut_to_the_best_five(tmp_path):
    submission.write_submission(tmp_path / "s.zip", arrays(top=[range(1, 9), range(8)]), num_classes=5000)
    assert member(tmp_path / "s.zip").splitlines()[0] == b"test000001.jpg 1    2    3    4    5"


@pytest.mark.parametrize("classes", [1, 2, 4])
def test_fewer_than_five_classes_give_all_of_them(tmp_path, classes):  # E4
    submission.write_submission(tmp_path / "s.zip", arrays(top=[range(classes)] * 2), num_classes=classes)
    assert member(tmp_path / "s.zip").splitlines()[1] == b"test000002.jpg " + b"    ".join(
        b"%d" % i for i in range(classes)
    )


def test_the_same_predictions_give_the_same_zip(tmp_path):
    for name in "ab":
        submission.write_submission(tmp_path / name, arrays(), num_classes=5000)
        os.utime(tmp_path / name, (0, 0))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with zipfile.ZipFile(tmp_path / "a") as archive:
        info = archive.infolist()[0]
        assert info.date_time == (1980, 1, 1, 0, 0, 0) and info.external_attr >> 16 == 0o644 and info.create_system == 3


def test_names_come_out_as_the_bytes_they_were(tmp_path):
    names = [b"raw\xe9.jpg".decode("utf-8", "surrogateescape"), "\u65e5 \u672c.jpg"]
    submission.write_submission(tmp_path / "s.zip", arrays(names=names), num_classes=5000)
    assert [line.split(b" ")[0] for line in member(tmp_path / "s.zip").splitlines()] == [
        b"raw\xe9.jpg",
        "\u65e5".encode(),
    ]


def test_all_faults_are_listed_and_nothing_is_written(tmp_path):
    names = ["a.jpg", "new\nline.jpg", "a.jpg", "tab\t.jpg"]
    with pytest.raises(
        DataError, match=r"(?s)row 2: the name 'new\\nline.jpg'.*row 3: name 'a.jpg' stands in row 1 too.*row 4"
    ):
        submission.write_submission(tmp_path / "s.zip", arrays(names, [range(5)] * 4), num_classes=9)
    with pytest.raises(DataError, match="3 class ids an image, the challenge wants 5"):
        submission.write_submission(tmp_path / "s.zip", arrays(top=[range(3)] * 2), num_classes=9)
    with pytest.raises(DataError, match="there are no predictions"):
        submission.write_submission(
            tmp_path / "s.zip", Arrays([], None, np.zeros((0, 5), int), None, []), num_classes=9
        )
    assert os.listdir(tmp_path) == []


def test_names_are_compared_with_the_list_row_by_row():
    listed = ["a", "b", "c"]
    assert submission.name_faults(["a", "b", "c"], listed, "val.txt") == []
    assert submission.name_faults(["a", "x", "c"], listed, "val.txt") == [
        "row 2: 'x' is not in val.txt",
        "no row for 'b' (line 2 of val.txt)",
    ]
    assert "row 3: 2 predictions, but val.txt has 3 lines" in submission.name_faults(["a", "b"], listed, "val.txt")
    assert submission.name_faults(["a", "c", "b"], listed, "val.txt") == [
        "row 2: 'c' where val.txt has 'b': the rows are not in the list's order"
    ]


def test_a_zip_that_reads_back_differently_is_not_kept(tmp_path, monkeypatch):
    (tmp_path / "s.zip").write_text("old")
    monkeypatch.setattr(submission.zipfile.ZipFile, "namelist", lambda archive: ["predictions.txt", "more.txt"])
    with pytest.raises(submission.ResourceError, match="read back with other content"):
        submission.write_submission(tmp_path / "s.zip", arrays(), num_classes=5000)
    assert os.listdir(tmp_path) == ["s.zip"] and (tmp_path / "s.zip").read_text() == "old"
