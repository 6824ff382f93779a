"""R1, R2, M3, T7, T9: the same run continues, on other machines too; another run is refused."""

import json
import os
import shutil
import sys
import time

import numpy as np
import pytest

from tests.support.training_fixtures import STEPS
from webvision.compat import tfv1
from webvision.errors import CheckpointError, Interrupted, UsageError
from webvision.files import atomic_write, remove_abandoned
from webvision.inference.provenance import known_card


def read(prefix):
    reader = tfv1.train.NewCheckpointReader(str(prefix))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def test_other_workers_and_towers_continue_the_same_order_of_data(train, tmp_path):
    train("--mode", "preact", "--name", "one")  # without batch norm, whose statistics are a tower's own
    for flags, fault in (
        (["--workers", "2"], "step:3:term"),
        (["--towers", "2"], "step:3:term"),
        (["--towers", "3"], ""),
    ):
        train.folder = tmp_path / "run"
        if fault:
            with pytest.raises(Interrupted):
                train("--mode", "preact", *flags, fault=fault)
        else:
            train("--mode", "preact", *flags)
    assert "Changed since the run began: towers: was 1, is 3" in train.log()
    one, many = read(tmp_path / "one" / f"model-{STEPS}"), read(tmp_path / "run" / f"model-{STEPS}")
    first = read(tmp_path / "one" / "model-4")
    assert one.keys() == many.keys() and np.abs(one["linear/W"] - first["linear/W"]).max() > 1e-4
    for name in ("conv/W", "linear/W", "linear/b", "linear/W/Momentum"):
        np.testing.assert_allclose(many[name], one[name], atol=1e-6, err_msg=name)


def test_a_run_that_changed_its_data_or_network_is_refused_with_both_values(train, tiny_data, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(tiny_data, data)
    train.data = data
    with pytest.raises(Interrupted):
        train(fault="step:2:term")
    for flags, words in (
        (["--batch", "12"], "batch: was 6, is 12"),
        (["-d", "34"], '"depth": 18'),
        (["--seed", "4"], "seed: was 0"),
        (["--epoch-size", "12"], "epoch_size: was 24, is 12"),
        (["--balance", "none"], 'balance: was "upsample"'),
    ):
        with pytest.raises(CheckpointError, match=words):
            train(*flags)
    lines = (data / "meta" / "train.txt").read_text().splitlines()
    (data / "meta" / "train.txt").write_text("\n".join([lines[1], lines[0], *lines[2:]]) + "\n")
    with pytest.raises(CheckpointError, match="list_sha256: was"):  # M3
        train()
    (data / "meta" / "train.txt").write_text("\n".join(lines) + "\n")
    synsets = data / "meta" / "synsets.txt"
    names = synsets.read_text()
    synsets.write_text(names.replace("n03790512", "n03790513"))
    with pytest.raises(CheckpointError, match="classes_sha256: was"):
        train()
    synsets.write_text(names)
    train()
    assert train.epochs() == [(1, 4), (2, STEPS)]


def test_clocks_that_jump_change_nothing(train, undisturbed, monkeypatch):  # T7
    real, jumps = time.time, iter([86400, -86400, 0, 3600] * 100_000)
    monkeypatch.setattr(time, "time", lambda: real() + next(jumps))
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    train("--save-every", "0.000001", fault=lambda here: None)
    assert train.weights() == undisturbed.weights() and train.steps()[-1] == STEPS


def test_more_epochs_go_on_with_a_finished_run(train, undisturbed):
    train("--epochs", "2")
    train("--epochs", "2")
    assert "has done all of its 2 epochs; more --epochs go on with it" in train.log()
    train("--epochs", "3")
    assert train.steps() == [4, 8, 12] and train.epochs() == [(1, 4), (2, 8), (3, 12)]


def test_a_goal_ends_the_run_and_the_same_command_knows_it(train):
    train("--stop-at", "top5=100,loss=1000")
    assert "Reached top5 >= 100, loss <= 1000 after step 4" in train.log() and train.steps() == [4]
    train("--stop-at", "top5=100,loss=1000")
    assert "has reached top5 >= 100, loss <= 1000 after 1 epochs" in train.log() and train.steps() == [4]
    train("--stop-at", "top1=100,val-error-top1=0,balanced_top5=100", "--epochs", "2")
    train()
    assert train.steps()[-1] == STEPS, "without a goal it goes on"


@pytest.mark.parametrize("text", ["top1=0.75", "loss=-1", "train-error-top1=0.1", "top9=3", "top1"])
def test_a_goal_that_cannot_be_reached_is_refused_before_training(train, text, capsys):
    with pytest.raises(SystemExit) as end:
        train("--stop-at", text)
    assert end.value.code == 2 and "--stop-at" in capsys.readouterr().err and not train.folder.exists()


def test_histograms_are_for_the_eye_only(train, undisturbed):
    train("--histograms")
    assert read(train.folder / "model-8").keys() == read(undisturbed.folder / "model-8").keys()
    assert train.weights() == undisturbed.weights()
    tags = {
        value.tag
        for path in train.folder.glob("events.*")
        for event in tfv1.train.summary_iterator(str(path))
        for value in event.summary.value
        if value.HasField("histo")
    }
    assert {"weights/conv/W", "gradients/conv/W", "gradients/linear/b"} <= tags


def test_an_evaluation_on_a_full_disk_leaves_the_old_file_and_nothing_else(train, undisturbed, tmp_path):  # E3
    out = tmp_path / "predictions.json"
    flags = ("--eval", "--load", undisturbed.folder, "--out", out)
    train(*flags)
    whole = out.read_bytes()
    with pytest.raises(OSError, match="No space left"):
        train(*flags, fault="predictions:1:full")
    assert out.read_bytes() == whole and [path.name for path in tmp_path.iterdir()] == ["predictions.json"]
    (tmp_path / ".predictions.json.abcdefgh.tmp").write_text("of an evaluation that was killed")
    train(*flags)
    assert json.loads(out.read_text())["predictions"] and [path.name for path in tmp_path.iterdir()] == [
        "predictions.json"
    ]


def test_a_file_that_somebody_is_writing_is_not_abandoned(tmp_path):
    with atomic_write(tmp_path / "a.json") as file:
        remove_abandoned(tmp_path / "a.json")
        file.write("{}")
    assert (tmp_path / "a.json").read_text() == "{}"


def test_a_run_on_data_below_a_folder_that_is_not_utf8_continues_and_is_evaluated(
    train, tiny_data, tmp_path, monkeypatch
):  # L5
    data = train.data = tmp_path / "d\udcff"
    shutil.copytree(tiny_data, data)
    monkeypatch.setattr(sys, "argv", ["imagenet-resnet.py", "--data", str(data)])  # goes into run.json, too
    with pytest.raises(Interrupted):
        train(fault="step:2:term")
    train()
    assert train.epochs() == [(1, 4), (2, STEPS)] and "Changed" not in train.log()
    assert known_card(str(train.folder)).image_size == 32


def test_a_run_folder_that_tensorflow_cannot_name_is_a_mistake_said_at_once(train, tmp_path):
    for flags in (["--out", tmp_path / "o\udcff"], ["--name", "r\udcff"]):
        with pytest.raises(UsageError, match=r"\\xff.*: TensorFlow takes only UTF-8"):
            train(*flags)
    assert os.listdir(tmp_path) == []
