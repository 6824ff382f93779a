"""From any folder of pictures to a data set: what is taken, what is passed over, what is refused, and who judges."""

import os
import shutil
import signal

import cv2
import numpy as np
import pytest

from tests.support.own_pictures import encoded, heic, messy_folder, photograph, see_through, write_classes
from webvision.data.data_set import DataSet
from webvision.data.lists.class_names import read_class_names
from webvision.data.lists.folders import read_meta_classes
from webvision.data.pictures.images import read_image_file
from webvision.errors import DataError, UsageError
from webvision.prep.own_folder import examine
from webvision.prep.own_folder.folders import list_folders
from webvision.prep.own_folder.look import look
from webvision.prep.own_folder.prepare import prepare
from webvision.prep.own_folder.split import Shares


def rows(data, split):
    index = DataSet.open(data).split(split).index
    return dict(zip(index.names(range(len(index))), index.labels.tolist(), strict=True))


def tree(folder):
    """{path: bytes or link target} of all that lies below a folder."""
    return {
        os.path.relpath(os.path.join(top, name), folder): os.readlink(path)
        if os.path.islink(path := os.path.join(top, name))
        else open(path, "rb").read()
        for top, folders, names in os.walk(folder)
        for name in names + [f for f in folders if os.path.islink(os.path.join(top, f))]
        if name != ".lock"
    }


@pytest.fixture(scope="module")
def messy(tmp_path_factory):
    folder = messy_folder(tmp_path_factory.mktemp("own") / "my pictures")
    before = tree(folder)
    prepared = prepare(str(folder), str(folder.parent / "run"), jobs=2)
    assert tree(folder) == before, "the folder itself was changed"
    return prepared


def test_every_usable_picture_of_a_messy_folder_is_in_one_list(messy):
    found = {**rows(messy.data, "train"), **rows(messy.data, "val")}
    assert messy.classes == ["Bienen é", "ants", "fire truck"]
    assert sum(counts.sum() for counts in messy.counts.values()) == len(found) == 46
    assert "own/ants/deep/er/a b 7.webp" in found
    for name in found:  # training's own reader takes them all
        read_image_file(os.path.join(messy.data, "train", name))


def test_what_is_passed_over_is_named_with_its_reason(messy):
    with open(os.path.join(messy.data, "meta", "skipped.tsv"), encoding="utf-8") as file:
        why = dict(line.rstrip("\n").split("\t") for line in file)
    assert why[".ipynb_checkpoints"] == "hidden" and why["__MACOSX"] == "a system's own"
    assert why["later"] == "an empty folder" and why["index.html"] == "lies in no class folder"
    assert why["fire truck/copy of 003.jpg"] == "a copy of fire truck/003.jpg"
    for path, word in {
        "ants/empty.jpg": "empty",
        "fire truck/cut.jpg": "truncated",
        "fire truck/notes.txt": "format",
    }.items():
        assert why[path].startswith(word)
    assert len(why) == 10


def test_class_names_with_blanks_travel_whole(messy):
    path = os.path.join(messy.data, "meta", "synsets.txt")
    assert read_class_names(path) == ["Bienen é", "ants", "fire truck"]
    assert read_meta_classes(os.path.dirname(path)) == ["Bienen_é", "ants", "fire_truck"]


@pytest.mark.parametrize("name, error", [("IMG_0001.HEIC", 6), ("new.avif", 8), ("scan.tif", 4), ("old.jp2", 6)])
def test_foreign_formats_become_jpegs_that_show_the_same(messy, name, error):
    (shown,) = [path for path in tree(messy.data) if f"/{name}." in path]
    number = {"IMG_0001.HEIC": 51, "scan.tif": 52, "new.avif": 53, "old.jp2": 54}[name]
    image = read_image_file(os.path.join(messy.data, shown))
    assert np.abs(image.astype(int) - photograph(0, number)).mean() < error


def test_alpha_is_blended_on_white_and_opaque_pictures_stay_where_they_are(messy):
    (shown,) = [path for path in tree(messy.data) if "/cut-out.png." in path]
    image = read_image_file(os.path.join(messy.data, shown))
    assert image[:, :32].min() > 240 and np.abs(image[:, 48:].astype(int) - photograph(0, 55)[:, 48:]).mean() < 6
    opaque = encoded(np.dstack([photograph(0, 1), np.full((60, 80), 255, np.uint8)]), ".png")
    assert examine._picture(opaque, examine.DEFAULT_POLICY)[1] == ""


