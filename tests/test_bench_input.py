"""bench_input.py: where the pipelines of other projects are looked for and run, and what they must deliver."""

import os
import sys

import pytest

from benchmarks import bench_input
from tests.support.loader_fixtures import make_tree

TORCH = """
import pathlib
import types
import numpy

class DataLoader:
    def __init__(self, dataset, batch_size, **options):
        pathlib.Path(__file__).with_name("used").touch()
        self.batch = [numpy.zeros((batch_size, 224, 224, 3), numpy.{dtype}), numpy.zeros(batch_size)]

    def __iter__(self):
        while True:
            numpy.random.rand(10_000_000)           # CPU time to be measured
            yield self.batch

utils = types.SimpleNamespace(data=types.SimpleNamespace(DataLoader=DataLoader))
"""


def interpreter(folder, modules, options=""):
    """A Python of its own that has `modules`, {name: source}."""
    for name, source in modules.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(source)
    path = folder / "python"
    path.write_text(f'#!/bin/sh\nPYTHONPATH="{folder}" exec "{sys.executable}" {options} "$@"\n')
    path.chmod(0o755)
    return str(path)


def test_extras_run_where_they_are_installed_and_the_others_are_named(tmp_path, monkeypatch, capsys):
    without_site_packages = interpreter(tmp_path / "project", {"numpy": ""}, "-S")
    other = interpreter(tmp_path / "other", {"numpy": "", "ffcv": "", "PIL": ""}, "-S")
    monkeypatch.setattr(sys, "executable", without_site_packages)
    chosen = bench_input.choose(bench_input.parse_args(["--extras-python", other]))
    assert chosen["FFCV, no colours"] == other and chosen["ours"] == without_site_packages
    assert "DALI" not in chosen and "torch DataLoader and Pillow" not in chosen
    said = capsys.readouterr().err
    assert "DALI: left out, not installed" in said and "FFCV" not in said


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_an_extra_is_measured_in_its_own_python_if_its_batches_are_ours(tmp_path, capsys, dtype):
    python = interpreter(tmp_path / "other", {"torch": TORCH.format(dtype=dtype), "PIL": ""})
    data = make_tree(tmp_path / "set", count=10)
    bench_input.main(
        [
            "--data",
            str(data),
            "--work",
            str(tmp_path / "work"),
            "--extras-python",
            python,
            "--only",
            "Pillow",
            "--batch",
            "4",
            "--seconds",
            "0.01",
            "--rounds",
            "1",
        ]
    )
    out, err = capsys.readouterr()
    assert os.path.exists(tmp_path / "other" / "torch" / "used")
    if dtype == "uint8":
        assert "| torch DataLoader and Pillow |" in out
    else:
        assert "| torch" not in out and "does not start here: ValueError: batches are float32 (4, 224, 224, 3)" in err


@pytest.mark.parametrize("python, problem", [("nowhere/python", "No such file"), (None, "No module named 'numpy'")])
def test_a_python_that_cannot_serve_is_refused(tmp_path, python, problem):
    python = python or interpreter(tmp_path, {}, "-S")
    with pytest.raises(bench_input.UsageError, match=problem):
        bench_input.choose(bench_input.parse_args(["--extras-python", python]))
