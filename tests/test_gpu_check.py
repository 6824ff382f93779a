"""`make gpu-check` says what it saw, and nothing of what it did not."""

import json
import os
import sys
from types import SimpleNamespace

import pytest

from benchmarks import gpu_check
from benchmarks.gpu import commands, journal, loading, peak, run
from benchmarks.gpu.journal import FAILED, HELD, MEASURED, NOT_RUN, Result
from benchmarks.gpu.table import CHECKS, Check
from webvision import devices
from webvision.commands import step, train
from webvision.errors import UsageError

NOWHERE = run.Place(0, "", "")
ONE = run.Place(1, "Tesla T4", "")


def ends_with(answer, *, before=""):
    """The command of a check that answers so."""
    return [sys.executable, "-c", f"{before}\nprint({run.MARK + json.dumps(answer)!r})"]


CHECKED = Check("x", "module:function")


@pytest.mark.parametrize(
    "answer, state, words",
    [
        ({"held": True, "words": "equal"}, HELD, "equal"),
        ({"held": False, "words": "apart"}, FAILED, "apart"),
        ({"held": None, "words": "9 pictures/s"}, MEASURED, "9 pictures/s"),
        ({"held": True, "words": "", "not_run": "needs a GPU"}, NOT_RUN, "needs a GPU"),
    ],
)
def test_a_check_is_what_its_process_tells(answer, state, words):
    result = run.run_check(ends_with(answer), CHECKED, NOWHERE, limit=60)
    assert (result.state, result.words) == (state, words)
    assert result.ran_on == ("" if state == NOT_RUN else "CPU devices")


@pytest.mark.parametrize(
    "command, words",
    [
        ([sys.executable, "-c", "import sys; sys.exit('no device')"], "no device"),
        ([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], "exit code -9"),
        ([sys.executable, "-c", "import time; time.sleep(600)"], "no end within 1 s"),
        ([sys.executable, "-c", "print('all is well')"], "exit code 0"),
    ],
)
def test_a_process_that_tells_nothing_has_failed(command, words):
    result = run.run_check(command, CHECKED, ONE, limit=1 if "sleep" in command[-1] else 60)
    assert result.state == FAILED and words in result.words


def test_what_cannot_run_here_is_not_run_with_its_reason():
    has_none, has_all = lambda module: False, lambda module: True
    assert run.why_not(Check("x", "f", needs_gpus=1), NOWHERE, has_all) == "needs a GPU"
    assert run.why_not(Check("x", "f", needs_gpus=2), ONE, has_all) == "needs 2 GPUs"
    assert run.why_not(Check("x", "f", needs=("torch",)), ONE, has_none) == "needs torch, not installed here"
    assert run.why_not(Check("x", "f", needs_gpus=1, needs=("torch",)), ONE, has_all) == ""


def test_a_second_call_goes_on_and_another_machine_begins_anew(tmp_path):
    path, seen = str(tmp_path / "results.json"), []
    checks = [Check("good", "f"), Check("bad", "f"), Check("late", "f"), Check("gpu only", "f", needs_gpus=1)]
    answers = {"good": True, "bad": False, "late": None}

    def go(subject, *, seconds, times):
        book, clock = journal.Journal(path, subject), iter(times)
        run.run_all(
            checks,
            NOWHERE,
            book,
            seconds=seconds,
            command_of=lambda check: ends_with({"held": answers[check.name], "words": check.name}),
            say=seen.append,
            clock=lambda: next(clock),
        )
        return {result.name: result for result in book.results([check.name for check in checks])}

    first = go("here", seconds=100, times=[0, 1, 2, 101, 102])
    assert [result.state for result in first.values()] == [HELD, FAILED, NOT_RUN, NOT_RUN]
    assert first["late"].words == "the time is up; the same command goes on"
    seen.clear()
    answers["bad"] = True
    second = go("here", seconds=100, times=range(10))
    assert [result.state for result in second.values()] == [HELD, HELD, MEASURED, NOT_RUN]
    assert [line.split(":")[0] for line in seen] == ["held     bad", "measured late"]
    seen.clear()
    go("elsewhere", seconds=100, times=range(10))
    assert len(seen) == 3