def test_orientation_is_applied_to_what_is_converted(tmp_path):
    from PIL import Image

    upright = photograph(0, 1)
    for suffix, options in ((".tif", {}), (".avif", {"quality": 95}), (".png", {})):
        image = Image.fromarray(
            np.dstack([upright[..., ::-1], np.full((60, 80), 254, np.uint8)])[..., : 4 if suffix == ".png" else 3]
        )
        exif = Image.Exif()
        exif[0x112] = 6  # shown turned clockwise
        image.save(tmp_path / f"x{suffix}", exif=exif, **options)
        found, why = examine._picture((tmp_path / f"x{suffix}").read_bytes(), examine.DEFAULT_POLICY)
        assert why and np.abs(found.astype(int) - np.rot90(upright, -1)).mean() < 8, suffix


def test_a_heic_without_its_reader_is_passed_over_with_the_command_that_helps(tmp_path, monkeypatch):
    import sys

    write_classes(tmp_path / "in", {"a": 6, "b": 6})
    (tmp_path / "in" / "a" / "x.heic").write_bytes(heic(photograph(0, 40)))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    report = prepare(str(tmp_path / "in"), str(tmp_path / "run")).report
    assert any("a/x.heic" in line and "pip install pillow-heif" in line for line in report)


def test_a_decoder_that_dies_or_asks_for_too_much_costs_its_picture_only(tmp_path, monkeypatch):
    write_classes(tmp_path / "in", {"a": 6, "b": 6})
    for name in ("dies.tif", "greedy.tif"):
        (tmp_path / "in" / "a" / name).write_bytes(b"II*\0" + name.encode())

    def decode(data, kind, policy):
        if b"dies" in data:
            os.kill(os.getpid(), signal.SIGKILL)
        return np.zeros((1 << 16, 1 << 16, 3), np.uint8)  # 12 GB, and really touched

    monkeypatch.setattr(examine, "decode_foreign", decode)
    prepared = prepare(str(tmp_path / "in"), str(tmp_path / "run"))
    skipped = (tmp_path / "run" / "meta" / "skipped.tsv").read_text()
    assert "a/dies.tif\tcrash" in skipped and "a/greedy.tif\ttoo-many-pixels" in skipped
    assert sum(counts.sum() for counts in prepared.counts.values()) == 12


def test_a_tiff_that_claims_a_huge_picture_is_refused_by_its_header(tmp_path):
    tags = b"\2\0" + b"".join(tag + b"\4\0\1\0\0\0" + (60000).to_bytes(4, "little") for tag in (b"\0\1", b"\1\1"))
    (tmp_path / "x.tif").write_bytes(b"II*\0\x08\0\0\0" + tags)
    assert examine.examine(str(tmp_path), "x.tif", str(tmp_path)).why.startswith("too-many-pixels")


# --- who judges


def sides(data):
    return {
        name: split
        for split in ("train", "val", "test")
        if os.path.exists(os.path.join(data, "meta", f"{split}.txt"))
        for name in rows(data, split)
    }


def test_added_pictures_move_no_old_one_in_the_same_run_or_a_new_one(tmp_path):
    folder = write_classes(tmp_path / "in", {"a": 40, "b": 30, "c": 25})
    prepare(str(folder), str(tmp_path / "one"))
    before = sides(tmp_path / "one")
    for label, name in enumerate("abc"):
        for number in range(100, 110):
            (folder / name / f"0{number}.jpg").write_bytes(encoded(photograph(label, number)))
    for run in ("one", "two"):
        prepare(str(folder), str(tmp_path / run))
        after = sides(tmp_path / run)
        assert len(after) == len(before) + 30 and before.items() <= after.items()
    assert {*after.values()} == {"train", "val"}


def test_only_new_pictures_are_looked_at_again(tmp_path, monkeypatch):
    folder = write_classes(tmp_path / "in", {"a": 8, "b": 8})
    prepare(str(folder), str(tmp_path / "run"))
    (folder / "a" / "new.jpg").write_bytes(encoded(photograph(0, 77)))
    looked = tmp_path / "looked"
    real = examine.examine

    def examine_and_tell(top, path, *args, **kwargs):
        with open(looked, "a") as file:  # the workers are forked: only a file tells
            file.write(path + "\n")
        return real(top, path, *args, **kwargs)

    monkeypatch.setattr(examine, "examine", examine_and_tell)
    prepare(str(folder), str(tmp_path / "run"))
    assert looked.read_text() == "a/new.jpg\n"


