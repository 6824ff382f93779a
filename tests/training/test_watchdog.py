"""T5: what hangs is ended with exit code 10, and everybody's stacks are told."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.support import tiny_run
from webvision import faults

SLEEPER = """
import os, subprocess, sys, time
from webvision import watchdog
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
with watchdog.watch(0.5, folder=sys.argv[1]):
    %s
print("done", flush=True)
os.kill(child.pid, 9)
"""


def run(body, folder, **options):
    return subprocess.Popen(
        [sys.executable, "-c", SLEEPER % body, str(folder)],
        cwd=tiny_run.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_a_hang_ends_the_process_and_its_children_and_tells_the_stacks(tmp_path):
    process = run("watchdog.reach('saving'); time.sleep(60)", tmp_path)
    child = int(process.stdout.readline())
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 10
    assert "no progress for 0 s (saving)" in errors or "no progress for 1 s (saving)" in errors
    assert f"child process {child}: state S" in errors and 'File "<string>", line' in errors
    assert (tmp_path / "hang.log").read_text().count("Thread 0x") >= 2
    try:
        with open(f"/proc/{child}/stat") as stat:
            assert stat.read().split()[2] == "Z", "nobody may be left but a name for init to remove"
    except FileNotFoundError:
        pass


@pytest.mark.parametrize(
    "body",
    [
        "[(time.sleep(0.2), watchdog.reach('step')) for _ in range(8)]",  # slow, but it moves
        "[(watchdog.reach('step'), time.sleep(t)) for t in (0.3, 0.3, 0.8, "
        "0.1)]",  # not slower than thrice what it took before
    ],
)
def test_what_moves_is_left_alone(tmp_path, body):
    process = run(body, tmp_path)
    out, errors = process.communicate(timeout=30)
    assert process.returncode == 0 and out.endswith("done\n"), errors


def test_time_in_which_the_process_was_stopped_is_no_hang(tmp_path):
    process = run("print('in', flush=True); time.sleep(0.2); watchdog.reach('step'); time.sleep(0.2)", tmp_path)
    process.stdout.readline()
    assert process.stdout.readline() == "in\n"
    process.send_signal(signal.SIGSTOP)
    time.sleep(1.5)
    process.send_signal(signal.SIGCONT)
    out, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors


@pytest.mark.parametrize(
    "args, fault, left",
    [(["--workers", "1"], "step:3:hang", "hang.log"), (["--workers", "0"], "validate:2:hang", "hang.log")],
)
def test_a_training_that_hangs_ends_and_goes_on_from_what_is_saved(tiny_data, tmp_path, args, fault, left):
    command = [
        sys.executable,
        "tests/support/tiny_run.py",
        *tiny_run.ARGS,
        "--data",
        tiny_data,
        "--out",
        tmp_path,
        "--batch",
        "6",
        "--hang-limit",
        "4",
        *args,
    ]
    done = subprocess.run(
        command,
        cwd=tiny_run.ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, faults.VARIABLE: fault, "CUDA_VISIBLE_DEVICES": "-1"},
    )
    assert done.returncode == 10, done.stderr
    assert "faults.py" in done.stderr and "EnqueueThread" not in done.stdout
    if "1" in args:
        assert "worker.py" in done.stderr, "the loader's process tells its stack as well"
    assert (tmp_path / "run" / left).exists()


def test_an_evaluation_that_hangs_ends_and_leaves_no_file(tiny_data, tmp_path, train):
    train()
    with subprocess.Popen(
        [
            sys.executable,
            "tests/support/tiny_run.py",
            "--eval",
            "--data",
            tiny_data,
            "--load",
            train.folder,
            "--out",
            tmp_path / "predictions.json",
            "--workers",
            "0",
            "--hang-limit",
            "3",
        ],
        cwd=tiny_run.ROOT,
        env={**os.environ, faults.VARIABLE: "predict:1:hang", "CUDA_VISIBLE_DEVICES": "-1"},
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.wait(60) == 10
    assert not (tmp_path / "predictions.json").exists()
