"""Whole runs of the training command: what they leave, and that nothing which ends one early changes what it
becomes."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from tests.support import tiny_run
from tests.support.data_set import ROOT
from webvision.errors import CheckpointError

STEPS = 8  # 2 epochs of 4
COMMAND = ["imagenet-resnet.py", "-d", "18", *tiny_run.SMALL]
TINY = ["tests/support/tiny_run.py", *COMMAND[1:]]  # the same with a network of three layers


@pytest.fixture(scope="module")
def undisturbed(tiny_data, tmp_path_factory):
    """The folder of a run that nobody disturbed, and what it printed."""
    out = tmp_path_factory.mktemp("undisturbed")
    done = subprocess.run(
        [sys.executable, *COMMAND, "--data", tiny_data, "--out", out],
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return out / "imagenet-resnet-d18", done


def weights_of(folder):
    return (folder / f"model-{STEPS}.data-00000-of-00001").read_bytes()


def test_a_run_shows_and_keeps_what_it_did(undisturbed):
    folder, done = undisturbed
    epochs = re.findall(
        r"Epoch (\d)/2 \(step (\d)\): loss [\d.]+, train error top-1/5 [\d.]+/[\d.]+, val [\d.]+/[\d.]+, "
        r"val balanced [\d.]+/[\d.]+, \d+ images/s, waiting for data [\d.]+%, learning rate ([\d.e-]+)",
        done.stdout,
    )
    assert [(epoch, step) for epoch, step, _ in epochs] == [("1", "4"), ("2", "8")]
    assert re.search(r"Epoch 1 \[2/4\] loss [\d.]+, data [\d.]+ s, step [\d.]+ s, learning rate 0.05", done.stdout)
    for noise in ("oneDNN", "cuInit", "deprecat", "Traceback", "absl"):
        assert noise not in done.stdout + done.stderr
    stats = json.loads((folder / "stats.json").read_text())
    assert [(entry["epoch_num"], entry["global_step"]) for entry in stats] == [(1, 4), (2, 8)]
    assert (
        0 <= stats[-1]["val-balanced-error-top1"] <= 1
        and stats[-1]["val-loss"] > 0
        and 0 < stats[-1]["train-error-top1"] <= 1
    )
    run = json.loads((folder / "run.json").read_text())
    assert run["classes"] == ["n01440764", "n02084071", "n03790512"] and run["recipe"]["batch"] == 6
    assert "imagenet-resnet.py" in run["command"] and run["versions"]["tensorflow"].startswith("2.21")
    assert any(name.startswith("events.out.tfevents") for name in os.listdir(folder))


def test_the_same_seed_repeats_bit_for_bit_with_other_workers(undisturbed, tiny_data, tmp_path, run):
    done = run(*COMMAND, "--data", tiny_data, "--out", tmp_path, "--name", "again", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert weights_of(tmp_path / "again") == weights_of(undisturbed[0])


def test_a_run_killed_everywhere_ends_in_the_same_weights(tiny_data, tmp_path, run, train):
    train("--name", "undisturbed")
    command = [
        *TINY,
        "--data",
        tiny_data,
        "--out",
        tmp_path,
        "--name",
        "killed",
        "--save-every",
        "0.0001",
        "--keep",
        "2",
    ]
    for fault in ("save-data:1", "step:3", "save-manifest:2", "validate:1", "prune:1", "save-pointer:2", "validate:1"):
        died = run(*command, env={"WEBVISION_FAULT": fault})
        assert died.returncode == -signal.SIGKILL, f"{fault}: {died.returncode} {died.stderr[-500:]}"
    done = run(*command)
    folder = tmp_path / "killed"
    assert done.returncode == 0, done.stderr
    assert "Continuing after step" in done.stdout
    assert weights_of(folder) == weights_of(tmp_path / "undisturbed")
    stats = json.loads((folder / "stats.json").read_text())
    assert [(entry["epoch_num"], entry["global_step"]) for entry in stats] == [(1, 4), (2, 8)]
    finished = {
        name.split(".")[0] for name in os.listdir(folder) if name.endswith(".json") and name.startswith("model-")
    }
    leftovers = [
        name
        for name in os.listdir(folder)
        if name.startswith("model-")
        and name.split(".")[0] not in finished
        or name.endswith(".tmp")
        or "tempstate" in name
    ]
    assert not leftovers


@pytest.mark.parametrize("name, code", [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_ends_the_command_with_one_line_and_its_code(tiny_data, tmp_path, run, name, code):
    stopped = run(
        *TINY,
        "--data",
        tiny_data,
        "--out",
        tmp_path,
        "--name",
        "stopped",
        env={"WEBVISION_FAULT": f"step:3:{name[3:].lower()}"},
    )
    assert stopped.returncode == code, stopped.stderr
    assert f"ended by {name} after step 3, saved; the same command continues" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert (tmp_path / "stopped" / "model-3.json").exists()


def test_an_exploding_loss_ends_the_command_with_its_code(tiny_data, tmp_path, run):
    done = run(*TINY, "--data", tiny_data, "--out", tmp_path, "--lr", "1e18", "--epochs", "30")
    assert done.returncode == 6, done.stderr
    assert re.search(r"error: step \d+: (the loss is (nan|inf)|a weight is NaN)", done.stderr)


def test_a_damaged_checkpoint_is_passed_over_loudly(train, tmp_path):
    train("--name", "undisturbed")
    train("--epochs", "1")
    newest = train.folder / "model-4.data-00000-of-00001"
    newest.write_bytes(newest.read_bytes()[:-100] + b"\0" * 100)
    with pytest.raises(CheckpointError, match="all 1 checkpoints are damaged"):
        train()
    train("--fresh")
    train.folder = tmp_path / "run-2"
    newest = train.folder / "model-8.data-00000-of-00001"
    newest.write_bytes(newest.read_bytes()[:-100] + b"\0" * 100)
    train("--name", "run-2")
    assert "model-8 is damaged" in train.log() and "Continuing after step 4 of 8" in train.log()
    assert train.weights() == train.weights(tmp_path / "undisturbed") and train.epochs() == [(1, 4), (2, 8)]


def test_fresh_starts_beside_a_run_from_its_weights_and_leaves_it(undisturbed, tiny_data, run):
    folder, _ = undisturbed
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    fresh = run(
        *COMMAND,
        "--data",
        tiny_data,
        "--out",
        folder.parent,
        "--seed",
        "5",
        "--fresh",
        "--epochs",
        "1",
        "--load",
        folder,
    )
    assert fresh.returncode == 0 and "102 loaded, 0 missing" in fresh.stdout, fresh.stderr
    assert (folder.parent / "imagenet-resnet-d18-2" / "model-4.json").exists()
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_second_run_in_one_folder_is_refused_at_once(tiny_data, tmp_path, run):  # T6
    command = [*TINY, "--data", tiny_data, "--out", tmp_path, "--name", "shared"]
    first = subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "WEBVISION_FAULT": "start:1:stop"},
    )
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "shared" / "run.json").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        second = run(*command)
        assert second.returncode == 8 and f"pid {first.pid} on" in second.stderr, second.stderr
    finally:
        first.kill()
        first.wait()
