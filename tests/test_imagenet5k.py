"""The data set's dataflows: upstream's constructor and tuples, for any class count, split and directory structure."""

import os

import cv2
import numpy as np
import pytest

import imagenet5k
from imagenet5k import Imagenet5k, Imagenet5kFiles, Imagenet5kMeta
from webvision.errors import DataError, UsageError

CLASSES = ["n01", "n02", "q00003"]


def a_picture(value, size=(8, 6)):
    ok, data = cv2.imencode(".png", np.full((*size, 3), (value, value // 2, 0), np.uint8))
    assert ok
    return data.tobytes()


def put(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


@pytest.fixture
def data(tmp_path):
    """Three classes; names with blanks; a flat val set; a test list without labels."""
    train = [("n01/a b.jpg", 0), ("n01/b.jpg", 0), ("n02/c.jpg", 1), ("q00003/d.jpg", 2), ("n02/caf\udce9.jpg", 1)]
    val = [("v1.jpg", 2), ("v2.jpg", 0), ("v 3.jpg", 1)]
    test = ["t1.jpg", "t2.jpg"]
    for i, (name, _) in enumerate(train):
        put(str(tmp_path / "train" / name), a_picture(10 * i))
    for i, (name, _) in enumerate(val):
        put(str(tmp_path / "val" / name), a_picture(100 + i))
    for i, name in enumerate(test):
        put(str(tmp_path / "test" / name), a_picture(200 + i))
    put(str(tmp_path / "meta" / "synsets.txt"), "".join(f"{c} words\n" for c in CLASSES).encode())
    for split, rows in (("train", train), ("val", val)):
        put(
            str(tmp_path / "meta" / f"{split}.txt"),
            "".join(f"{n} {c}\n" for n, c in rows).encode("utf-8", "surrogateescape"),
        )
    put(str(tmp_path / "meta" / "test.txt"), "".join(f"{n}\n" for n in test).encode())
    return tmp_path


def run(dataflow):
    dataflow.reset_state()
    return list(dataflow)


def test_files_in_list_order(data):
    flow = Imagenet5kFiles(str(data), "train", shuffle=False)
    rows = run(flow)
    assert len(flow) == 5 and [label for _, label in rows] == [0, 0, 1, 2, 1]
    assert rows[0][0] == str(data / "train" / "n01" / "a b.jpg")
    assert all(os.path.isfile(path) for path, _ in rows)
    assert run(flow) == rows


def test_train_is_shuffled_anew_in_each_pass_and_val_is_not(data):
    flow = Imagenet5kFiles(str(data), "train")
    flow.reset_state()
    passes = [[path for path, _ in flow] for _ in range(12)]
    assert all(sorted(p) == sorted(passes[0]) for p in passes) and len({tuple(p) for p in passes}) > 3
    assert [os.path.basename(path) for path, _ in run(Imagenet5kFiles(str(data), "val"))] == [
        "v1.jpg",
        "v2.jpg",
        "v 3.jpg",
    ]


def test_the_same_rng_gives_the_same_order(data):
    flow = Imagenet5kFiles(str(data), "train")
    orders = []
    for _ in range(2):
        flow.rng = np.random.RandomState(4)
        orders.append([path for path, _ in flow])
    assert orders[0] == orders[1]


def test_images_are_bgr_uint8_with_labels(data):
    rows = run(Imagenet5k(str(data), "val", str(data / "meta"), shuffle=False))
    assert [label for _, label in rows] == [2, 0, 1]
    for i, (image, _) in enumerate(rows):
        assert image.dtype == np.uint8 and image.shape == (8, 6, 3)
        assert (image == (100 + i, (100 + i) // 2, 0)).all()


def test_a_list_without_labels_gives_minus_one(data):
    assert [label for _, label in run(Imagenet5k(str(data), "test"))] == [-1, -1]
    assert list(Imagenet5kMeta(str(data / "meta")).get_image_list("test")) == [("t1.jpg", None), ("t2.jpg", None)]


def test_meta_like_upstreams(data):
    meta = Imagenet5kMeta(str(data / "meta"))
    assert meta.get_synset_1000() == {0: "n01", 1: "n02", 2: "q00003"}
    assert list(meta.get_image_list("val")) == [("v1.jpg", 2), ("v2.jpg", 0), ("v 3.jpg", 1)]
    assert meta.get_image_list("val", "train")[:] == [("q00003/v1.jpg", 2), ("n01/v2.jpg", 0), ("n02/v 3.jpg", 1)]
    images = meta.get_image_list("train", "train")
    assert (
        len(images) == 5
        and images[-1] == ("n02/caf\udce9.jpg", 1)
        and images[1:4:2] == [("n01/b.jpg", 0), ("q00003/d.jpg", 2)]
    )
    with pytest.raises(IndexError):
        images[5]


def sort_val_into_class_folders(data):
    for name, label in (("v1.jpg", 2), ("v2.jpg", 0), ("v 3.jpg", 1)):
        put(str(data / "val" / CLASSES[label] / name), (data / "val" / name).read_bytes())
        os.unlink(data / "val" / name)


def test_val_sorted_into_class_folders_is_found_out(data):
    sort_val_into_class_folders(data)
    os.mkdir(data / "val" / "aaa first entry")  # the first entry proves nothing
    os.unlink(data / "val" / "q00003" / "v1.jpg")  # nor does a missing picture
    flow = Imagenet5kFiles(str(data), "val")
    assert [path for path, _ in run(flow)][1] == str(data / "val" / "n01" / "v2.jpg")
    assert flow.imglist[2] == ("n02/v 3.jpg", 1)


def test_a_flat_val_set_beside_stray_class_folders_stays_flat(data):
    for name in CLASSES:
        os.mkdir(data / "val" / name)
    assert Imagenet5kFiles(str(data), "val").imglist[0] == ("v1.jpg", 2)


def test_a_val_list_whose_names_hold_the_folder_is_taken_as_it_is(data):
    sort_val_into_class_folders(data)
    (data / "meta" / "val.txt").write_text("q00003/v1.jpg 2\nn01/v2.jpg 0\n")
    assert [os.path.isfile(path) for path, _ in run(Imagenet5kFiles(str(data), "val"))] == [True, True]


def test_a_given_structure_is_not_questioned(data):
    with pytest.raises(DataError, match="is not in .*nor is any"):
        Imagenet5kFiles(str(data), "val", dir_structure="train")
    sort_val_into_class_folders(data)
    assert Imagenet5kFiles(str(data), "val", dir_structure="train").imglist[1] == ("n01/v2.jpg", 0)


def test_a_damaged_picture_is_left_out_of_train_and_black_in_val(data):  # faults 1 and 5
    put(str(data / "train" / "n02" / "c.jpg"), b"")
    put(str(data / "val" / "v2.jpg"), b"<html>")
    assert sorted(label for _, label in run(Imagenet5k(str(data), "train"))) == [0, 0, 1, 2]
    rows = run(Imagenet5k(str(data), "val"))
    assert [label for _, label in rows] == [2, 0, 1] and not rows[1][0].any() and rows[2][0].any()


def test_a_set_of_damaged_pictures_ends_with_an_error(data, monkeypatch):  # I7
    monkeypatch.setattr(imagenet5k, "_MAX_BAD_IN_A_ROW", 3)
    for name in ("n01/a b.jpg", "n01/b.jpg", "n02/c.jpg"):
        put(str(data / "train" / name), b"damaged")
    with pytest.raises(DataError, match="3 pictures in a row cannot be read"):
        run(Imagenet5k(str(data), "train", shuffle=False))


@pytest.mark.parametrize(
    "break_it, error, text",
    [
        (lambda d: os.rename(d / "val", d / "gone"), DataError, "val: no such folder"),
        (lambda d: os.unlink(d / "meta" / "val.txt"), DataError, "val.txt: no such file"),
        (lambda d: os.unlink(d / "meta" / "synsets.txt"), DataError, "synsets.txt: no such file"),
        (
            lambda d: (d / "meta" / "val.txt").write_text("v1.jpg 3\n"),
            DataError,
            "val.txt:1: label '3' is outside 0..2",
        ),
        (lambda d: (d / "meta" / "val.txt").write_text(""), DataError, "empty"),
        (lambda d: (d / "meta" / "val.txt").write_text("other.jpg 1\n"), DataError, "is it the list of another folder"),
    ],
)
def test_what_is_wrong_is_said_at_construction(data, break_it, error, text):
    break_it(data)
    with pytest.raises(error, match=text):
        Imagenet5k(str(data), "val")


def test_unknown_splits_and_structures_are_usage_errors(data):
    with pytest.raises(UsageError, match="train, val, test"):
        Imagenet5kFiles(str(data), "valid")
    with pytest.raises(UsageError, match="original, train"):
        Imagenet5kFiles(str(data), "val", dir_structure="flat")


def test_it_feeds_a_tensorpack_pipeline(data):
    from tensorpack.dataflow import BatchData, MapDataComponent

    flow = BatchData(MapDataComponent(Imagenet5k(str(data), "val"), lambda image: image[:4, :4], 0), 2, remainder=True)
    batches = run(flow)
    assert [b[0].shape for b in batches] == [(2, 4, 4, 3), (1, 4, 4, 3)] and batches[0][1].tolist() == [2, 0]
