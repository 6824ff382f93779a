"""ObjectNet: the mapping of ids, and the bytes of predictions.csv."""

import csv
import io
import json
import os
import re

import numpy as np
import pytest

from tests.support.objectnet_fixtures import BY_BYTES, EXPECTED, LABELS, write_mappings
from webvision.challenges.objectnet import mapping
from webvision.challenges.objectnet.predictions_csv import PredictionsCsv, prediction_rows
from webvision.errors import DataError, LockedError, UsageError


def test_mapping_is_derived_from_the_data_sets_folder(tmp_path):
    write_mappings(tmp_path / "mappings")
    assert sorted(LABELS.values()) == BY_BYTES
    assert mapping.read_mapping(tmp_path / "mappings") == EXPECTED
    assert mapping.read_mapping(tmp_path) == EXPECTED  # the folder that holds mappings/


def test_mapping_json_under_either_name_gives_the_same(tmp_path):
    for name in mapping.MAPPING_JSONS:
        folder = tmp_path / name[:-5]
        folder.mkdir()
        (folder / name).write_text(json.dumps({str(key): value for key, value in EXPECTED.items()}))
        assert mapping.read_mapping(folder) == mapping.read_mapping(folder / name) == EXPECTED


def test_O2_a_class_without_a_mapping_is_minus_one():
    assert mapping.convert([999, 0, 3, 77], EXPECTED) == [2, -1, 4, -1]


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"objectnet_to_imagenet_1k": {"Bicycle": "penny-farthing"}}, "Bicycle: 'penny-farthing' is no class"),
        ({"objectnet_to_imagenet_1k": {"Unicycle": "television"}}, "Unicycle is no label"),
        ({"objectnet_to_imagenet_1k": {"TV": 7}}, "TV: '' is no class"),
        ({"objectnet_to_imagenet_1k": {"TV": "television", "Fan": "television"}}, "two ObjectNet classes"),
        ({"objectnet_to_imagenet_1k": {}}, "no class in it"),
        ({"objectnet_to_imagenet_1k": []}, "object was expected"),
        ({"pytorch_to_imagenet_2012_id": {"0": 7}}, "is not an index and a line"),
        ({"pytorch_to_imagenet_2012_id": {"x": 1}}, "is not an index and a line"),
        ({"folder_to_objectnet_label": {"tv": 1}}, "no text"),
    ],
)
def test_O2_a_mapping_that_does_not_fit_together_names_file_and_class(changes, words, tmp_path):
    with pytest.raises(DataError, match=re.escape(words)) as caught:
        mapping.read_mapping(write_mappings(tmp_path / "mappings", **changes))
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["", "{broken", "[1]", "{}", '{"a": 1}', '{"1": "2"}', '{"1": -3}', '{"1": 313}', '{"1": true}', '{"-1": 1}'],
)
def test_a_bad_mapping_json_is_refused(text, tmp_path):
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(DataError, match="m.json"):
        mapping.read_mapping(tmp_path / "m.json")


def test_no_mapping_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(UsageError, match="--mapping PATH"):
        mapping.find_mapping(str(tmp_path))
    with pytest.raises(DataError, match="in this folder"):
        mapping.read_mapping(tmp_path)


@pytest.mark.parametrize("classes, fits", [(1000, True), (999, False), (5000, False), (1001, False)])
def test_mapping_of_imagenet_is_refused_for_another_number_of_outputs(classes, fits):
    if fits:
        mapping.check_fits(EXPECTED, classes)
    else:
        with pytest.raises(UsageError, match=f"{classes} outputs"):
            mapping.check_fits(EXPECTED, classes)


def test_own_mapping_of_more_classes_serves_a_larger_network():
    mapping.check_fits({4999: 3}, 5000)


# ---- the rows and the bytes


