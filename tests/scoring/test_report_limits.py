"""What a report takes from a stranger's file, and what a command that ended early leaves and says."""

import subprocess
import sys

import numpy as np
import pytest

from tests.support.data_set import ROOT
from webvision.commands import report
from webvision.errors import DataError
from webvision.scoring.predictions.file import PredictionWriter
from webvision.scoring.report.report import build_report


def write(path, classes):
    with PredictionWriter(path, {"classes": {"count": classes}}) as writer:
        writer.write(["a.jpg"], [0], np.array([[1, 0]]), np.array([[0.6, 0.4]]))
    return str(path)


def test_a_number_of_classes_out_of_the_blue_is_refused(tmp_path):
    with pytest.raises(DataError, match="speaks of 1,048,576 classes"):
        build_report([write(tmp_path / "p.json", 1 << 20)])
    text = (tmp_path / "p.json").read_text().replace(str(1 << 20), str(1 << 24))
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(DataError, match="classes.count is int 16777216"):
        build_report([str(tmp_path / "p.json")])


def test_what_killed_reports_left_goes_with_the_next(tmp_path):
    path = write(tmp_path / "p.json", 2)
    (tmp_path / ".r.html.abcdefgh.tmp").write_text("half")
    report.main([path, "--out", str(tmp_path / "r.html")])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["p.json", "r.html"]


def test_an_interrupt_while_a_command_still_imports_is_one_line():
    code = "from webvision.environment import use_project_environment as use; use(); raise KeyboardInterrupt"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == -2 and done.stderr == "-c: error: interrupted\n"
