"""ILSVRC's labels from the devkit archive or a list, and the MAT-file reader against scipy's."""

import io
import os
import random
import re
import tarfile

import numpy as np
import pytest
import scipy.io

from tests.support.sotabench_fixtures import devkit, image_ids, synsets
from webvision.challenges.sotabench import ilsvrc, matfile
from webvision.challenges.sotabench.evaluator import ImageNetEvaluator
from webvision.errors import DataError


def test_devkit_ids_become_the_rank_of_the_wordnet_id(tmp_path):
    table = synsets(1000, inner=860)
    truth = [random.Random(5).randrange(1, 1001) for _ in range(500)]
    for compress in (True, False):
        targets = ilsvrc.read_targets(devkit(tmp_path / ilsvrc.DEVKIT, table, truth, compress))
        order = sorted(row["WNID"] for row in table[:1000, 0])
        assert list(targets) == image_ids(500)
        assert list(targets.values()) == [order.index(table[number - 1, 0]["WNID"]) for number in truth]
    assert ImageNetEvaluator(str(tmp_path)).targets == targets


def test_devkit_is_preferred_to_a_list_and_both_give_the_same_targets(tmp_path):
    targets = ilsvrc.read_targets(devkit(tmp_path / ilsvrc.DEVKIT, synsets(10), [3, 1, 10]))
    os.makedirs(tmp_path / "meta")
    with open(tmp_path / "meta" / "val.txt", "w") as file:
        file.writelines(f"val/{name}.JPEG {label}\n" for name, label in targets.items())
    assert ilsvrc.find_targets(tmp_path) == targets
    os.unlink(tmp_path / ilsvrc.DEVKIT)
    assert ilsvrc.find_targets(tmp_path) == targets


def test_no_labels_at_all_says_what_to_put_where(tmp_path):
    with pytest.raises(DataError, match="ILSVRC2012_devkit_t12.tar.gz"):
        ImageNetEvaluator(str(tmp_path))


@pytest.mark.parametrize(
    "truth, words",
    [
        ([1, 2, 11], ":3: '11' is not the ILSVRC2012_ID of one of 10 classes"),
        ([0], ":1: '0'"),
        (b"", "is empty"),
        (b"1\n\n2\n", ":2: ''"),
        (b"1\nn0144\n", ":2: 'n0144'"),
        (b"-1\n", "'-1'"),
        (b"\xff\x1b[2J\n", ":1:"),
    ],
)
def test_a_bad_ground_truth_is_refused_with_its_line(truth, words, tmp_path):
    with pytest.raises(DataError, match=re.escape(words)) as caught:
        ilsvrc.read_targets(devkit(tmp_path / "d.tar.gz", synsets(10), truth))
    assert "\x1b" not in str(caught.value)


def test_archives_that_are_cut_foreign_or_hostile_are_refused_and_nothing_is_unpacked(tmp_path):
    good = devkit(tmp_path / "good.tar.gz", synsets(10), [1, 2]).read_bytes()
    link = tarfile.TarInfo("meta.mat")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    escape = tarfile.TarInfo("../../escaped.txt")
    assert len(ilsvrc.read_targets(devkit(tmp_path / "odd.tar.gz", synsets(10), [1, 2], extra=[link, escape]))) == 2
    assert sorted(os.listdir(tmp_path)) == ["good.tar.gz", "odd.tar.gz"]
    with tarfile.open(tmp_path / "empty.tar.gz", "w:gz"):
        pass
    bad = {
        "cut": good[: len(good) // 2],
        "flipped": good[:60] + bytes([good[60] ^ 255]) + good[61:],
        "zip": b"PK\3\4" * 30,
        "gzip of nothing": b"\x1f\x8b\x08",
        "empty": (tmp_path / "empty.tar.gz").read_bytes(),
    }
    for data in bad.values():
        (tmp_path / "bad.tar.gz").write_bytes(data)
        with pytest.raises(DataError, match="bad.tar.gz"):
            ilsvrc.read_targets(tmp_path / "bad.tar.gz")


def test_a_member_of_gigabytes_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(ilsvrc, "MAX_MEMBER_BYTES", 10_000)
    huge = synsets(500)
    with pytest.raises(DataError, match="this is not the devkit"):
        ilsvrc.read_targets(devkit(tmp_path / "d.tar.gz", huge, [1], compress=False))


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda table: table["WNID"].__setitem__((1, 0), table["WNID"][0, 0]), "WNID twice"),
        (lambda table: table["ILSVRC2012_ID"].__setitem__((1, 0), 1.0), "occurs twice"),
        (lambda table: table["ILSVRC2012_ID"].__setitem__((1, 0), 1.5), "whole number"),
        (lambda table: table["ILSVRC2012_ID"].__setitem__((1, 0), np.nan), "whole number"),
        (lambda table: table["WNID"].__setitem__((0, 0), 7.0), "no text"),
        (lambda table: [table["num_children"].__setitem__((row, 0), 1.0) for row in range(12)], "no class"),
    ],
)
def test_a_bad_meta_mat_is_refused(change, words, tmp_path):
    table = synsets(10)
    change(table)
    with pytest.raises(DataError, match=words):
        ilsvrc.read_targets(devkit(tmp_path / "d.tar.gz", table, [1]))


