"""Which versions run here: the packages, against those that this project is tested with, and the checkout's own.

Reads metadata, imports none of them.
"""

import contextlib
import importlib.metadata
import subprocess

from webvision.environment import ROOT
from webvision.errors import UsageError

# What the pins in pyproject.toml were tested with; a newer patch release of the same minor version is welcome.
SUPPORTED = {
    "tensorflow": ((2, 21), (2, 22)),
    "tf_keras": ((2, 21), (2, 22)),
    "tensorpack": ((0, 11), (0, 12)),
    "numpy": ((2, 0), (3, 0)),
}
OPENCV_WHEELS = ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python")
OPENCV_SUPPORTED = ((4, 10), (6, 0))  # 4.10 is the first built for NumPy 2


def installed_version(name):
    """The version of an installed distribution, or None; reads metadata only, so nothing is imported."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(name)
    return None


def check_versions(version_of=installed_version):
    """Raise UsageError with one line for the first package that is missing or of an untested version."""
    for name, (low, high) in SUPPORTED.items():
        _check_version(name, version_of(name), low, high)
    opencv = next((name for name in OPENCV_WHEELS if version_of(name)), OPENCV_WHEELS[0])
    _check_version(opencv, version_of(opencv), *OPENCV_SUPPORTED)


def _check_version(name, version, low, high):
    wanted = f"{'.'.join(map(str, low))} or newer, below {'.'.join(map(str, high))}"
    if version is None:
        raise UsageError(f"{name} is not installed ({wanted} is needed); run `make setup`")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if not low <= numbers < high:
        raise UsageError(f"{name} {version} is installed; this project is tested with {wanted}; run `make setup`")


def git_revision():
    """The checkout's revision, with '+' if files differ from it; None outside a git checkout."""
    try:
        revision = subprocess.run(
            ["git", "-C", ROOT, "describe", "--always", "--dirty=+", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return revision.stdout.strip()
