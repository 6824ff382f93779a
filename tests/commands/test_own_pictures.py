"""The road of somebody's own pictures, by the documented command, with a network of three layers."""

import importlib
import json
import os

import pytest

from tests.support import tiny_run
from tests.support.own_pictures import encoded, photograph, write_classes
from webvision import faults
from webvision.commands.own_pictures import finetuning, start
from webvision.errors import DataError, UsageError
from webvision.inference.snapshot import best_weights
from webvision.model.weights import open_weights

CLASSES = {"ants": 14, "bees": 12, "fire truck": 10}


def load(name):
    return importlib.import_module(f"webvision.commands.{name}")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_classes(tmp_path_factory.mktemp("own") / "my pictures", CLASSES)


@pytest.fixture
def tiny(monkeypatch):
    """Every network is of three layers, and nothing is installed."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    for module in ("webvision.model.backbones", "webvision.commands.own_pictures.start"):
        monkeypatch.setattr(f"{module}.Network", tiny_run.Tiny)
    monkeypatch.setattr(start, "DEFAULT", "resnet18")


@pytest.fixture
def train(tiny, undisturbed, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def train(*more, run="run", fault=""):
        faults._passed.clear()
        with monkeypatch.context() as patch:
            patch.setenv(faults.VARIABLE, fault)
            flags = ["--gpu", "-1", "--snapshot", str(undisturbed.folder), "--snapshot-path", run, "--workers", "0"]
            load("train_pictures").main([str(pictures), *flags, "--epochs", "2", "--batch-size", "12", *more])
        return tmp_path / run

    return train


def contents(run, *names):
    return {name: (run / name).read_bytes() for name in names}


def test_the_whole_road_leaves_a_judged_model_and_its_names(train, capsys):
    run = train("--patience", "3")
    assert json.loads((run / "class_id.json").read_text()) == {"0": "ants", "1": "bees", "2": "fire truck"}
    chosen, probed = (json.loads((run / name).read_text()) for name in ("chosen.json", "probe.json"))
    assert chosen["val_accuracy"] >= probed["val_accuracy"] >= 0.5
    figures = json.loads((run / "eval_results.json").read_text())
    assert 1 - figures["errors"]["top1"]["error"] == pytest.approx(chosen["val_accuracy"])
    assert sum(map(sum, figures["confusion"])) == figures["images"]
    assert "fire truck" in (run / "report.html").read_text() and (run / "eval_results.txt").exists()
    said = capsys.readouterr().out
    assert "36 pictures (ants 14, bees 12, fire truck 10)" in said and "val chose these weights" in said

    before = contents(run, "probe.npz", "chosen.json", "predictions.json", "data/meta/train.txt")
    stats = (run / "stats.json").read_bytes()
    train("--patience", "3")  # every stage is done
    assert contents(run, *before) == before and (run / "stats.json").read_bytes() == stats

    # the model answers by name, for one picture of a class it knows
    (run.parent / "new.jpg").write_bytes(encoded(photograph(2, 77)))
    load("predict").main(["--img-path", "new.jpg", "--snapshot", str(run), "--gpu", "-1"])
    answer = json.loads((run.parent / "inference_result.json").read_text())
    assert {label for _, label in answer["0_0"]} == set(CLASSES)


def test_killed_anywhere_it_ends_in_the_same_weights(train):
    """The disk is full once, at each stage: the command ends there, and the same command goes on from there."""
    whole = train(run="whole")
    name = f"model-{json.loads((whole / 'best.json').read_text())['step']}.data-00000-of-00001"
    wanted = contents(whole, "probe.npz", "chosen.json", "best.json", name)
    stages = [f"own-stage:{number}" for number in range(1, 6)]  # features of train, of val; probe; rate; choice
    for fault in ["own-folder:2", *stages, "step:2", "predictions:1"]:
        with pytest.raises(OSError, match="No space"):
            train(run=fault, fault=f"{fault}:full-once")
        assert contents(train(run=fault), *wanted) == wanted, fault


def test_a_frozen_backbone_is_the_probe_alone(train, undisturbed):
    run = train("--freeze-backbone", "1")
    assert json.loads((run / "chosen.json").read_text())["weights"] == "probe.npz"
    assert not [name for name in os.listdir(run) if name.startswith("model-")]
    probe, first = open_weights(str(run / "probe.npz")), open_weights(best_weights(str(undisturbed.folder)))
    assert (probe["conv/W"] == first["conv/W"]).all() and probe["linear/W"].shape == (6, 3)


def test_fine_tuning_that_makes_it_worse_is_not_kept(train):
    run = train("--lr", "50", "--epochs", "1")
    chosen, probed = (json.loads((run / name).read_text()) for name in ("chosen.json", "probe.json"))
    assert chosen == {"weights": "probe.npz", "val_accuracy": probed["val_accuracy"]}


def test_a_run_is_normalised_as_its_weights_were(train, monkeypatch):
    """The card's preset reaches training: another one would change what the first weights see."""
    from webvision.training.graph import objective

    seen = []
    real = objective.Classifier.__init__

    def remember(self, *args, **kwargs):
        seen.append(kwargs["preset"].name)
        real(self, *args, **kwargs)

    monkeypatch.setattr(objective.Classifier, "__init__", remember)
    train("--epochs", "1")
    assert seen and set(seen) == {"webvision"}


