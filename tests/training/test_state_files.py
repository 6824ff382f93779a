"""A run folder's small files with anything in them: valid JSON of the wrong kind, pipes, folders; and a folder that
moves away."""

import json
import os
import random

import pytest

from tests.support.training_fixtures import STEPS, at
from webvision.errors import CheckpointError, Interrupted, ResourceError, WebvisionError
from webvision.files import read_json
from webvision.inference.provenance import known_card
from webvision.model.weights import open_weights
from webvision.training.state.checkpoints import CheckpointFolder
from webvision.training.state.rollback import Rollbacks
from webvision.training.state.run_folder import open_run
from webvision.training.watching.reports import History

WRONG = [
    "null",
    "3",
    '"x"',
    "[]",
    "[[1, 2, 3]]",
    "[null]",
    "{}",
    '{"state": [], "files": 3}',
    "[" * 100_000,
    "",
    "1e999",
]
WRONG += [
    '{"state": {"step": 4, "seed": null}, "files": {}}',
    '{"step": "4", "error": 0.5}',
    '{"step": 4, "error": NaN}',
]
WRONG += [
    '[{"epoch_num": 1, "global_step": "4"}]',
    '[{"global_step": 4}]',
    '[{"epoch_num": 1, "global_step": 4, "a": []}]',
]
READERS = {
    "run.json": lambda folder: open_run(str(folder), {"seed": 0}),
    "stats.json": lambda folder: History(str(folder), restored_step=10**6).epochs_recorded(),
    "best.json": lambda folder: CheckpointFolder(str(folder), keep=2).best(),
    "rollbacks.json": lambda folder: Rollbacks(str(folder)).last_back_to,
    "model-4.json": lambda folder: CheckpointFolder(str(folder), keep=2).newest_whole(),
}


@pytest.mark.parametrize("name", READERS)
def test_json_of_another_kind_is_one_error_or_set_aside(tmp_path, name):
    for text in WRONG:
        (tmp_path / name).write_text(text)
        try:
            READERS[name](tmp_path)
        except CheckpointError as error:
            assert str(tmp_path) in str(error), text[:40]
    if name == "stats.json":
        assert (tmp_path / "stats.json.damaged").exists()


@pytest.mark.parametrize("name", READERS)
def test_a_whole_file_with_any_value_exchanged_is_read_or_is_one_error(undisturbed, tmp_path, name):
    pick = random.Random(name)
    source = undisturbed.folder / name
    whole = source.read_text() if source.exists() else "[[3, 1]]"
    values = [None, True, -1, 1.5, 10**400, "x", "\udcff", [], {}, [[]], {"a": 1}, float("inf")]
    for _ in range(150):
        document = json.loads(whole)
        place = [document]
        key = 0
        while isinstance(place[key], (dict, list)) and place[key] and pick.random() < 0.8:
            place, key = (
                place[key],
                pick.choice(list(place[key]) if isinstance(place[key], dict) else range(len(place[key]))),
            )
        place[key] = pick.choice(values)
        if place is not document and len(json.dumps(document)) < 1_000_000:
            (tmp_path / name).write_text(json.dumps(document))
            try:
                READERS[name](tmp_path)
                if name == "run.json":
                    known_card(str(undisturbed.folder / f"model-{STEPS}"))
            except WebvisionError:
                pass


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
@pytest.mark.parametrize("name", [*READERS, "checkpoint", "model-8.data-00000-of-00001", "model-12.json"])
def test_a_pipe_or_a_folder_of_such_a_name_is_told_at_the_start(train, name, make):
    train.folder.mkdir()
    make(train.folder / name)
    with pytest.raises(CheckpointError, match="a folder, pipe or device, where the run keeps a file; move it away"):
        train()


def test_json_is_read_from_files_only_and_up_to_a_size(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(ValueError, match="instead of a file"):
            read_json(path)
    with open(tmp_path / "large", "wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(ValueError, match="bytes, over"):
        read_json(tmp_path / "large")


def test_weights_in_a_pipe_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "model-3.index")
    os.mkfifo(tmp_path / "checkpoint")
    (tmp_path / "model-4.index").write_text("")
    os.mkfifo(tmp_path / "model-4.data-00000-of-00001")
    for name in ("pipe", "model-3", "model-3.index", "model-4", "."):
        with pytest.raises(CheckpointError, match="pipe"):
            open_weights(tmp_path / name)


def test_a_damaged_best_is_told_before_the_first_step(train):
    train("--epochs", "1")
    (train.folder / "best.json").write_text("[]")
    with pytest.raises(CheckpointError, match="best.json: damaged .*or remove it, and the best is looked for anew"):
        train()
    (train.folder / "best.json").unlink()
    train()


def test_a_damaged_history_is_set_aside_and_the_training_goes_on(train, undisturbed):
    with pytest.raises(Interrupted):
        train(fault="step:6:term")
    (train.folder / "stats.json").write_text('{"epochs": 1}')
    train()
    assert train.weights() == undisturbed.weights() and train.epochs()[-1] == (2, STEPS)
    assert (train.folder / "stats.json.damaged").read_text() == '{"epochs": 1}'
    assert "stats.json: damaged (not a list of objects); set aside as" in train.log()


def test_a_run_folder_that_is_renamed_in_training_loses_nothing(train, undisturbed):
    train(fault=at("step", 2, lambda: os.rename(train.folder, train.out / "elsewhere")))
    assert train.weights() == undisturbed.weights()


def test_an_error_of_the_loader_is_told_once_and_without_a_threads_traceback(train, monkeypatch):
    def fails(*_):
        raise ResourceError("loader worker 1 of 2 cannot be started (Too many open files)")

    monkeypatch.setattr("webvision.data.loader.pool.Pool._start", fails)
    with pytest.raises(ResourceError, match="Too many open files"):
        train("--workers", "2")
    assert "Traceback" not in train.log() and "Exception in thread" not in train.log()