@pytest.mark.parametrize(
    "text, words",
    [
        ("ILSVRC2012_val_00000001.JPEG 1000\n", ":1: label '1000'"),
        ("a.JPEG 1\na.JPEG 2\n", ":2: a has a label already"),
        ("a.JPEG\n", ":1: no label"),
        ("", "is empty"),
        ("a.JPEG 1\n\n", ":2: blank line"),
    ],
)
def test_a_bad_label_list_is_refused_with_its_line(text, words, tmp_path):
    (tmp_path / "val.txt").write_text(text)
    with pytest.raises(DataError, match=re.escape(words)):
        ilsvrc.find_targets(tmp_path)


# ---- the MAT-file reader against scipy's


def same(ours, theirs):
    if isinstance(ours, list) and ours and isinstance(ours[0], dict):
        theirs = theirs.ravel(order="F")
        return len(ours) == len(theirs) and all(same(a[name], b[name]) for a, b in zip(ours, theirs) for name in a)
    if isinstance(ours, list):
        return all(map(same, ours, theirs.ravel(order="F")))
    if isinstance(ours, str):
        return ours == "".join(theirs.ravel().tolist())
    return ours.dtype == theirs.dtype and np.array_equal(ours, theirs, equal_nan=True)


@pytest.mark.parametrize("compress", [True, False])
def test_mat_variables_equal_scipys(compress):
    cell = np.empty((2, 3), object)
    cell[:] = [[1.0, "two", np.arange(6, dtype=np.int16).reshape(2, 3)], [np.zeros((0, 0)), "", 6.5]]
    values = {
        "x": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        "i": np.array([[-3, 2**40]], np.int64),
        "u": np.arange(5, dtype=np.uint8)[None],
        "text": "schöne Grüße ☃",
        "cell": cell,
        "d": np.array([[np.nan]]),
        "big": np.arange(70000.0)[None],
        "synsets": synsets(20),
        "nested": {"a": {"b": "deep"}, "c": 1.0},
    }
    file = io.BytesIO()
    scipy.io.savemat(file, values, do_compression=compress, oned_as="row")
    ours, theirs = matfile.read_mat(file.getvalue()), scipy.io.loadmat(io.BytesIO(file.getvalue()))
    assert set(ours) == set(values)
    for name, variable in ours.items():
        assert same(variable.value, theirs[name]), name


def test_mat_damage_is_always_a_data_error():
    file = io.BytesIO()
    scipy.io.savemat(file, {"synsets": synsets(6), "x": np.arange(9.0)})
    good, draw_ = file.getvalue(), random.Random(1)
    for cut in range(0, len(good), 41):
        check_mat(good[:cut])
    for _ in range(400):
        damaged = bytearray(good)
        for _ in range(draw_.randrange(1, 4)):
            damaged[draw_.randrange(124, len(good))] = draw_.choice((0, 1, 2, 14, 15, 127, 255, draw_.randrange(256)))
        check_mat(bytes(damaged))


def check_mat(data):
    try:
        ilsvrc.classes_by_id(matfile.read_mat(data))
    except DataError:
        pass


def test_mat_bombs_are_refused_without_the_memory(monkeypatch):
    monkeypatch.setattr(matfile, "MAX_BYTES", 1 << 20)
    file = io.BytesIO()
    scipy.io.savemat(file, {"x": np.zeros(1 << 20)}, do_compression=True)
    with pytest.raises(DataError, match="larger than"):
        matfile.read_mat(file.getvalue())
    nest = 1.0
    for _ in range(30):
        nest = {"a": nest}
    file = io.BytesIO()
    scipy.io.savemat(file, {"x": nest})
    with pytest.raises(DataError, match="deep"):
        matfile.read_mat(file.getvalue())