def test_without_weights_all_is_trained_and_said(tiny, pictures, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    flags = [str(pictures), "--gpu", "-1", "--snapshot-path", "run", "--workers", "0", "--batch-size", "12"]
    monkeypatch.setattr(start, "_from_package", lambda *_: None)
    load("train_pictures").main([*flags, "--epochs", "1", "--backbone", "resnet18"])
    said = capsys.readouterr().out
    assert "from scratch" in said and "learning rate 0.0046875" in said
    assert json.loads((tmp_path / "run" / "chosen.json").read_text())["weights"].startswith("model-")
    with pytest.raises(UsageError, match="needs weights to freeze"):
        load("train_pictures").main([*flags, "--snapshot-path", "other", "--freeze-backbone", "1"])


def test_wrong_flags_are_said_before_anything_is_done(tiny, pictures, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = load("train_pictures")
    with pytest.raises(UsageError, match="--backbone: mode resnet has no depth 19"):
        command.main([str(pictures), "--gpu", "-1", "--backbone", "resnet19", "--snapshot-path", "run"])
    assert not os.listdir(tmp_path)
    with pytest.raises(SystemExit):
        command.parse_args([str(pictures), "--freeze-backbone", "1", "--probe", "0"])
    with pytest.raises(SystemExit):
        command.parse_args([str(pictures), "--loss", "mse"])
    with pytest.raises(UsageError, match="no such folder"):
        command.main([str(tmp_path / "none"), "--gpu", "-1"])
    args = command.parse_args(["P"])
    assert (args.freeze_backbone, args.early_stop, args.patience, args.epochs, args.batch_size) == (0, 1, 7, 100, 64)
    assert (args.optimizer, args.loss, args.workers, args.model_def_path) == ("SGD", "cross_entropy", 1, "./models/")
    assert (
        command.parse_args(["P", "--freeze_backbone", "1", "--batch_size", "8", "--optimizer", "adam"]).batch_size == 8
    )


def test_a_judged_folder_needs_known_classes_and_not_all_of_them(train, pictures, tmp_path, capsys):
    run = train("--freeze-backbone", "1")
    write_classes(tmp_path / "new" / "val", {"bees": 3})
    judge = load("judge")
    flags = ["--snapshot", str(run), "--gpu", "-1", "--workers", "0", "--data-dir"]
    judge.main([*flags, str(tmp_path / "new")])
    assert "3 images of 3 classes" in capsys.readouterr().out
    assert (tmp_path / "eval_results.txt").read_text().startswith("images: 3\nclasses: 3\ntop-1 accuracy: ")
    write_classes(tmp_path / "new" / "val", {"wasps": 1})
    with pytest.raises(DataError, match="'wasps' is no class of this model"):
        judge.main([*flags, str(tmp_path / "new")])


def test_the_range_test_only_lowers():
    from webvision.training.small_sets.range_test import MARGIN, STEPS, rates, safe_rate

    assert safe_rate(1e-3, [0.3] * STEPS) == 1e-3
    assert safe_rate(1e-3, [0.3] * 12 + [9.0] * 8) < rates(1e-3)[12] / MARGIN * 1.01
    assert safe_rate(1e-3, [0.3] * 12 + [float("nan")]) < rates(1e-3)[12]
    assert finetuning.SEED_RATE == 1e-3
