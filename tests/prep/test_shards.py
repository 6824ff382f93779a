"""Shards: the same bytes every time and whatever was killed, read by WebDataset's library and by ours, and back."""

import os
import signal
import subprocess
import sys
import tarfile

import numpy as np
import pytest

from tests.support.archive_fixtures import write_tar
from tests.support.data_set import ROOT
from tests.support.loader_fixtures import CLASSES, jpeg, make_tree, picture
from tests.support.prep_fixtures import picture_of
from webvision.data.archives.shards import label_name, member_name, unescape
from webvision.data.data_set import DataSet
from webvision.errors import DataError, UsageError
from webvision.prep.shards import lists
from webvision.prep.shards.pack import PackOptions, pack_set
from webvision.prep.shrink import shrink_set

OPTIONS = PackOptions(per_shard=20, seed=3, max_bad=0.1)


@pytest.fixture(scope="module")
def loose(tmp_path_factory):
    """A set with names that shards find hard: dots, percent signs, two pictures of one key, no UTF-8, no suffix."""
    root = make_tree(tmp_path_factory.mktemp("set"), 50, broken=(4,))
    (root / "meta" / "synsets.txt").write_text("".join(f"c{label}\n" for label in range(CLASSES)))
    odd = [
        "c0/a.b.jpg",
        "c0/100%2E%.jpg",
        "c1/same.jpg",
        "c1/same.png",
        "c1/caf\udce9.jpg",
        "c2/none",
        "c2/" + "x" * 150 + ".jpg",
    ]
    with open(root / "meta" / "train.txt", "ab") as file:
        for number, name in enumerate(odd):
            with open(os.path.join(root, "train", name), "wb") as picture_file:
                picture_file.write(jpeg(picture(100 + number)))
            file.write(os.fsencode(name) + b" %d\n" % int(name[1]))
        file.write(b"c0/a.b.jpg 1\n")  # named again, with another label: the first counts
    return root


def pack(loose, out, options=OPTIONS):
    split = DataSet.open(str(loose)).split("train")
    return pack_set({"train": (split.index, split.pictures)}, str(loose / "meta"), str(out), options)


def test_packed_and_unpacked_again_it_is_the_same_set(loose, tmp_path):
    done = pack(loose, tmp_path / "packed")["train"]
    assert (done.shards, done.pictures, done.left_out, done.repeated) == (3, 57, {}, 1)
    packed = DataSet.open(str(tmp_path / "packed")).split("train")
    there = DataSet.open(str(loose)).split("train")
    assert packed.pictures.in_archives and packed.index.hash == there.index.hash
    for name in packed.index.names(range(len(packed.index))):
        name = os.fsencode(name)
        assert packed.pictures.read(name) == there.pictures.read(name)
    shrink_set(
        str(tmp_path / "packed"), str(tmp_path / "back"), splits=["train"], short_side=None, quality=None, jobs=2
    )
    assert picture_of(tmp_path / "back" / "train") == picture_of(loose / "train")


def test_the_same_set_and_seed_give_the_same_bytes_another_seed_another_order(loose, tmp_path):
    for name, options in (
        ("one", OPTIONS),
        ("two", OPTIONS._replace(jobs=3)),
        ("other", OPTIONS._replace(seed=4)),
        ("listed", OPTIONS._replace(seed=None)),
    ):
        pack(loose, tmp_path / name, options)
    one, two, other = (picture_of(tmp_path / name / "train") for name in ("one", "two", "other"))
    assert one == two and len(set(one.values()) & set(other.values())) == 0
    with tarfile.open(tmp_path / "listed" / "train" / "train-000000.tar") as tar:
        assert tar.getnames()[:2] == ["c0/picture 0.jpg", "c0/picture 0.cls"]
    with pytest.raises(UsageError, match="was begun with other lists, or another --per-shard or --seed"):
        pack(loose, tmp_path / "one", OPTIONS._replace(seed=9))


def test_webdataset_reads_every_picture_with_its_label(loose, tmp_path):
    import webdataset

    pack(loose, tmp_path / "packed")
    shards = sorted(str(path) for path in (tmp_path / "packed" / "train").glob("*.tar"))
    index = DataSet.open(str(loose)).split("train").index
    found = []
    for sample in webdataset.WebDataset(shards, shardshuffle=False):
        pictures = [sample[suffix] for suffix in ("jpg", "png") if suffix in sample]
        assert len(pictures) == 1 or sample["__key__"] == "c2/none", "the library sees nothing without a suffix"
        found += [(sample["__key__"], data, int(sample["cls"])) for data in pictures]
    wanted = []
    for row, name in enumerate(index.names(range(len(index) - 1))):
        member = os.fsdecode(member_name(os.fsencode(name)))
        if "." in member.rpartition("/")[2]:
            data = (loose / "train" / name).read_bytes() if "\udce9" not in name else None
            wanted.append((member.rpartition(".")[0], data, int(index.labels[row])))
    assert len(found) == len(wanted) == 56
    found_by_key = {(key, label): data for key, data, label in found if "caf" not in key}
    for key, data, label in wanted:
        assert data is None or (key, label) in found_by_key
    assert sorted(data for _, data, _ in wanted if data) == sorted(data for key, data, _ in found if "caf" not in key)