def test_each_class_has_both_sides_and_about_the_share_asked_for(tmp_path):
    folder = write_classes(tmp_path / "in", {"a": 400, "b": 5, "c": 6, "d": 7})
    prepared = prepare(str(folder), str(tmp_path / "run"), shares=Shares(0.2, 0.1), jobs=2)
    assert 60 <= prepared.counts["val"][0] <= 100 and 25 <= prepared.counts["test"][0] <= 55
    for split in ("train", "val", "test"):
        assert (prepared.counts[split] > 0).all()


def test_a_test_list_that_is_asked_for_later_leaves_val_as_it_was(tmp_path):
    folder = write_classes(tmp_path / "in", {"a": 30, "b": 30})
    prepare(str(folder), str(tmp_path / "one"))
    prepare(str(folder), str(tmp_path / "two"), shares=Shares(0.2, 0.2))
    assert rows(tmp_path / "one", "val") == rows(tmp_path / "two", "val")
    with pytest.raises(UsageError, match="begun with test 0.0"):
        prepare(str(folder), str(tmp_path / "one"), shares=Shares(0.2, 0.2))


def test_look_alikes_share_a_side(tmp_path):
    folder = write_classes(tmp_path / "in", {"a": 20, "b": 20})
    for number in range(20):
        small = cv2.resize(photograph(0, number), (72, 54), interpolation=cv2.INTER_AREA)
        (folder / "a" / f"{number:03d} small.jpg").write_bytes(encoded(small))
    prepared = prepare(str(folder), str(tmp_path / "run"))
    side = sides(prepared.data)
    assert all(side[f"own/a/{number:03d}.jpg"] == side[f"own/a/{number:03d} small.jpg"] for number in range(20))
    assert any("look-alikes: 40 pictures in 20 groups" in line for line in prepared.report)


def test_a_picture_in_two_classes_is_in_no_list(tmp_path):
    folder = write_classes(tmp_path / "in", {"a": 8, "b": 8})
    shutil.copy(folder / "a" / "003.jpg", folder / "b" / "x.jpg")
    prepared = prepare(str(folder), str(tmp_path / "run"))
    assert not {"own/a/003.jpg", "own/b/x.jpg"} & set(sides(prepared.data))
    assert any("in another class" in line for line in prepared.report)


def test_a_folder_that_is_split_keeps_its_sides_without_what_flatters(tmp_path):
    write_classes(tmp_path / "in" / "train", {"a": 8, "b": 8})
    for label, name in enumerate("ab"):
        (tmp_path / "in" / "valid" / name).mkdir(parents=True)
        for number in range(20, 24):
            (tmp_path / "in" / "valid" / name / f"{number}.jpg").write_bytes(encoded(photograph(label, number)))
    shutil.copy(tmp_path / "in" / "train" / "a" / "003.jpg", tmp_path / "in" / "valid" / "a" / "same.jpg")
    small = cv2.resize(photograph(1, 5), (72, 54), interpolation=cv2.INTER_AREA)
    (tmp_path / "in" / "valid" / "b" / "like 005.jpg").write_bytes(encoded(small))
    prepared = prepare(str(tmp_path / "in"), str(tmp_path / "run"))
    assert len(rows(prepared.data, "val")) == 10 and len(rows(prepared.data, "train")) == 14
    assert not {"own/train/a/003.jpg", "own/train/b/005.jpg"} & set(sides(prepared.data))


def test_test_is_never_val(tmp_path):
    write_classes(tmp_path / "in" / "train", {"a": 20, "b": 20})
    write_classes(tmp_path / "in" / "test", {"a": 1, "b": 1}, suffix=".png")
    prepared = prepare(str(tmp_path / "in"), str(tmp_path / "run"))
    assert all(name.startswith("own/train/") for name in rows(prepared.data, "val"))
    assert all(name.startswith("own/test/") for name in rows(prepared.data, "test"))


# --- what is refused


def test_labels_are_names_so_a_val_without_a_class_shifts_none(tmp_path):
    write_classes(tmp_path / "train", {"a": 6, "b": 6, "c": 6})
    write_classes(tmp_path / "val", {"c": 3})
    found = look(str(tmp_path))
    assert {picture.label for picture in found.pictures if picture.split == "val"} == {2}
    write_classes(tmp_path / "val", {"d": 1})
    with pytest.raises(DataError, match="'d' is no class of train"):
        look(str(tmp_path))


