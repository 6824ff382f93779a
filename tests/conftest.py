"""What every test may ask for by name; the fixtures of a room are in tests/support/."""

import itertools
import os
import signal
import subprocess
import sys
import types

import pytest

from tests.support.data_set import ROOT, write_data_set

pytest_plugins = ["tests.support.index_fixtures", "tests.support.training_fixtures", "tests.support.browser"]

# The tests are about the CPU, on every machine: what needs a GPU is `make gpu-check`.
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

# A shell that starts the tests in the background has them ignore Ctrl-C, nohup a hang-up, and every command that they
# start would ignore them too.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory):
    return write_data_set(tmp_path_factory.mktemp("data"))


@pytest.fixture
def run():
    """Run `python ARGS` from the project's root, or from `cwd`; returns the finished process with text output."""

    def run(*args, cwd=ROOT, env=None, timeout=240):
        return subprocess.run(
            [sys.executable, *map(str, args)],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            text=True,
            capture_output=True,
            timeout=timeout,
        )

    return run


@pytest.fixture
def hurried_progress(monkeypatch):
    """A minute passes between any two looks of a progress display at the clock, so that every one of them shows."""
    from webvision import progress

    moments = itertools.count(0, 60)
    monkeypatch.setattr(progress, "time", types.SimpleNamespace(monotonic=lambda: next(moments)))


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable(report):
    """What a test printed goes from one process to another as UTF-8; some tests print names that are none."""
    return _as_utf8((yield))


def _as_utf8(value):
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {_as_utf8(key): _as_utf8(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_as_utf8, value))
    return value
