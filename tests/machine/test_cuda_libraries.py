"""The CUDA libraries are found where wheels put them, before TensorFlow looks."""

import json

import pytest

from tests.support.cuda_wheels import write_wheels
from webvision.machine.cuda_libraries import LIBRARIES, open_libraries

# What a machine with a GPU does on import; TensorFlow's own check then answers.
CHECK = """
import json, sys
from webvision import devices
devices.installed_gpus = lambda: 1
from webvision.compat import CUDA_LIBRARIES
from webvision.machine import cuda_libraries, tensorflow_check
print(json.dumps({"ok": tensorflow_check.finds_cuda_libraries(), "paths": [library.path for library in CUDA_LIBRARIES],
                  "missing": [library.name for library in cuda_libraries.missing(CUDA_LIBRARIES)]}))
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    return write_wheels(tmp_path_factory.mktemp("site-packages"))


def opened(run, folders, environment=()):
    """What `open_libraries` does in a process of its own: what it opens stays open."""
    code = f"""
import json
from webvision.machine.cuda_libraries import open_libraries, missing
libraries = open_libraries({[str(folder) for folder in folders]!r}, environment={dict(environment)!r})
print(json.dumps([[library.name, library.path, library.error] for library in libraries]))
"""
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_tensorflow_finds_its_libraries_where_there_is_a_gpu(run, wheels):
    done = run("-c", CHECK, env={"PYTHONPATH": str(wheels), "CUDA_VISIBLE_DEVICES": "0", "LD_LIBRARY_PATH": ""})
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["ok"] is True and answer["missing"] == []
    assert all(path.startswith(str(wheels)) for path in answer["paths"])


def test_a_library_that_is_missing_is_named_and_the_others_are_opened(run, tmp_path):
    write_wheels(tmp_path, without=["libcudnn.so.9"])
    found = {name: (path, error) for name, path, error in opened(run, [tmp_path / "nvidia"])}
    assert found["libcusolver.so.11"][0].startswith(str(tmp_path))
    path, error = found["libcudnn.so.9"]
    assert path == "the system's" or "libcudnn.so.9" in error


def test_a_library_cut_short_is_named(run, tmp_path):
    write_wheels(tmp_path)
    cut = tmp_path / "nvidia" / "cufft" / "lib" / "libcufft.so.11"
    cut.write_bytes(cut.read_bytes()[:200])
    errors = {name: error for name, _, error in opened(run, [tmp_path / "nvidia"]) if error}
    assert list(errors) == ["libcufft.so.11"] and str(cut) in errors["libcufft.so.11"]


def test_nothing_is_opened_without_wheels_or_where_the_library_path_serves(run, wheels):
    assert open_libraries([]) == [] and open_libraries(["/nowhere"]) == []
    whole = ":".join(str(wheels / "nvidia" / folder / "lib") for _, folder, _ in LIBRARIES)
    assert opened(run, [wheels / "nvidia"], {"LD_LIBRARY_PATH": whole}) == []
    partly = str(wheels / "nvidia" / "cudnn" / "lib")
    assert len(opened(run, [wheels / "nvidia"], {"LD_LIBRARY_PATH": partly})) == len(LIBRARIES)


@pytest.mark.parametrize(
    "installed, visible, opens", [(0, None, False), (1, "-1", False), (1, "", False), (2, "1", True)]
)
def test_a_process_that_may_use_no_gpu_opens_nothing(monkeypatch, installed, visible, opens):
    from webvision import devices

    monkeypatch.setattr(devices, "installed_gpus", lambda: installed)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert devices.gpus_visible() is opens
