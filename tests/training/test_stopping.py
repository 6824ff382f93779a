"""T2, G3: what a signal does at every stage, and what a terminal that goes away does not."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.support import tiny_run
from tests.support.training_fixtures import STEPS, at
from webvision import faults
from webvision.errors import Interrupted
from webvision.training.state.stopping import StopRequest


@pytest.mark.parametrize(
    "fault, number, saved",
    [
        ("start:1", signal.SIGTERM, []),
        ("step:3", signal.SIGHUP, [3]),
        ("save:1", signal.SIGUSR1, [4]),
        ("validate:1", signal.SIGINT, [4]),
    ],
)
def test_a_signal_at_any_stage_leaves_what_the_same_command_continues(train, undisturbed, fault, number, saved):
    point, count = fault.split(":")
    with pytest.raises(Interrupted, match=f"ended by {number.name}.*the same command continues") as end:
        train(fault=at(point, int(count), lambda: os.kill(os.getpid(), number)))
    assert end.value.exit_code == 128 + number
    assert (train.steps() if saved else []) == saved
    train()
    assert train.weights() == undisturbed.weights()
    assert train.epochs() == [(1, 4), (2, STEPS)]


def test_the_exit_code_can_be_what_a_queue_takes_for_come_again(train):
    with pytest.raises(Interrupted) as end:
        train("--requeue-code", "85", fault="step:2:term")
    assert end.value.exit_code == 85


def test_handlers_are_given_back_and_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup leaves it
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGTERM) == stop._remember
            stop.heed("never")
        assert signal.getsignal(signal.SIGTERM) != stop._remember
    finally:
        signal.signal(signal.SIGHUP, before)


def start(data, out, *flags, fault="", **pipes):
    return subprocess.Popen(
        [sys.executable, "tests/support/tiny_run.py", *tiny_run.ARGS, "--data", data, "--out", out, *flags],
        cwd=tiny_run.ROOT,
        env={**os.environ, faults.VARIABLE: fault, "CUDA_VISIBLE_DEVICES": "-1"},
        **pipes,
    )


def test_a_second_interrupt_ends_at_once_what_hangs(tiny_data, tmp_path):
    run = start(tiny_data, tmp_path, fault="step:3:hang", stderr=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        while "[2/4]" not in run.stdout.readline():  # it hangs in the next step
            assert run.poll() is None
        time.sleep(0.5)
        run.send_signal(signal.SIGINT)
        time.sleep(0.5)
        run.send_signal(signal.SIGINT)
        assert run.wait(5) == 130
    finally:
        run.kill()
        run.wait()


def test_a_terminal_that_goes_away_does_not_end_the_run(undisturbed, tiny_data, tmp_path):
    run = start(tiny_data, tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    run.stdout.readline()
    run.stdout.close()
    run.stderr.close()
    assert run.wait(120) == 0
    assert undisturbed.weights(tmp_path / "run") == undisturbed.weights()


def test_a_bare_environment_is_enough(undisturbed, tiny_data, tmp_path):  # G2
    gone = tmp_path / "gone"
    gone.mkdir()
    bare = {"PATH": os.environ["PATH"], "LANG": "C", "TMPDIR": "/nonexistent", "CUDA_VISIBLE_DEVICES": "-1"}
    script = os.path.join(tiny_run.ROOT, "tests", "support", "tiny_run.py")
    run = subprocess.run(
        [sys.executable, script, *tiny_run.ARGS, "--data", tiny_data, "--out", tmp_path],
        env=bare,
        cwd=gone,
        preexec_fn=lambda: (os.umask(0o077), os.rmdir(gone)),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    assert undisturbed.weights(tmp_path / "run") == undisturbed.weights()