def test_the_table_keeps_apart_what_ran_where_and_what_did_not_run():
    results = [
        Result("a", HELD, "GPU", "equal"),
        Result("b", MEASURED, "CPU devices", "9/s"),
        Result("c", NOT_RUN, "", "needs a GPU"),
        Result("d", FAILED, "CPU devices", "apart"),
    ]
    text = journal.table(results)
    parts = [part.splitlines() for part in text.split("\n\n")]
    assert parts[0] == ["Ran on GPUs", "  held      a  equal (0 s)"]
    assert parts[1][0] == "Ran on CPU devices, through the code that GPUs get" and len(parts[1]) == 3
    assert parts[2] == ["Not run", "  c  needs a GPU"]
    assert parts[3] == ["1 checks ran on a GPU; 1 failed, 1 were not run"]
    assert "Nothing here ran on a GPU: what needs one is not proven" in journal.table(results[1:3])


def test_wheels_are_installed_from_their_folder_alone_and_the_rest_of_the_call_goes_on(monkeypatch, tmp_path):
    with pytest.raises(UsageError, match="/nowhere: no such folder"):
        gpu_check.main(["--wheels", "/nowhere"])
    commands, calls = [], []
    monkeypatch.setattr(gpu_check.subprocess, "run", lambda c, **_: commands.append(c) or SimpleNamespace(returncode=0))
    monkeypatch.setattr(gpu_check.os, "execv", lambda *call: calls.append(call))
    gpu_check.main(["--out", str(tmp_path), "--wheels", str(tmp_path), "--minutes", "3"])
    install = next(" ".join(command) for command in commands if "install" in command)
    assert f"--no-index --find-links {tmp_path} --require-hashes" in install and install.count(".lock") == 2
    [(python, words)] = calls
    assert python == os.path.join(tmp_path, "venv", "bin", "python")
    assert words[-4:] == ["--out", str(tmp_path), "--minutes", "3"]
    monkeypatch.setattr(gpu_check.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=1))
    with pytest.raises(UsageError, match="not everything that the locks pin is there"):
        gpu_check.main([f"--wheels={tmp_path}", "--out", str(tmp_path)])


@pytest.mark.parametrize("gpus", [1, 3, 8])
def test_the_commands_that_only_gpus_get_take_their_flags(monkeypatch, gpus, tmp_path):
    """They cannot run here: what they type is read by the commands themselves."""
    typed = []
    monkeypatch.setattr(devices, "installed_gpus", lambda: gpus)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(commands, "make_set", lambda *_: str(tmp_path))
    monkeypatch.setattr(loading, "make_set", lambda *_: str(tmp_path))
    done = SimpleNamespace(returncode=7, stderr="error: out of memory with --batch 8192", stdout="")
    monkeypatch.setattr(commands.subprocess, "run", lambda command, **_: typed.append(command[2:]) or done)
    place = run.Place(gpus, "H100", str(tmp_path))
    told = commands.out_of_memory(place)
    assert told["held"] is (8192 % gpus == 0) and "exit 7: error: out of memory" in told["words"]
    loading.waiting(place)
    commands.nan_guard(place)
    fake, *trainings = typed
    assert fake[0] == "--fake" and step.parse_args(fake[1:]).batch % gpus == 0
    for flags in trainings:
        args = train.parse_args(["--runs" if word == "--out" else word for word in flags])
        assert args.devices.gpus == gpus and args.depth == 50 and args.recipe.batch % gpus == 0


def test_every_check_names_a_function_that_is_there():
    """Read, not imported: some need TensorFlow, some torch."""
    for check in CHECKS:
        module, function = check.function.split(":")
        with open(os.path.join(os.path.dirname(journal.__file__), f"{module}.py"), encoding="utf-8") as file:
            assert f"\ndef {function}(place" in file.read(), check
    assert len({check.name for check in CHECKS}) == len(CHECKS)


def test_the_share_of_peak_counts_what_training_multiplies():
    # 4.089 G multiplications, two operations each, three passes: 24.5 TFLOP/s at 1000 pictures/s.
    assert peak.share_of_peak("NVIDIA A100-SXM4-40GB", "bfloat16", "resnet50", 1000) == pytest.approx(
        24.534 / 312, rel=1e-3
    )
    assert peak.share_of_peak("NVIDIA H100 PCIe", "tf32", "resnet50", 1000) == pytest.approx(24.534 / 378, rel=1e-3)
    assert peak.share_of_peak("Tesla T4", "tf32", "resnet50", 1) is None
    assert peak.told("Some GPU", "float32", 10.0)["words"] == "10 pictures/s, the card's peak is not in our table"
