"""Prediction of pictures in no list: a picture, a folder, a list, standard input; and what is written of it."""

import csv
import importlib
import io
import json
import os
import shutil

import numpy as np
import pytest

from tests.support import tiny_run
from tests.support.data_set import CLASSES, picture
from tests.support.own_pictures import encoded, heic, messy_folder, photograph, see_through
from webvision.challenges.kneron.answers import answer, write_csv, write_per_file
from webvision.challenges.kneron.folder import load_folder
from webvision.data.views.presets import PRESETS
from webvision.errors import CheckpointError, DataError, IncompleteError, UsageError
from webvision.inference.predict import predict
from webvision.inference.snapshot import best_weights
from webvision.prep.own_folder.gather import gathered


def by_colour(images):
    """'Probabilities' that follow from a picture's mean colour, blue, green, red."""
    means = images.reshape(len(images), -1, 3).mean(axis=1)
    return means / means.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def command():
    return importlib.import_module("webvision.commands.predict")


# --- which pictures


def test_a_folder_is_gathered_with_all_that_it_holds_and_converted_as_for_training(tmp_path):  # N1
    folder = messy_folder(tmp_path / "my pictures")
    with gathered(str(folder), jobs=2) as found:
        assert not any("DS_Store" in name or "checkpoints" in name for name in found.names)
        answers = list(predict(by_colour, found.paths, PRESETS["kneron"], top=1, batch=8))
        said = {found.names[one.row]: one for one in answers}
        temporary = [path for path in found.paths if "webvision-" in path]
    assert len(said) == len(found.names) == 3 * 12 + 14 + 1  # and notes, copies, broken ones; and index.html
    assert said["ants/IMG_0001.HEIC"].ids == said["ants/scan.tif"].ids == said["ants/cut-out.png"].ids == [0]
    assert said["ants/two\nlines.jpg"].ids == [0] and said["Bienen é/003.jpg"].ids == [2]
    problems = {name: one.problem for name, one in said.items() if one.problem}
    assert problems == {
        "ants/empty.jpg": "empty",
        "fire truck/cut.jpg": "truncated",
        "fire truck/notes.txt": "format",
        "index.html": "format",
    }
    assert len(temporary) >= 5 and not any(map(os.path.exists, temporary))


def test_transparency_is_white_in_prediction_as_in_training(tmp_path):
    (tmp_path / "x.png").write_bytes(see_through(np.zeros((64, 64, 3), np.uint8)))
    seen = []
    with gathered(str(tmp_path / "x.png")) as found:
        list(predict(lambda images: seen.append(images) or by_colour(images + 1), found.paths, PRESETS["kneron"]))
    assert seen[0][0, :, :90].min() > 240 and seen[0][0, :, 140:].max() < 15


def test_lists_and_standard_input_name_pictures(tmp_path):
    (tmp_path / "a b.jpg").write_bytes(picture(0, 1))
    (tmp_path / "train.txt").write_text("a b.jpg 7\na b.jpg\n\n")
    with gathered(str(tmp_path / "train.txt")) as found:
        assert found.names == ["a b.jpg"] * 2 and found.paths == [str(tmp_path / "a b.jpg")] * 2
    with gathered("-", stdin=io.StringIO(f"{tmp_path}/a b.jpg\n")) as found:
        assert found.names == found.paths == [f"{tmp_path}/a b.jpg"]


def test_an_address_is_refused_with_the_command_that_helps():
    with pytest.raises(UsageError, match="curl -fLO https://example.org/a.jpg"), gathered("https://example.org/a.jpg"):
        pass


def test_nothing_to_predict_is_said(tmp_path):
    with pytest.raises(DataError, match="no picture in it"), gathered(str(tmp_path)):
        pass
    with pytest.raises(UsageError, match="no such picture"), gathered(str(tmp_path / "x.jpg")):
        pass


# --- what the network says


def test_views_are_averaged_and_equal_scores_ordered_by_id(tmp_path):
    (tmp_path / "x.jpg").write_bytes(encoded(photograph(0, 1)))
    preset = PRESETS["sotabench"].scaled(32)
    import dataclasses

    flipped = dataclasses.replace(preset, flip=True)
    turn = iter([np.float32([[0.2, 0.8, 0.0], [0.6, 0.2, 0.2]])])
    (one,) = predict(lambda images: next(turn), [str(tmp_path / "x.jpg")], flipped, top=9)
    assert one.ids == [1, 0, 2] and np.allclose(one.scores, [0.5, 0.4, 0.1])
    (one,) = predict(lambda images: np.full((1, 3), 1 / 3), [str(tmp_path / "x.jpg")], preset)
    assert one.ids == [0, 1, 2]


def test_a_network_that_answers_nan_is_an_error_not_a_prediction(tmp_path):
    (tmp_path / "x.jpg").write_bytes(encoded(photograph(0, 1)))
    with pytest.raises(DataError, match="NaN"):
        list(predict(lambda images: np.full((1, 3), np.nan), [str(tmp_path / "x.jpg")], PRESETS["kneron"]))


# --- what is written


