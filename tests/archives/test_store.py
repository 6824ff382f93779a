"""Pictures out of archives: the bytes of their files, or the reason why not; and a changed archive is noticed."""

import os
import shutil

import numpy as np
import pytest

from tests.support.archive_fixtures import write_tar
from webvision.data.archives import store as store_module
from webvision.data.archives.building import open_members
from webvision.data.archives.store import PictureArchives
from webvision.data.pictures.images import ImageError, ImagePolicy
from webvision.errors import DataError

FILES = {f"c{number % 3}/{number}.jpg": bytes([number]) * (1 + 37 * number) for number in range(40)}


@pytest.fixture
def folder(tmp_path):
    for number in range(2):
        write_tar(tmp_path / "train" / f"{number}.tar", {name: FILES[name] for name in sorted(FILES)[number::2]})
    return tmp_path / "train"


def opened(folder, **policy):
    members = open_members(str(folder), beside=str(folder.parent))
    return PictureArchives(str(folder), members, ImagePolicy(**policy))


def test_every_picture_has_the_bytes_of_its_file_here_and_in_a_worker(folder):
    here = opened(folder)
    there = PictureArchives.from_json(here.to_json())
    for name, data in FILES.items():
        assert here.read(name.encode()) == there.read(name.encode()) == data
        assert here.size(name.encode()) == len(data)
    assert here.has([b"c0/0.jpg", b"c0/1.jpg"]).tolist() == [True, False]
    assert there.policy == here.policy


def test_what_cannot_be_read_has_a_reason(folder):
    pictures = opened(folder, max_bytes=500)
    for name, reason in ((b"none.jpg", "missing"), (b"c0/39.jpg", "file-too-large")):
        with pytest.raises(ImageError) as error:
            pictures.read(name)
        assert error.value.reason == reason
    with pytest.raises(ImageError, match="no member of that name"):
        pictures.size(b"c0")


@pytest.mark.parametrize("how", ["another under its name", "overwritten in place", "gone", "cut off"])
def test_an_archive_that_changes_in_use_ends_the_run(folder, monkeypatch, how):
    monkeypatch.setattr(store_module, "CHECK_S", 0.0)
    pictures = opened(folder)
    assert pictures.read(b"c1/1.jpg")
    for path in folder.glob("*.tar"):
        if how == "another under its name":
            shutil.copy(path, f"{path}.new")
            os.replace(f"{path}.new", path)
        elif how == "gone":
            path.unlink()
        elif how == "cut off":
            os.truncate(path, 1024)
        else:
            with open(path, "r+b") as file:
                file.write(b"another")
    with pytest.raises(DataError, match="this archive changed while it was in use") as error:
        pictures.read(b"c1/1.jpg")
    assert not isinstance(error.value, ImageError), "nothing is wrong with the picture"


def test_a_member_whose_header_is_another_is_never_taken_for_the_picture(folder):
    """Even where size and times of the archive are as they were, as after a restored copy."""
    pictures = opened(folder)
    state = os.stat(folder / "0.tar")
    with open(folder / "0.tar", "r+b") as file:
        data = bytearray(file.read())
        data[0:1] = b"X"  # the first member's name; its checksum is not looked at when a picture is read
        file.seek(0)
        file.write(data)
    os.utime(folder / "0.tar", ns=(state.st_atime_ns, state.st_mtime_ns))
    first = sorted(FILES)[0].encode()
    with pytest.raises(DataError):
        pictures.read(first)


def test_a_worker_refuses_another_index_than_its_training_process_has(folder):
    fields = opened(folder).to_json()
    write_tar(folder / "2.tar", {"x.jpg": b"x"})
    opened(folder)
    with pytest.raises(DataError, match="indexed anew while in use"):
        PictureArchives.from_json(fields)


def test_few_archives_are_open_at_a_time_and_those_in_use_stay_open(folder, monkeypatch):
    monkeypatch.setattr(store_module, "OPEN_ARCHIVES", 1)
    pictures = opened(folder)
    places = pictures.places([name.encode() for name in FILES])
    files = set(places.files.tolist())
    assert len(files) == 2, "both are open while their places are held"
    for file, start, size, at in zip(places.files, places.starts, places.sizes, places.order, strict=True):
        assert os.pread(file, size, start) == list(FILES.values())[at]
    del places
    now = [f"/proc/self/fd/{file}" for file in files]
    assert sum(os.path.exists(link) and os.readlink(link).endswith(".tar") for link in now) == 1


def test_places_come_in_the_order_in_which_they_lie(folder):
    pictures = opened(folder)
    names = [name.encode() for name in FILES] + [b"none"]
    places = pictures.places(names, largest=1000)
    assert sorted(places.order.tolist()) == [at for at, data in enumerate(FILES.values()) if len(data) <= 1000]
    for file in np.unique(places.files):
        assert (np.diff(places.starts[places.files == file]) > 0).all()
    pictures.expect(names)