def test_names_come_back_from_members():
    draw = np.random.Generator(np.random.Philox(key=2))
    for _ in range(2000):
        name = b"q.1/" + bytes(draw.choice(list(b"a.%2E5/"), draw.integers(1, 12)).tolist())
        member = member_name(name)
        assert unescape(member) == name
        stem, dot, _ = member.rpartition(b"/")[2].partition(b".")
        assert b"." not in member.rpartition(b"/")[2][len(stem) + len(dot) :]
        assert label_name(member).endswith(stem + b".cls")


def test_killed_at_any_moment_it_goes_on_and_ends_in_the_same_bytes(loose, tmp_path):
    pack(loose, tmp_path / "right")
    right = picture_of(tmp_path / "right")
    code = (
        "import os, sys, signal\n"
        "from pathlib import Path\n"
        "from tests.prep.test_shards import pack\n"
        "left = int(sys.argv[1])\n"
        "def counted(call):\n"
        "    def wrapped(*arguments, **options):\n"
        "        global left\n"
        "        left -= 1\n"
        "        if left < 0: os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return call(*arguments, **options)\n"
        "    return wrapped\n"
        "for name in ('replace', 'fsync', 'chmod', 'makedirs', 'unlink'):\n"
        "    setattr(os, name, counted(getattr(os, name)))\n"
        "pack(Path(sys.argv[2]), Path(sys.argv[3]))\n"
    )
    kills = 0
    for left in (0, 3, 7, 12, 18, 25, 1000):
        done = subprocess.run(
            [sys.executable, "-c", code, str(left), str(loose), str(tmp_path / "out")], cwd=ROOT, timeout=60
        )
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        kills += 1
    assert kills >= 4
    assert {name: what for name, what in picture_of(tmp_path / "out").items() if "index" not in name} == right


def test_what_cannot_be_read_is_left_out_counted_and_too_much_of_it_refused(loose, tmp_path):
    import shutil

    shutil.copytree(loose, tmp_path / "set")
    for number in (1, 2):
        (tmp_path / "set" / "train" / f"c1/picture {number}.jpg").unlink()
    done = pack(tmp_path / "set", tmp_path / "out")["train"]
    assert done.left_out == {"missing": 2} and done.pictures == 55
    assert pack(tmp_path / "set", tmp_path / "out")["train"] == done, "a second run tells the same"
    with pytest.raises(DataError, match=r"2 of 58 pictures of train could not be read \(2 missing\), so no lists"):
        pack(tmp_path / "set", tmp_path / "none", OPTIONS._replace(max_bad=0.01))
    assert not (tmp_path / "none" / "meta" / "train.txt").exists()


def shard(path, samples):
    write_tar(path, [(name, data) for sample in samples for name, data in sample.items()])


def test_lists_are_made_from_the_labels_in_the_shards(tmp_path):
    shard(
        tmp_path / "train" / "0.tar",
        [{"a/1.cls": b"3", "a/1.jpg": b"x"}, {"a/2.jpg": b"y", "a/2.json": b'{"label": 0, "w": 5}'}],
    )
    shard(tmp_path / "train" / "1.tar", [{"3.jpg": b"z", "3.txt": b"a caption", "3.cls": b"1\n"}])
    shard(tmp_path / "test" / "0.tar", [{"t.jpg": b"t"}])
    assert lists.write_lists(str(tmp_path), ("train", "test")) == {"train": 3, "test": 1}
    assert (tmp_path / "meta" / "train.txt").read_text() == "a/1.jpg 3\na/2.jpg 0\n3.jpg 1\n"
    assert (tmp_path / "meta" / "test.txt").read_text() == "t.jpg\n"
    assert (tmp_path / "meta" / "synsets.txt").read_text() == "0\n1\n2\n3\n"
    split = DataSet.open(str(tmp_path)).split("train")
    assert split.pictures.read(b"a/2.jpg") == b"y"


@pytest.mark.parametrize(
    "samples, reason",
    [
        ([{"1.jpg": b"x", "1.cls": b"cat"}], "'1.cls' is no class number: 'cat'"),
        ([{"1.jpg": b"x", "1.cls": b"-1"}], "no class number"),
        ([{"1.jpg": b"x", "1.json": b"{"}], "'1.json' is no JSON"),
        ([{"1.jpg": b"x", "1.cls": b"1"}, {"2.jpg": b"x"}], "'2.jpg' has no label, the pictures before have one"),
        ([{"1.cls": b"1"}], "hold no picture"),
    ],
)
def test_shards_without_usable_labels_are_refused(tmp_path, samples, reason):
    shard(tmp_path / "train" / "0.tar", samples)
    with pytest.raises(DataError, match=reason):
        lists.write_lists(str(tmp_path), ("train",))
    assert not (tmp_path / "meta" / "train.txt").exists()


def test_packed_lists_made_anew_have_the_names_of_the_set(loose, tmp_path):
    pack(loose, tmp_path / "packed")
    os.unlink(tmp_path / "packed" / "meta" / "train.txt")
    lists.write_lists(str(tmp_path / "packed"), ("train",))
    ours = (tmp_path / "packed" / "meta" / "train.txt").read_bytes().splitlines()
    theirs = (loose / "meta" / "train.txt").read_bytes().splitlines()[:-1]
    assert sorted(ours) == sorted(theirs)