def test_per_file_answers_are_what_the_end_to_end_evaluation_reads(tmp_path):
    names = ["ants", "bees"]
    answers = [
        answer("one/a.jpg", [1, 0], [0.7, 0.3], names),
        answer("two/a.jpg", [0, 1], [0.9, 0.1], names),
        answer("b.jpg", [0, 1], [0.6, 0.4], names),
    ]
    write_per_file(tmp_path / "preds", answers)
    assert len(os.listdir(tmp_path / "preds")) == 3
    (tmp_path / "truth.json").write_text(json.dumps({"one/a.jpg": "bees", "two/a.jpg": "bees", "b.jpg": "ants"}))
    run = load_folder(str(tmp_path / "preds"), str(tmp_path / "truth.json"))
    assert run.arrays.top.tolist() == [[1, 0], [0, 1], [0, 1]]


def test_a_table_has_a_row_a_picture_and_no_formula(tmp_path):
    names = ["=1+1", "bees"]
    answers = [answer("-a.jpg", [0, 1], [0.7, 0.3], names), answer("b.jpg", [], [], names, problem="empty")]
    write_csv(tmp_path / "x.csv", answers)
    with open(tmp_path / "x.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["img_path", "label_1", "score_1", "label_2", "score_2", "problem"]
    assert rows[1] == ["'-a.jpg", "'=1+1", "0.7", "bees", "0.3", ""]
    assert rows[2] == ["b.jpg", "", "", "", "", "empty"]


# --- the documented script, with a checkpoint


@pytest.fixture
def snapshot(undisturbed, monkeypatch):
    monkeypatch.setattr("webvision.model.backbones.Network", tiny_run.Tiny)
    return undisturbed.folder


def test_one_picture_is_answered_as_the_evaluation_reads_it(command, snapshot, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.jpg").write_bytes(picture(2, 50))
    command.main(["--img_path", "x.jpg", "--snapshot", str(snapshot), "--gpu", "-1", "--per-file", "preds"])
    value = json.loads((tmp_path / "inference_result.json").read_text())
    assert value["img_path"] == "x.jpg" and sorted(label for _, label in value["0_0"]) == sorted(CLASSES)
    scores = [score for score, _ in value["0_0"]]
    assert scores == sorted(scores, reverse=True) and abs(sum(scores) - 1) < 1e-5
    assert json.loads((tmp_path / "preds" / "x.jpg.json").read_text()) == value
    assert "x.jpg: " in capsys.readouterr().out


def test_answers_are_those_of_the_evaluation(command, snapshot, tiny_data, tmp_path, monkeypatch):
    """The same pictures by --eval: the same classes, the same scores."""
    monkeypatch.chdir(tmp_path)
    best = best_weights(str(snapshot))
    tiny_run.main(
        ["--data", str(tiny_data), "--eval", "--load", best, "--out", str(tmp_path / "p.json"), "--workers", "0"]
        + ["--gpu", "-1", "--image-size", "32"]
    )
    command.main(["--img-path", str(tiny_data / "val"), "--snapshot", str(snapshot), "--gpu", "-1", "--label-ids"])
    rows = {}
    with open(tmp_path / "p.json") as file:
        for row in json.load(file)["predictions"]:
            rows[row["name"]] = row
    for value in json.loads((tmp_path / "inference_result.json").read_text()):
        row = rows[value["img_path"]]
        assert [label for _, label in value["0_0"]] == row["top"]
        assert np.allclose([score for score, _ in value["0_0"]], row["scores"], atol=1e-5)


def test_pictures_that_cannot_be_read_end_with_4_after_all_is_written(command, snapshot, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "good.heic").write_bytes(heic(photograph(1, 1)))
    (tmp_path / "in" / "empty.jpg").write_bytes(b"")
    with pytest.raises(IncompleteError, match="1 of 2 pictures could not be read, empty.jpg"):
        command.main(["--img-path", "in", "--snapshot", str(snapshot), "--gpu", "-1"])
    empty, good = json.loads((tmp_path / "inference_result.json").read_text())
    assert empty["problem"] == "empty" and len(good["0_0"]) == 3


def test_another_backbone_or_class_map_than_the_snapshots_is_refused(command, snapshot, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.jpg").write_bytes(picture(2, 50))
    flags = ["--img-path", "x.jpg", "--snapshot", str(snapshot), "--gpu", "-1"]
    with pytest.raises(UsageError, match="--backbone resnet18: .* is of tiny"):
        command.main([*flags, "--backbone", "resnet18"])
    (tmp_path / "other.json").write_text('{"0": "a", "1": "b", "2": "c"}')
    with pytest.raises(UsageError, match="the class map given has 3"):
        command.main([*flags, "--class-id-path", "other.json"])
    with pytest.raises(UsageError, match="no such snapshot"):
        command.main(["--img-path", "x.jpg", "--snapshot", "snapshots/2020-01-01", "--gpu", "-1"])


def test_the_chosen_weights_of_a_run_come_first(undisturbed, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(undisturbed.folder, folder)
    assert best_weights(str(folder)).endswith(f"model-{json.loads((folder / 'best.json').read_text())['step']}")
    (folder / "chosen.json").write_text('{"weights": "probe.npz"}')
    assert best_weights(str(folder)) == str(folder / "probe.npz")
    (folder / "chosen.json").write_text("{")
    with pytest.raises(CheckpointError, match="damaged"):
        best_weights(str(folder))
