"""`make setup` installs what the machine can use, and changes over when it changes."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.support.data_set import ROOT
from tests.support.driver import nvml_library
from webvision.machine.choose_lock import choose
from webvision.machine.nvml import Gpu, Machine

GPU = Gpu(0, "Tesla T4", "GPU-1a", (7, 5), 16 << 30, 0, (), False, ())
GOOD = Machine("550.54.15", (12, 4), (GPU,))
OLD = replace(GOOD, driver="470.82.01", cuda=(11, 4))


@pytest.mark.parametrize(
    "override, driver, kind, words",
    [
        ("", None, "cpu", ""),
        ("", GOOD, "gpu", ""),
        ("", replace(GOOD, gpus=()), "cpu", ""),
        ("0", GOOD, "cpu", ""),
        ("1", None, "gpu", ""),
        ("1", OLD, "gpu", ""),
        (
            "",
            OLD,
            "cpu",
            "driver 470.82.01 runs CUDA up to 11.4, and the libraries in requirements-gpu.lock are CUDA 12",
        ),
        ("", "Driver/library version mismatch", "gpu", "does not answer (Driver/library version mismatch)"),
        ("yes", GOOD, "cpu", "GPU=yes is neither 0 nor 1"),
    ],
)
def test_the_packages_follow_from_the_driver_unless_told(override, driver, kind, words):
    chosen, remark = choose(override, driver)
    assert chosen == kind and (words in remark if words else not remark)


def plan(venv, *variables, library_path=""):
    """What `make setup` would do, and what it says of it."""
    make = shutil.which("make")
    environment = {**os.environ, "LD_LIBRARY_PATH": library_path}
    environment.pop("MAKEFLAGS", None)
    done = subprocess.run(
        [make, "-n", "setup", f"VENV={venv}", f"PYTHON={sys.executable}", *variables],
        cwd=ROOT,
        env=environment,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    return re.findall(r"-r (\S+)", done.stdout), done.stderr


def test_make_setup_installs_for_the_machine_and_changes_over_with_it(tmp_path):
    cpu, both = ["requirements.lock"], ["requirements.lock", "requirements-gpu.lock"]
    venv, driver = tmp_path / "venv", nvml_library(tmp_path / "driver").parent
    venv.mkdir()
    assert plan(venv, "GPU=0") == (cpu, "") and plan(venv, "GPU=1") == (both, "")
    assert plan(venv, library_path=str(driver)) == (both, "")
    (venv / ".installed-cpu").write_text("")
    assert plan(venv, "GPU=0")[0] == [], "it is installed"
    assert plan(venv, library_path=str(driver))[0] == both, "the machine got a GPU"
    old = nvml_library(tmp_path / "old", cuda=11040, driver="470.82.01").parent
    installs, said = plan(venv, library_path=str(old))
    assert installs == [] and "driver 470.82.01 runs CUDA up to 11.4" in said


def test_both_locks_pin_the_same_versions():
    """They are installed together where a GPU is."""
    pins = []
    for name in ("requirements.lock", "requirements-gpu.lock"):
        with open(os.path.join(ROOT, name), encoding="utf-8") as lock:
            pins.append(dict(re.findall(r"^([\w.-]+)(?:\[[\w,-]+\])?==(\S+)", lock.read(), re.MULTILINE)))
    common = set(pins[0]) & set(pins[1])
    assert "tensorflow" in common and len(common) > 20
    assert {name: pins[0][name] for name in common} == {name: pins[1][name] for name in common}
