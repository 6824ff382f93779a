"""The commands around archives, as a user types them."""

import json
import os

import pytest

from tests.prep.test_in_archives import pack_raw
from tests.support.loader_fixtures import CLASSES, make_tree
from tests.support.prep_fixtures import ROWS, make_raw, picture_of
from tests.support.prep_server import Site, make_tar
from webvision.commands import check, download, pack, prepare, unpack
from webvision.data.data_set import DataSet
from webvision.errors import IncompleteError, UsageError


@pytest.fixture
def loose(tmp_path):
    root = make_tree(tmp_path / "loose", 30, broken=(4, 8))
    (root / "meta" / "synsets.txt").write_text("".join(f"c{label}\n" for label in range(CLASSES)))
    return root


def test_pack_check_and_unpack(loose, tmp_path, capsys):
    pack.main(["--data", str(loose), "--out", str(tmp_path / "packed"), "--per-shard", "8", "--jobs", "2"])
    assert "train: 30 pictures in 4 shards\n" in capsys.readouterr().out
    with pytest.raises(IncompleteError, match="of the pictures of train are surely missing or damaged"):
        check.main(["--data", str(tmp_path / "packed"), "--sample", "30", "--jobs", "1"])
    said = capsys.readouterr().out
    assert "train: looked at 30 of 30 pictures: 2 truncated; so 6.667% to 6.667% of all are bad (95% sure)" in said
    assert "picture 4.jpg [truncated]" in said
    unpack.main(["--data", str(tmp_path / "packed"), "--out", str(tmp_path / "back")])
    assert "30 listed: 30 copied" in capsys.readouterr().out
    assert picture_of(tmp_path / "back" / "train") == picture_of(loose / "train")
    with pytest.raises(UsageError, match="--out must lie outside --data"):
        pack.main(["--data", str(loose), "--out", str(loose / "packed")])


def test_lists_from_shards(loose, tmp_path, capsys):
    pack.main(["--data", str(loose), "--out", str(tmp_path / "packed")])
    os.unlink(tmp_path / "packed" / "meta" / "train.txt")
    prepare.main(["--data", str(tmp_path / "packed"), "--from-shards"])
    assert "train: 30 pictures listed" in capsys.readouterr().out
    assert len(DataSet.open(str(tmp_path / "packed")).split("train").index) == 30


def test_prepare_in_archives(tmp_path, capsys):
    raw = make_raw(tmp_path / "raw")
    pack_raw(raw, raw)
    prepare.main(["--raw", str(raw), "--in-archives"])
    assert f"train: {len(ROWS)} pictures\n" in capsys.readouterr().out
    assert DataSet.open(str(raw)).split("val").pictures.in_archives


def test_download_in_archives_is_the_whole_road_and_is_taken_up_again(tmp_path, capsys):
    raw = make_raw(tmp_path / "raw")
    files = {"val_filelist.txt": (raw / "info" / "val_filelist.txt").read_bytes()}
    pack_raw(raw, raw)
    lists = {f"info/{name}": (raw / "info" / name).read_bytes() for name in ("synsets.txt", "train_filelist_all.txt")}
    files |= {path.name: path.read_bytes() for path in raw.glob("*.tar")} | {"info.tar": make_tar(lists)}
    del files["test_images_resized.tar"]
    archives = sorted(name for name in files if "webvision" in name)
    parts = {"info": ["info.tar"], "val": ["val_filelist.txt", "val_images_resized.tar"], "train": archives}
    with Site(files) as site:
        sets = {"mini": {"mirrors": [site.url + "/"], "arrange": True, "parts": parts}}
        (tmp_path / "sets.json").write_text(json.dumps(sets))
        words = [str(tmp_path / "data"), "--archives", str(tmp_path / "sets.json"), "--set", "mini", "--in-archives"]
        assert download.main(words) == 0
        assert "arranged: 24 train, 3 val pictures" in capsys.readouterr().out
        assert sorted(os.listdir(tmp_path / "data" / "train")) == archives
        split = DataSet.open(str(tmp_path / "data")).split("train")
        assert split.pictures.read(ROWS[5][0].encode()) == ROWS[5][0].encode()
        gets = len(site.log)
        assert download.main(words) == 0
        assert len([entry for entry in site.log[gets:] if entry[0] == "GET"]) == 0
        (tmp_path / "data" / "archives" / f"{archives[0]}.done.json").unlink()  # killed before it was marked
        assert download.main(words) == 0
        assert len([entry for entry in site.log[gets:] if entry[0] == "GET"]) == 0
        assert download.main(words[:-1] + ["--no-arrange"]) == 0
        assert (tmp_path / "data" / ROWS[5][0]).read_bytes() == ROWS[5][0].encode(), "now they are unpacked"
