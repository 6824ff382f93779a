"""What `check --decode` found sound, training does not go through whole again, and only that."""

import itertools
import os
import shutil
import tarfile
import time

import numpy as np
import pytest

from tests.support.loader_fixtures import jpeg, make_tree, picture
from webvision.data.data_set import DataSet, Split
from webvision.data.lists.index import open_index
from webvision.data.lists.sound import open_sound, write_sound
from webvision.data.loader import kernel
from webvision.data.loader.batches import TrainBatches
from webvision.data.loader.spec import BatchSpec
from webvision.data.pictures import folder, images
from webvision.data.pictures.folder import PictureFolder
from webvision.data.pictures.images import REASONS, ImagePolicy
from webvision.data.views.augment import Augmentation
from webvision.prep.check.check import CheckOptions, check
from webvision.prep.check.scan import ScanOptions

COUNT, BROKEN = 12, (3, 7)
SOUND = [row for row in range(COUNT) if row not in BROKEN]
DECODE = CheckOptions(scan=ScanOptions("decode"))


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """A set that was checked once its files were old enough to be told from later ones."""
    root = make_tree(tmp_path_factory.mktemp("sound") / "data", COUNT, BROKEN)
    (root / "meta" / "synsets.txt").write_text("".join(f"c{label}\n" for label in range(5)))
    time.sleep(folder._YOUNG_NS / 1e9 + 0.1)
    check(str(root), str(root / "check"), DECODE)
    return root


@pytest.fixture
def fresh(old, tmp_path, monkeypatch):
    """A copy, checked at once: for tests that change it, and judge files by their last 20 ms."""
    monkeypatch.setattr(folder, "_YOUNG_NS", 20_000_000)
    root = tmp_path / "data"
    shutil.copytree(old, root)
    time.sleep(0.05)
    check(str(root), str(root / "check"), DECODE)
    return root


def split_of(root, policy=images.DEFAULT_POLICY):
    return Split(open_index(root / "meta" / "train.txt", 5), PictureFolder(root / "train", policy))


def stamps_of(root):
    return open_sound(split_of(root).index).stamps(np.arange(COUNT))


def sound_rows(root):
    return np.flatnonzero(stamps_of(root)).tolist()


def train(root, workers=0):
    """{row: reason} of the first time that training meets each picture."""
    split = split_of(root)
    batches = TrainBatches(
        split, split.order(seed=3), BatchSpec(Augmentation(image_size=32), COUNT), workers=workers, max_bad=1
    )
    (batch,) = itertools.islice(batches, 1)
    found = {int(row): REASONS[status] for row, status in zip(batch.rows, batch.status, strict=True)}
    batches.close()
    return found


@pytest.fixture
def looked_through(monkeypatch):
    """The names that are gone through whole, in this process."""
    batch, singly, show, read_window = set(), [], kernel.show, images.read_window

    def shown(files, plan, slot, *, proven=(), **options):
        batch.update(set(files.rows.tolist()) - set(proven))
        return show(files, plan, slot, proven=proven, **options)

    def read(*arguments, whole: bool, **options):
        singly.append(whole)
        return read_window(*arguments, whole=whole, **options)

    monkeypatch.setattr(kernel, "show", shown)
    monkeypatch.setattr(images, "read_window", read)
    return lambda: len(batch) + sum(singly)


VERDICTS = {row: "truncated" if row in BROKEN else "ok" for row in range(COUNT)}


def test_what_a_check_found_sound_is_not_gone_through_again(old, looked_through):
    assert sound_rows(old) == SOUND
    assert train(old) == VERDICTS and looked_through() == 0
    (old / "meta" / ".train.txt.sound").rename(old / "meta" / "kept")
    try:
        assert train(old) == VERDICTS and looked_through() == COUNT, "without it, they are (two as spares)"
    finally:
        (old / "meta" / "kept").rename(old / "meta" / ".train.txt.sound")


def test_worker_processes_judge_alike(old):
    assert train(old, workers=2) == VERDICTS


