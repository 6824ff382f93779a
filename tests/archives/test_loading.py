"""Training and evaluation from archives: the bytes of loose files, whatever builds the batches, and the same errors."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.support.archive_fixtures import put_into_archives, write_tar
from tests.support.loader_fixtures import CLASSES, jpeg, make_tree, picture, take
from webvision.data.archives import store
from webvision.data.archives.store import PictureArchives
from webvision.data.data_set import DataSet
from webvision.data.loader import batch_files
from webvision.data.loader.batches import EvalBatches, TrainBatches
from webvision.data.loader.spec import BatchSpec
from webvision.data.native import library
from webvision.data.pictures.folder import PictureFolder
from webvision.data.views.augment import Augmentation
from webvision.data.views.presets import PRESETS
from webvision.errors import DataError

VIEW = Augmentation(image_size=32)
BATCH = 8


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """(loose, archived): the same pictures, among them damaged ones and ones that no fast road takes."""
    loose = make_tree(tmp_path_factory.mktemp("sets") / "loose", 60, broken=(7, 30))
    (loose / "meta" / "synsets.txt").write_text("".join(f"c{label}\n" for label in range(CLASSES)))
    Image.fromarray(picture(1)).save(loose / "train" / "c0" / "picture 0.jpg", "PNG")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(picture(2)).save(loose / "train" / "c1" / "picture 1.jpg", exif=turned)
    (loose / "train" / "c1" / "picture 3.jpg").write_bytes(b"")
    (loose / "train" / "c2" / "picture 5.jpg").unlink()
    (loose / "train" / "c2" / "picture 6.jpg").write_bytes(jpeg(picture(6, 300, 200)))
    shutil.copy(loose / "meta" / "train.txt", loose / "meta" / "val.txt")
    shutil.copytree(loose / "train", loose / "val")
    archived = loose.parent / "archived"
    shutil.copytree(loose, archived)
    for split in ("train", "val"):
        put_into_archives(archived, split)
    return loose, archived


def train(root, **options):
    split = DataSet.open(str(root)).split("train")
    options = {"max_bad": 1.0, **options}
    return TrainBatches(split, split.order("upsample", seed=5), BatchSpec(VIEW, BATCH), **options)


def hash_of(batches, count):
    try:
        return take(batches, count)[1]
    finally:
        batches.close()


def test_training_batches_are_those_of_loose_files_whoever_builds_them(trees, monkeypatch):
    loose, archived = trees
    split = DataSet.open(str(archived)).split("train")
    assert isinstance(split.pictures, PictureArchives) and len(split.pictures.members.archives) == 3
    right = hash_of(train(loose), 12)
    assert hash_of(train(archived), 12) == right
    assert hash_of(train(archived, workers=2), 12) == right
    monkeypatch.setattr(batch_files, "_LARGEST", 3000)  # most are read singly
    assert hash_of(train(archived), 12) == right
    monkeypatch.setattr(batch_files, "PART", 5000)  # a few at a time
    assert hash_of(train(archived), 12) == right


def test_without_compiled_code_they_are_those_of_loose_files_without_it(trees, monkeypatch):
    loose, archived = trees
    monkeypatch.setattr(library, "_library", False)
    assert hash_of(train(archived), 6) == hash_of(train(loose), 6)


def test_any_rank_and_any_start_have_their_part_of_the_same_run(trees):
    loose, archived = trees
    whole, _ = take(train(loose), 12)
    for ranks in (1, 2, 3, 4):
        for rank in range(ranks):
            part, _ = take(train(archived, rank=rank, ranks=ranks, start=2 * BATCH), 2)
            for number, batch in enumerate(part):
                same = whole[2 + rank + number * ranks]
                assert (batch.images == same.images).all() and (batch.rows == same.rows).all()
    batches = train(archived)
    assert set(batches.rows(0, batches.samples).tolist()) == set(range(60))


def test_evaluation_keeps_every_row_with_the_bytes_and_reasons_of_loose_files(trees):
    def judge(root, workers):
        split = DataSet.open(str(root)).split("val")
        batches = EvalBatches(split, BatchSpec(PRESETS["webvision"].scaled(32), 7), workers=workers)
        try:
            taken, digest = take(batches, 100)
            return digest, np.concatenate([batch.status for batch in taken]).tolist(), dict(batches.bad.reasons)
        finally:
            batches.close()

    loose, archived = trees
    right = judge(loose, 0)
    assert right[2] == {"truncated": 2, "empty": 1, "missing": 1}
    assert judge(archived, 0) == judge(archived, 2) == right


@pytest.mark.parametrize("workers", [0, 2])
def test_an_archive_that_is_replaced_in_mid_run_ends_it(trees, tmp_path, monkeypatch, workers):
    monkeypatch.setattr(store, "CHECK_S", 0.0)
    shutil.copytree(trees[1], tmp_path / "set")
    batches = train(tmp_path / "set", workers=workers)
    flow = iter(batches)
    next(flow)
    for path in (tmp_path / "set" / "train").glob("*.tar"):
        with open(path, "r+b") as file:  # in place: what was open is another one, too
            file.seek(200)
            file.write(b"another")
    with pytest.raises(DataError, match=r"part \d\.tar: this archive changed while it was in use; start again"):
        for _ in range(10000):
            next(flow)
    batches.close()


def test_a_set_with_an_archive_that_is_cut_off_names_it_and_the_rows_it_takes_along(trees, tmp_path):
    root = tmp_path / "set"
    shutil.copytree(trees[1], root)
    os.truncate(root / "train" / "part 1.tar", 9000)
    with pytest.raises(DataError) as error:
        DataSet.open(str(root)).split("train")
    said = str(error.value)
    assert "part 1.tar: ends at byte 9,000 in the bytes of member" in said
    lost = int(said.split("with it ")[1].split()[0])
    assert 5 < lost < 30 and "of the 60 pictures of" in said and "(lines " in said
    members = DataSet.open(str(root)).split("val").pictures.members
    assert len(members) == 59, "the other split is whole"
    kept = [
        line
        for number, line in enumerate((root / "meta" / "train.txt").read_text().splitlines(keepends=True))
        if number not in lost_numbers(root)
    ]
    assert len(kept) == 60 - lost
    (root / "meta" / "train.txt").write_text("".join(kept))
    split = DataSet.open(str(root)).split("train")
    assert split.pictures.has([name.encode() for name in split.index.names(range(len(split.index)))]).all()


def lost_numbers(root):
    """Numbers (from 0) of the lines of train.txt whose pictures no archive has."""
    pictures = store.open_pictures(str(root / "train"), beside=str(root / "meta"))
    names = [line.rpartition(" ")[0].encode() for line in (root / "meta" / "train.txt").read_text().splitlines()]
    return set(np.flatnonzero(~pictures.has(names)).tolist())


def test_an_unpacked_set_with_its_archives_beside_is_read_from_the_files(trees, tmp_path):
    shutil.copytree(trees[0], tmp_path / "set")
    write_tar(tmp_path / "set" / "train" / "c0.tar", {"picture 0.jpg": b"no"})
    assert isinstance(DataSet.open(str(tmp_path / "set")).split("train").pictures, PictureFolder)


def test_the_list_of_another_set_is_refused(trees, tmp_path):
    shutil.copytree(trees[1], tmp_path / "set")
    (tmp_path / "set" / "meta" / "train.txt").write_text("other/1.jpg 0\nother/2.jpg 1\n")
    with pytest.raises(DataError, match=r"other/1\.jpg is not in .*train, nor is any of 10 rows tried"):
        DataSet.open(str(tmp_path / "set")).split("train")
