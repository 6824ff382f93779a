"""Packages and their versions, TensorFlow's start, the JPEG decoder."""

import os
import platform
import subprocess
import sys

from webvision.doctor.findings import BAD, GOOD, NOTE, Finding
from webvision.environment import ROOT
from webvision.errors import UsageError
from webvision.machine.versions import OPENCV_WHEELS, SUPPORTED, check_versions, installed_version

START_LIMIT = 120  # seconds; from a cold network drive it takes a minute


def look():
    """Findings about what is installed."""
    return [_python(), _packages(), _decoder()]


def _python():
    system = f"{platform.system()} {platform.machine()}, C library {platform.libc_ver()[1]}"
    found = f"Python {platform.python_version()}, {system}"
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Finding("python", GOOD, found)
    return Finding("python", BAD, found, "3.11, 3.12 or 3.13 is needed: make setup PYTHON=python3.11")


def _packages():
    names = [*SUPPORTED, next((name for name in OPENCV_WHEELS if installed_version(name)), OPENCV_WHEELS[0])]
    found = ", ".join(f"{name} {installed_version(name) or 'missing'}" for name in names)
    try:
        check_versions()
    except UsageError as error:
        return Finding("packages", BAD, found, str(error))
    return Finding("packages", GOOD, found)


def _decoder():
    from webvision.data.pictures import decode

    path = decode.describe()
    if path.startswith("window"):
        return Finding("decoder", GOOD, path)
    return Finding("decoder", NOTE, path, "install a C compiler and libjpeg-turbo's headers, then `make setup`")


def tensorflow_start(gpus):
    """Start TensorFlow in a process of its own, and ask it for `gpus` GPUs: what a training would meet."""
    code = f"from webvision.model.session import require_gpus; require_gpus({gpus})"
    program = f"from webvision import errors\ndef main():\n    {code}\nerrors.run_command(main)"
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", program],
            env={**os.environ, "PYTHONPATH": ROOT},
            text=True,
            capture_output=True,
            timeout=START_LIMIT,
        )
    except subprocess.TimeoutExpired:
        return Finding("tensorflow", BAD, f"does not start within {START_LIMIT} s", "is the disk with .venv that slow?")
    if done.returncode == 0:
        return Finding("tensorflow", GOOD, f"starts, and offers {gpus} GPUs" if gpus else "starts, on the CPU")
    words = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return Finding("tensorflow", BAD, "does not start as it should", words[-1].removeprefix("-c: error: "))