def reference_bytes(names, top, confidences):
    """The challenge's own writing: csv's defaults on name, id, confidence, id, confidence ..."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=",")
    for name, ids, values in zip(names, top, confidences):
        writer.writerow([name] + [value for pair in zip(ids, values) for value in pair])
    return text.getvalue().encode("utf-8", "surrogateescape")


def test_bytes_are_the_challenges(tmp_path):
    rng = np.random.default_rng(0)
    logits = (rng.standard_normal((40, 1000)) * 4).astype(np.float32)
    names = [f"{i:015x}.png" for i in range(38)] + ['a,"b".png', "\udcff\u2603.png"]
    shares = np.exp(logits.astype(np.float64))
    shares /= shares.sum(axis=1, keepdims=True)
    top = np.argsort(-logits, axis=1)[:, :5]
    confidences = np.take_along_axis(shares, top, 1).astype(np.float32).tolist()
    ids = [[EXPECTED.get(i, -1) for i in row] for row in top.tolist()]
    with PredictionsCsv(str(tmp_path / "p.csv")) as file:
        for at in range(0, 40, 7):
            file.write(prediction_rows(names[at : at + 7], logits[at : at + 7], mapping=EXPECTED))
    assert (tmp_path / "p.csv").read_bytes() == reference_bytes(names, ids, confidences)


def test_example_row_of_the_format():
    logits = np.full((1, 1000), -20.0, np.float32)
    logits[0, [409, 1, 3, 4, 5]] = np.array([5, 4, 3, 2, 1], np.float32)
    (row,) = prediction_rows(["42d42cf4b12b41c.png"], logits, mapping={409: 75, 3: 3, 4: 4}, softmax=False)
    assert row == ["42d42cf4b12b41c.png", 75, 5.0, -1, 4.0, 3, 3.0, 4, 2.0, -1, 1.0]


def test_without_softmax_the_confidences_are_the_logits_and_the_ids_stay():
    logits = np.array([[0.5, -2.25, 7.0, 3.0, 1.0, 0.0]], np.float32)
    assert prediction_rows(["x"], logits, softmax=False)[0][1:] == [2, 7.0, 3, 3.0, 4, 1.0, 0, 0.5, 5, 0.0]
    with_softmax = prediction_rows(["x"], logits)[0]
    assert with_softmax[1::2] == [2, 3, 4, 0, 5] and 0.9 < with_softmax[2] < 1


def test_equal_logits_rank_by_lowest_class_and_huge_ones_do_not_overflow():
    assert prediction_rows(["x"], np.zeros((1, 9)))[0][1::2] == [0, 1, 2, 3, 4]
    (row,) = prediction_rows(["x"], np.array([[1e30, -1e30, 1e30, 0, 0, 0]], np.float32))
    assert row[2] == row[4] == 0.5 and all(np.isfinite(row[2::2]))


def test_fewer_than_five_classes_and_unreadable_images_fill_up_with_no_prediction():
    rows = prediction_rows(
        ["a", "b"], np.array([[1.0, 2.0], [np.nan, 0.0]]), softmax=False, problems=[None, "truncated"]
    )
    assert rows == [["a", 1, 2.0, 0, 1.0, -1, 0.0, -1, 0.0, -1, 0.0], ["b"] + [-1, 0.0] * 5]


def test_nan_logits_name_the_image():
    with pytest.raises(DataError, match=r"logits for b\\x1b.png are NaN"):
        prediction_rows(["a.png", "b\x1b.png"], np.array([[0.0] * 6, [np.nan] * 6]))


@pytest.mark.parametrize("logits", [np.zeros((2, 6)), np.zeros(6), np.zeros((1, 6, 1))])
def test_logits_of_a_wrong_shape_are_refused(logits):
    with pytest.raises(DataError, match="1 images"):
        prediction_rows(["a"], logits)


def test_rows_are_in_the_partial_file_as_they_come_and_the_output_appears_whole(tmp_path, capsys):
    path = str(tmp_path / "p.csv")
    with PredictionsCsv(path) as file:
        file.write(prediction_rows(["a"], np.eye(1, 6)))
        assert open(path + ".partial").read().count("a,0,") == 1 and not os.path.exists(path)
        with pytest.raises(LockedError), PredictionsCsv(path):
            pass
    assert os.listdir(tmp_path) == ["p.csv"]
    os.rename(path, path + ".partial")  # as if a run had been killed
    with pytest.raises(RuntimeError), PredictionsCsv(path) as file:
        file.write(prediction_rows(["b"], np.eye(1, 6)))
        raise RuntimeError
    assert os.listdir(tmp_path) == ["p.csv.partial"] and "keeps the 1 rows" in capsys.readouterr().err
    assert open(path + ".partial").read().startswith("b,0,")


def test_an_existing_output_is_never_replaced(tmp_path):
    path = str(tmp_path / "p.csv")
    with pytest.raises(UsageError, match="appeared"), PredictionsCsv(path):
        open(path, "w").write("precious")
    with pytest.raises(UsageError, match="exists already"), PredictionsCsv(path):
        pass
    assert open(path).read() == "precious"
    with pytest.raises(UsageError, match="no such folder"), PredictionsCsv(str(tmp_path / "x" / "p.csv")):
        pass


def test_one_name_twice_is_refused(tmp_path):
    with pytest.raises(DataError, match="two images are called a"), PredictionsCsv(str(tmp_path / "p.csv")) as file:
        for _ in range(2):
            file.write(prediction_rows(["a"], np.eye(1, 6)))
