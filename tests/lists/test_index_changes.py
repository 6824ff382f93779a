"""A list that is changed, replaced or copied: never the labels of one with the names of another, and no needless
work."""

import os
import shutil
import time

import pytest

from tests.support.index_fixtures import OLD_NS, a_list, check, side_file
from webvision.data.lists import index
from webvision.data.lists.index import open_index
from webvision.errors import DataError


def test_a_changed_list_or_class_count_is_indexed_again(tmp_path, builds):
    path = a_list(tmp_path)
    open_index(path, 7)
    a_list(tmp_path, rows=1001)
    check(open_index(path, 7), rows=1001)
    assert len(open_index(path, 8).counts) == 8
    assert len(builds) == 3
    with pytest.raises(DataError, match="outside 0..5"):
        open_index(path, 6)


def test_a_change_within_the_grain_of_the_time_stamp_is_noticed(tmp_path, builds):
    """The same size and the same mtime as when it was indexed, as two quick edits on a coarse file system give."""
    now = time.time_ns()
    path = a_list(tmp_path, mtime_ns=now)
    assert open_index(path, 7).name(0) == "n0/0.jpg"
    text = open(path).read().replace("n0/0.jpg 0", "n1/0.jpg 1")
    open(path, "w").write(text)
    os.utime(path, ns=(now, now))
    assert open_index(path, 7).entry(0) == ("n1/0.jpg", 1)
    assert len(builds) == 2


def put_another_list(path, text, how):
    """Another list of the same size at `path`, with the mtime of the one before."""
    state = os.stat(path)
    target = path if how == "written over" else path + ".new"
    with open(target, "r+" if how == "written over" else "w") as file:
        assert len(text) == state.st_size
        file.write(text)
    os.utime(target, ns=(state.st_mtime_ns, state.st_mtime_ns))
    os.rename(target, path)


@pytest.mark.parametrize("age", ["young", "old"])
@pytest.mark.parametrize("how", ["renamed over", "written over"])
def test_another_list_of_the_same_size_and_mtime_is_indexed_again(tmp_path, builds, how, age):  # L6
    """As archives with fixed times, rsync -t, cp -p and touch -r give; it need not be a young one."""
    path = str(tmp_path / "train.txt")
    (tmp_path / "train.txt").write_text("a.jpg 1\nbb.jpg 2\n")
    os.utime(path, ns=(OLD_NS, OLD_NS))
    first = open_index(path, 5)
    if age == "old":
        os.utime(side_file(path), ns=(0, time.time_ns() + 10**13))
        time.sleep(0.02)  # a tick of the file system's clock: not even a ctime can be told apart within one
    put_another_list(path, "cc.jpg 4\nd.jpg 3\n", how)
    second = open_index(path, 5)
    assert list(second.entries()) == [("cc.jpg", 4), ("d.jpg", 3)]
    assert second.hash != first.hash and len(builds) == 2
    if how == "renamed over":
        assert list(first.entries()) == [("a.jpg", 1), ("bb.jpg", 2)]
    elif age == "old":
        with pytest.raises(DataError, match="edited while it was in use"):
            first.name(0)


def copied_folder(tmp_path):
    """A list and its index, both copied with their mtimes: another inode, another ctime; the index old enough not to be
    doubted for its age."""
    (tmp_path / "a").mkdir()
    path = a_list(tmp_path / "a")
    open_index(path, 7)
    os.utime(side_file(path), ns=(0, time.time_ns() + 10**13))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    return str(tmp_path / "b" / "train.txt")


def test_a_copied_folder_is_indexed_again(tmp_path, builds, hashes):
    """Its index says what a stranger's would say: that it was made of a list like this one, somewhere."""
    path = copied_folder(tmp_path)
    check(open_index(path, 7))
    assert len(builds) == 2 and not hashes
    os.utime(side_file(path), ns=(0, time.time_ns() + 10**13))  # seconds later
    check(open_index(path, 7))
    assert len(builds) == 2 and not hashes


def test_a_young_list_is_hashed_until_its_stamp_is_old_and_then_no_more(tmp_path, builds, hashes):
    path = a_list(tmp_path, mtime_ns=time.time_ns())
    open_index(path, 7)
    open_index(path, 7)
    assert len(hashes) == 1
    os.utime(side_file(path), ns=(0, time.time_ns() + 3 * 10**9))
    open_index(path, 7)
    assert len(hashes) == 1 and len(builds) == 1


def test_a_list_edited_in_place_during_use_is_an_error_not_wrong_names(tmp_path):  # L6
    path = a_list(tmp_path)
    opened = open_index(path, 7)
    with open(path, "r+") as file:
        file.write("n3")
    with pytest.raises(DataError, match="edited while it was in use"):
        opened.name(0)
    with pytest.raises(DataError, match="edited while it was in use"):
        list(opened.entries())


def test_a_list_that_is_only_touched_during_use_is_the_same_list(tmp_path, monkeypatch):
    path = a_list(tmp_path)
    opened = open_index(path, 7)
    os.utime(path)
    check(opened)
    monkeypatch.setattr(index, "_sha256", None)  # hashed once, not for every look-up
    check(opened)


def test_a_truncated_list_during_use_is_an_error_not_a_crash(tmp_path):
    path = a_list(tmp_path)
    opened = open_index(path, 7)
    os.truncate(path, 0)
    with pytest.raises(DataError, match="edited"):
        opened.names([999])


def test_a_replaced_list_does_not_disturb_who_has_it_open(tmp_path):
    path = a_list(tmp_path)
    opened = open_index(path, 7)
    (tmp_path / "new").write_text("x.jpg 0\n")
    os.rename(tmp_path / "new", path)
    check(opened)
    assert len(open_index(path, 7)) == 1
