"""A set arranged without unpacking: archives at their splits, lists of members, the counts of the unpacked set."""

import json
import os
import shutil

import pytest

from tests.support.archive_fixtures import write_tar
from tests.support.prep_fixtures import ROWS, make_raw, picture_of
from webvision.data.archives.building import open_members
from webvision.errors import DataError, IncompleteError
from webvision.prep.arrange.arrange import arrange
from webvision.prep.arrange.in_archives import arrange_archives


def silent(text):
    """A remark that nobody reads."""


def pack_raw(raw, archives):
    """The pictures of a raw set in archives as WebVision's: two of train, one of val and of test, in a folder."""
    os.makedirs(archives, exist_ok=True)
    names = [name for name, _ in ROWS]
    for number in range(2):
        write_tar(
            archives / f"webvision_train_{number:02d}.tar",
            {name: (raw / name).read_bytes() for name in names[number::2] if (raw / name).exists()},
        )
    for split in ("val", "test"):
        folder = f"{split}_images_resized"
        files = {f"{folder}/{name}": (raw / folder / name).read_bytes() for name in sorted(os.listdir(raw / folder))}
        write_tar(archives / f"{folder}.tar", files)
        shutil.rmtree(raw / folder)
    for source in ("google", "flickr"):
        shutil.rmtree(raw / source)
    return raw


def test_the_lists_name_the_members_with_the_labels_and_in_the_order_of_the_unpacked_set(tmp_path):
    loose = make_raw(tmp_path / "loose")
    unpacked = arrange(str(loose), str(loose), remark=silent)
    raw = make_raw(tmp_path / "raw")
    pack_raw(raw, raw / "archives")
    report = arrange_archives(str(raw), str(raw), remark=silent)
    for split in ("train", "val", "test"):
        assert {**report[split], "renamed": 0} == {**unpacked[split], "renamed": 0}
        ours, theirs = ((root / "meta" / f"{split}.txt").read_text().splitlines() for root in (raw, loose))
        assert [line.split()[1:] for line in ours] == [line.split()[1:] for line in theirs]
        members = open_members(str(raw / split), beside=str(raw / "meta"))
        names = [line.split()[0].encode() for line in ours]
        found, records = members.find(names)
        assert found.all() and len(members) == len(names)
    assert (raw / "meta/train.txt").read_text().splitlines()[0] == "{} {}".format(*ROWS[0])
    assert (raw / "meta/val.txt").read_text().startswith("val_images_resized/val000001.jpg 1\n")
    assert sorted(os.listdir(raw / "train")) == ["webvision_train_00.tar", "webvision_train_01.tar"]
    before = picture_of(raw)
    assert arrange_archives(str(raw), str(raw), remark=silent) == report and picture_of(raw) == before


@pytest.mark.parametrize("method", ["link", "copy"])
def test_the_downloaded_archives_can_stay_where_they_are(tmp_path, method):
    raw = make_raw(tmp_path / "raw")
    pack_raw(raw, raw)
    before = picture_of(raw)
    report = arrange_archives(str(raw), str(tmp_path / "data"), method=method, remark=silent)
    assert picture_of(raw) == before and report["train"]["kept"] == len(ROWS)
    assert os.path.samefile(raw / "webvision_train_00.tar", tmp_path / "data/train/webvision_train_00.tar") == (
        method == "link"
    )


def test_missing_and_extra_members_are_counted_and_an_archive_that_is_cut_off_is_named(tmp_path):
    raw = make_raw(tmp_path / "raw")
    (raw / ROWS[2][0]).unlink()
    (raw / ROWS[4][0]).write_bytes(b"")
    pack_raw(raw, raw)
    write_tar(raw / "google_more.tar", {"google/q9/other.jpg": b"x"})
    with pytest.raises(IncompleteError, match="train: of 24 listed pictures 1 are missing and 1 are empty files"):
        arrange_archives(str(raw), str(raw), remark=silent)
    report = arrange_archives(str(raw), str(raw), max_missing=0.1, remark=silent)
    assert report["train"]["missing"] == {"count": 1, "names": [ROWS[2][0]]}
    assert report["train"]["empty"]["count"] == 1 and report["train"]["extra"]["count"] == 1
    assert json.loads((raw / "meta/arrange.json").read_text()) == report
    os.truncate(raw / "train/webvision_train_00.tar", 3000)
    said = []
    with pytest.raises(IncompleteError, match="are missing"):
        arrange_archives(str(raw), str(raw), remark=said.append)
    assert any("webvision_train_00.tar: ends at byte 3,000" in text for text in said)


def test_without_archives_or_with_another_set_there_the_error_says_so(tmp_path):
    raw = make_raw(tmp_path / "raw")
    with pytest.raises(DataError, match=r"no archive of the train pictures.*\*train\*\.tar"):
        arrange_archives(str(raw), str(raw), remark=silent)
    pack_raw(raw, raw)
    write_tar(tmp_path / "raw/train/webvision_train_00.tar", {"other": b"x"})
    with pytest.raises(DataError, match="another archive of that name"):
        arrange_archives(str(raw), str(raw), remark=silent)
