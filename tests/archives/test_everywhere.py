"""What else reads pictures reads them out of archives as well: check, shrink, gallery, speed, imagenet5k."""

import json
import os
import shutil

import numpy as np
import pytest

from tests.support.archive_fixtures import put_into_archives, write_tar
from tests.support.loader_fixtures import CLASSES, make_tree
from tests.support.prep_fixtures import picture_of
from webvision.data.data_set import DataSet
from webvision.data.loader import speed
from webvision.data.loader.spec import BatchSpec
from webvision.data.views.augment import Augmentation
from webvision.errors import DataError
from webvision.prep.check.check import CheckOptions, check
from webvision.prep.check.scan import ScanOptions
from webvision.prep.shrink import shrink_set
from webvision.scoring.report.gallery import Thumbnails


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """(loose, archived): the same pictures, one cut off, one missing, one in no list, two equal."""
    loose = make_tree(tmp_path_factory.mktemp("sets") / "loose", 40, broken=(7,))
    (loose / "meta" / "synsets.txt").write_text("".join(f"c{label}\n" for label in range(CLASSES)))
    (loose / "train" / "c2" / "picture 5.jpg").unlink()
    shutil.copy(loose / "train" / "c1" / "picture 1.jpg", loose / "train" / "c1" / "picture 2.jpg")
    shutil.copy(loose / "train" / "c1" / "picture 1.jpg", loose / "train" / "c1" / "unlisted.jpg")
    archived = loose.parent / "archived"
    shutil.copytree(loose, archived)
    put_into_archives(archived, "train")
    return loose, archived


@pytest.mark.parametrize("level", ["names", "decode"])
def test_check_says_the_same(trees, tmp_path, level):
    def judged(root):
        out = tmp_path / root.name
        report = check(str(root), str(out), CheckOptions(scan=ScanOptions(level), jobs=2, fix=True))
        report.pop("data")
        assert report["splits"]["train"].pop("broken_archives", []) == []
        return json.dumps(report), {name: what for name, what in picture_of(out).items() if name != "report.json"}

    loose, archived = map(judged, trees)
    assert loose == archived
    assert '"missing": 1' in loose[0] and "unlisted.jpg" in loose[0]


def test_shrink_makes_the_same_set(trees, tmp_path):
    options = {"splits": ["train"], "short_side": 40, "quality": 80, "jobs": 2, "max_bad": 0.1}
    for root in trees:
        shrink_set(str(root), str(tmp_path / root.name), **options)
    loose, archived = (picture_of(tmp_path / root.name) for root in trees)
    assert loose == archived and len(loose) > 30


def test_the_gallery_shows_the_same(trees):
    loose, archived = ([Thumbnails(root).address(name, "train") for name in NAMES] for root in map(str, trees))
    assert loose == archived and loose[0].startswith("data:image/jpeg") and loose[1:] == [None, None]


NAMES = ("c1/picture 1.jpg", "c2/picture 5.jpg", "../train/c1/picture 1.jpg")


def test_speed_measures_them(trees):
    split = DataSet.open(str(trees[1])).split("train")
    timing = speed.measure(
        split, split.order(seed=1), BatchSpec(Augmentation(image_size=32), 8), workers=1, pictures=32
    )
    assert timing.read > 0 and timing.decode > 0 and timing.damaged == 2


def test_imagenet5k_reads_them_and_says_that_they_have_no_paths(trees):
    from imagenet5k import Imagenet5k, Imagenet5kFiles

    def pixels(root):
        flow = Imagenet5k(str(root), "train", shuffle=False)
        flow.reset_state()
        return [(image.tobytes(), label) for image, label in flow]

    assert pixels(trees[0]) == pixels(trees[1])
    flow = Imagenet5kFiles(str(trees[1]), "train", shuffle=False)
    flow.reset_state()
    with pytest.raises(DataError, match="the pictures lie in archives and have no paths"):
        next(iter(flow))


def test_a_check_finds_what_an_archive_that_is_cut_off_lacks(trees, tmp_path):
    shutil.copytree(trees[1], tmp_path / "set")
    os.truncate(tmp_path / "set" / "train" / "part 2.tar", 6000)
    report = check(str(tmp_path / "set"), str(tmp_path / "out"), CheckOptions(ScanOptions("names"), fix=True))
    train = report["splits"]["train"]
    missing = train["unreadable"]["missing"]
    assert missing > 5 and any("part 2.tar: ends at byte 6,000" in text for text in train["broken_archives"])
    kept = (tmp_path / "out" / "fixed" / "train.txt").read_text().splitlines()
    assert len(kept) == 40 - missing
    shutil.copy(tmp_path / "out" / "fixed" / "train.txt", tmp_path / "set" / "meta" / "train.txt")
    assert len(DataSet.open(str(tmp_path / "set")).split("train").index) == len(kept)


def test_two_processes_that_start_at_once_index_once(tmp_path):
    """The second finds what the first made; both read right."""
    import multiprocessing

    for number in range(4):
        write_tar(tmp_path / "train" / f"{number}.tar", {f"{number}-{i}.jpg": bytes([i]) * 99 for i in range(50)})
    (tmp_path / "meta").mkdir()
    with multiprocessing.get_context("fork").Pool(4) as pool:
        found = pool.map(_index, [str(tmp_path)] * 4)
    assert found == [(200, found[0][1])] * 4 and np.isscalar(found[0][1])
    assert os.listdir(tmp_path / "meta") == [".train.members"]


def _index(root):
    from webvision.data.archives.building import open_members

    members = open_members(f"{root}/train", beside=f"{root}/meta")
    return len(members), os.stat(members.path).st_ino