@pytest.mark.parametrize("how", ["written over", "replaced", "linked"])
def test_a_picture_that_changed_since_is_gone_through_whole(fresh, looked_through, how):
    name = fresh / "train" / split_of(fresh).index.name(0)
    state, data = os.stat(name), bytearray(name.read_bytes())
    for at in range(len(data) - 60, len(data) - 20):
        data[at] ^= 0x55
    if how == "written over":
        name.write_bytes(data)
    else:
        other = fresh / "train" / "other.jpg"
        other.write_bytes(data)
        os.utime(other, ns=(state.st_atime_ns, state.st_mtime_ns))
        name.unlink()
        os.symlink(other, name) if how == "linked" else other.rename(name)
    os.utime(name, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert os.stat(name).st_size == state.st_size and os.stat(name).st_mtime_ns == state.st_mtime_ns
    time.sleep(0.05)
    assert sound_rows(fresh) == SOUND and train(fresh) == {**VERDICTS, 0: "corrupt"} and looked_through() >= 1


def test_a_picture_that_changes_while_it_is_checked_or_just_before_is_not_proven(fresh, monkeypatch):
    (fresh / "train" / split_of(fresh).index.name(0)).write_bytes(jpeg(picture(99)))
    monkeypatch.setattr(folder, "_YOUNG_NS", 60_000_000_000)
    check(str(fresh), str(fresh / "check"), DECODE)
    assert sound_rows(fresh) == []


def planted(path):
    os.chmod(path, 0o664)


def linked(path):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def cut(path):
    os.truncate(path, 100)


def replaced_list(path):
    lines = (path.parent / "train.txt").read_bytes().splitlines(keepends=True)
    (path.parent / "train.txt").write_bytes(b"".join(reversed(lines)))


def copied_list(path):
    shutil.copy2(path.parent / "train.txt", path.parent / "copy")
    (path.parent / "copy").rename(path.parent / "train.txt")


@pytest.mark.parametrize("change", [planted, linked, cut, replaced_list, copied_list, os.unlink])
def test_what_is_not_this_users_or_not_this_lists_proves_nothing(fresh, change):
    assert sound_rows(fresh) == SOUND
    change(fresh / "meta" / ".train.txt.sound")
    assert sound_rows(fresh) == []


def test_a_copied_set_brings_no_proof(fresh, tmp_path):
    shutil.copytree(fresh, tmp_path / "other")
    assert sound_rows(tmp_path / "other") == []
    index = split_of(tmp_path / "other").index
    write_sound(index, stamps_of(fresh))  # even if the list were the same: these are other files
    pictures = split_of(tmp_path / "other").pictures
    assert not any(pictures.stamp(os.fsencode(index.name(row))) == stamps_of(fresh)[row] for row in SOUND)


def test_it_is_kept_in_the_users_cache_where_the_list_lies_cannot_be_written(fresh, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    beside = fresh / "meta" / ".train.txt.sound"
    beside.unlink()
    beside.mkdir()  # cannot be replaced by a file, whoever the user is
    check(str(fresh), str(fresh / "check"), DECODE)
    assert sound_rows(fresh) == SOUND and list((tmp_path / "cache").rglob("*.sound"))


def test_a_check_that_looks_less_closely_proves_nothing_and_takes_nothing_away(fresh):
    check(str(fresh), str(fresh / "check"), CheckOptions(scan=ScanOptions("content")))
    assert sound_rows(fresh) == SOUND
    check(
        str(fresh), str(fresh / "check"), CheckOptions(scan=ScanOptions("decode", ImagePolicy(accept_truncated=True)))
    )
    assert sound_rows(fresh) == [], "of damage that was let in, nothing is known"


def test_pictures_in_archives_are_proven_for_as_long_as_the_archives_stay(old, tmp_path, looked_through):
    root = tmp_path / "data"
    shutil.copytree(old / "meta", root / "meta", ignore=lambda *_: [".train.txt.sound"])
    (root / "train").mkdir()

    def packed():
        with tarfile.open(root / "train" / "all.tar", "w") as archive:
            for folder_name in sorted(os.listdir(old / "train")):
                archive.add(old / "train" / folder_name, folder_name)

    def known():
        split = DataSet.open(root).split("train")
        stamp = split.pictures.stamp(b"any")
        return [row for row, kept in enumerate(open_sound(split.index).stamps(np.arange(COUNT))) if kept == stamp]

    packed()
    check(str(root), str(root / "check"), DECODE)
    assert known() == SOUND
    split = DataSet.open(root).split("train")
    batches = TrainBatches(
        split, split.order(seed=3), BatchSpec(Augmentation(image_size=32), COUNT), workers=0, max_bad=1
    )
    (batch,) = itertools.islice(batches, 1)
    assert sorted(batch.rows[batch.status > 0].tolist()) == sorted(BROKEN) and looked_through() == 0
    packed()
    assert known() == [], "packed again: another archive, whatever is in it"