@pytest.mark.parametrize(
    "names, words",
    [
        (["Ants", "ants"], "differ only in case"),
        (["caf\u00e9", "cafe\u0301"], "differ only in case or accents"),
        (["a"], "only the class 'a'"),
        ([], "no class folder"),
    ],
)
def test_folders_that_cannot_be_meant_are_refused(tmp_path, names, words):
    write_classes(tmp_path / "in", dict.fromkeys(names, 1))
    (tmp_path / "in").mkdir(exist_ok=True)
    with pytest.raises(DataError, match=words):
        look(str(tmp_path / "in"))


def test_splits_that_contradict_each_other_are_refused(tmp_path):
    write_classes(tmp_path / "val", {"a": 1})
    with pytest.raises(UsageError, match="no train"):
        look(str(tmp_path))
    write_classes(tmp_path / "train", {"a": 1})
    write_classes(tmp_path / "valid", {"a": 1})
    with pytest.raises(UsageError, match="both mean val"):
        look(str(tmp_path))
    shutil.rmtree(tmp_path / "valid")
    write_classes(tmp_path, {"dog": 1})
    with pytest.raises(UsageError, match="a part of the set or a class"):
        look(str(tmp_path))


def test_train_may_be_a_class_of_vehicles(tmp_path):
    write_classes(tmp_path, {"bus": 2, "train": 2})
    found = look(str(tmp_path))
    assert found.classes == ["bus", "train"] and found.splits == []


def test_classes_with_too_few_pictures_are_refused_by_name(tmp_path):
    folder = write_classes(tmp_path / "in", {"a": 8, "b": 4})
    with pytest.raises(DataError, match=r"fewer than 5 usable pictures of b \(4\)"):
        prepare(str(folder), str(tmp_path / "run"))


def test_a_run_within_the_folder_is_refused(tmp_path):
    folder = write_classes(tmp_path / "in", {"a": 8, "b": 8})
    with pytest.raises(UsageError, match="nothing in there is ever changed"):
        prepare(str(folder), str(folder / "run"))


def test_links_that_lead_out_are_passed_over(tmp_path):
    folder = write_classes(tmp_path / "in", {"a": 8, "b": 8})
    (tmp_path / "secret.jpg").write_bytes(encoded(photograph(0, 90)))
    (folder / "a" / "out.jpg").symlink_to(tmp_path / "secret.jpg")
    (folder / "a" / "round").symlink_to(folder)
    assert {path for path, why in look(str(folder)).skipped if why == "a link"} == {"a/out.jpg", "a/round"}


# --- killed anywhere


def test_killed_at_every_point_it_ends_in_the_same_bytes(tmp_path, monkeypatch):
    folder = messy_folder(tmp_path / "in")
    prepare(str(folder), str(tmp_path / "whole"))
    kills = 0
    for number in range(1, 30):
        monkeypatch.setenv("WEBVISION_FAULT", f"own-folder:{number}")
        child = os.fork()
        if not child:
            try:
                prepare(str(folder), str(tmp_path / f"{number}"))
            finally:
                os._exit(0)
        killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
        kills += killed
        monkeypatch.delenv("WEBVISION_FAULT")
        prepare(str(folder), str(tmp_path / f"{number}"))
        assert tree(tmp_path / f"{number}") == tree(tmp_path / "whole"), number
        if not killed:
            break
    assert kills >= 6  # four blocks of pictures, split.json, two lists


# --- a folder of any size, split by folders


def test_folders_become_lists_with_a_stated_and_fixed_order(tmp_path):  # N2
    write_classes(tmp_path / "train", {"b": 3, "Z": 2, "a c": 2})
    write_classes(tmp_path / "val", {"b": 2})
    (tmp_path / "train" / "b" / "notes.txt").write_text("x")
    lines = list_folders(str(tmp_path))
    assert lines[0] == "3 classes, ordered by name: Z, a c, b"
    assert rows(tmp_path, "val") == {"b/000.jpg": 2, "b/001.jpg": 2} and len(rows(tmp_path, "train")) == 7
    assert "train: 7 pictures, 1 other files passed over" in lines
    assert list_folders(str(tmp_path)) == lines
    write_classes(tmp_path / "train", {"C": 1})
    with pytest.raises(DataError, match="would change their meaning"):
        list_folders(str(tmp_path))


def test_preprocess_lists_folders_and_training_opens_them(tmp_path, run):
    write_classes(tmp_path / "train", {"b": 3, "a": 2})
    done = run("utils/preprocess.py", "--folders", tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("2 classes, ordered by name: a, b\ntrain: 5 pictures\n")
    assert rows(tmp_path, "train")["b/002.jpg"] == 1


def test_see_through_needs_a_hole():
    assert examine._picture(see_through(photograph(0, 1)), examine.DEFAULT_POLICY)[1] == "transparent"
