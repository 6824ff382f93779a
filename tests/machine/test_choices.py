"""What `auto` means on the GPUs at hand."""

import json
import os
from types import SimpleNamespace

import pytest

from tests.support.data_set import write_data_set
from tests.support.driver import nvml_library
from webvision import devices
from webvision.commands import choosing, flags, train
from webvision.commands import step as step_command
from webvision.errors import ResourceError, UsageError
from webvision.machine import nvml
from webvision.machine.choices import best_precision, search_batch, xla_pays
from webvision.training.graph import largest_batch


@pytest.mark.parametrize(
    "capabilities, precision",
    [
        ([], "float32"),
        ([(6, 1)], "float32"),
        ([(7, 0)] * 4, "float16"),
        ([(7, 5)], "float16"),
        ([(8, 0)], "bfloat16"),
        ([(9, 0), (8, 9)], "bfloat16"),
        ([(9, 0), (7, 5)], "float16"),
    ],
)
def test_the_weakest_gpu_decides_on_the_precision(capabilities, precision):
    assert best_precision(capabilities) == precision


def test_xla_is_for_half_precision_on_gpus():
    assert xla_pays("bfloat16", on_gpu=True) and xla_pays("float16", on_gpu=True)
    assert not xla_pays("float32", on_gpu=True) and not xla_pays("bfloat16", on_gpu=False)


@pytest.mark.parametrize(
    "room, towers, batch", [(31, 1, None), (32, 1, 32), (100, 1, 96), (127, 4, 384), (128, 4, 512), (1 << 20, 2, 4096)]
)
def test_the_largest_batch_that_fits_is_found(room, towers, batch):
    tried = []

    def fits(total):
        tried.append(total)
        return total <= room * towers

    assert search_batch(fits, towers=towers) == batch
    assert len(tried) == len(set(tried)) <= 9 and all(total % (8 * towers) == 0 for total in tried)


AUTO = ["--precision", "auto"]


@pytest.fixture
def gpus(monkeypatch, tmp_path):
    """A machine with two GPUs, as far as the flags can see; returns a function that changes what the driver answers."""
    monkeypatch.setattr(devices, "installed_gpus", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    (tmp_path / "data").mkdir()

    def answer(**answers):
        folder = tmp_path / "-".join(map(str, answers.values()))
        monkeypatch.setattr(nvml, "LIBRARY", str(nvml_library(folder, count=2, **answers)))
        return ["--data", str(tmp_path / "data")]

    return answer


@pytest.mark.parametrize(
    "answers, typed, precision, xla, said",
    [
        (
            {"major": 8, "minor": 0, "name": "A100"},
            ["--precision", "auto"],
            "bfloat16",
            True,
            "(A100, compute capability 8.0)",
        ),
        ({"major": 7, "minor": 5}, AUTO, "float16", True, "float16, compiled by XLA (Tesla T4, "),
        ({"major": 6, "minor": 1}, AUTO, "float32", False, "--precision auto: float32 (Tesla T4"),
        ({"major": 9}, ["--gpu", "-1", *AUTO], "float32", False, "--precision auto: float32 (the CPU)"),
        ({"major": 9}, [], None, False, ""),
        ({"major": 9}, ["--fp16"], "float16", False, ""),
        ({"major": 9}, ["--precision", "tf32"], "tf32", False, ""),
    ],
)
def test_the_command_chooses_for_its_gpus_and_says_so(gpus, capsys, answers, typed, precision, xla, said):
    args = train.parse_args([*gpus(**answers), *typed])
    assert (args.precision, args.devices.xla, args.recipe.batch) == (precision, xla, 256)
    told = capsys.readouterr().err
    assert said in told if said else told == ""


def test_a_gpu_whose_memory_others_hold_is_refused_before_anything_begins(gpus, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")  # restored, whatever the command sets
    args = train.parse_args([*gpus(used=16000, holder=os.getppid()), "--gpu", "1"])
    with pytest.raises(ResourceError, match=rf"GPU 1 .* are taken, by process {os.getppid()} "):
        flags.use_devices(args)
    gpus(used=100)
    flags.use_devices(args)


@pytest.mark.parametrize(
    "typed, words",
    [
        (["--gpu", "-1", "--batch", "auto"], "--batch auto goes by the memory of GPUs, and this run has none"),
        (["--gpu", "GPU-77", "--precision", "auto"], "the driver does not know all of these GPUs"),
        (["--fp16", "--precision", "bfloat16"], "not allowed with argument --fp16"),
    ],
)
def test_what_cannot_be_chosen_is_refused(gpus, capsys, typed, words):
    with pytest.raises(SystemExit) as refusal:
        train.parse_args([*gpus(major=8), *typed])
    assert refusal.value.code == 2 and words in capsys.readouterr().err


def test_the_largest_batch_is_found_by_steps_of_the_very_run(monkeypatch, gpus, tmp_path, capsys):
    write_data_set(tmp_path / "set")
    commands = []

    def step(command, **_):
        commands.append(command)
        batch = int(command[-1])
        if batch <= 192:
            return SimpleNamespace(returncode=0, stderr="")
        return SimpleNamespace(returncode=7 if batch == 256 else 1, stderr="CUDNN_STATUS_ALLOC_FAILED")

    monkeypatch.setattr(largest_batch, "subprocess", SimpleNamespace(run=step))
    gpus(major=8)
    runs = str(tmp_path / "runs")
    args = train.parse_args(
        ["--data", str(tmp_path / "set"), "--runs", runs, "--batch", "auto", "--bf16", "-d", "50", "--xla"]
    )
    assert choosing.largest_batch(args) == 192
    assert [int(command[-1]) for command in commands] == [64, 128, 256, 192]
    words = " ".join(commands[0])
    assert (
        " step -d 50 --mode resnet --classes 3 --image-size 224 --gpu 0,1 --xla --precision bfloat16 --steps " in words
    )
    step_flags = commands[0][commands[0].index("step") + 1 :]
    assert step_command.parse_args(step_flags).batch == 64, "the step takes these flags"
    assert "--batch auto: 256 does not fit" in capsys.readouterr().err
    run = tmp_path / "runs" / "imagenet-resnet-d50"
    run.mkdir(parents=True)
    (run / "run.json").write_text(json.dumps({"recipe": {"batch": 96}}))
    choosing.choose_batch(args)
    assert args.recipe.batch == 96 and args.recipe.base_lr == 0.1 * 96 / 256, "a run goes on with the batch that it has"
    assert "--batch auto: 96 pictures a step, learning rate 0.0375" in capsys.readouterr().err


@pytest.mark.parametrize(
    "code, error, words", [(2, UsageError, "no such GPU"), (7, ResourceError, "not even 32 pictures")]
)
def test_a_step_that_does_not_run_at_all_ends_the_search(monkeypatch, code, error, words):
    done = SimpleNamespace(returncode=code, stderr="webvision: error: no such GPU")
    monkeypatch.setattr(largest_batch, "subprocess", SimpleNamespace(run=lambda *_, **__: done))
    with pytest.raises(error, match=words):
        largest_batch.find([], 1, say=lambda line: None)
