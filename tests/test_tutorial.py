"""docs/tutorials/first-run.md, typed command by command; what it says is there afterwards."""

import os
import subprocess
import sys
import zipfile

from tests.support.documents import blocks, checkout


def test_the_first_tutorial_ends_in_a_submission(tmp_path):
    python = tmp_path / "bin" / "python3"  # the reader's python3 is this one
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    folder = tmp_path / "checkout"
    folder.mkdir()
    checkout(folder)
    env = {**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}", "CUDA_VISIBLE_DEVICES": ""}
    for block in blocks("docs/tutorials/first-run.md", "bash", "run"):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block], cwd=folder, env=env, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    for name in ("demo/data/check/imbalance.png", "train_log/first/best.json", "train_log/report.html"):
        assert (folder / name).stat().st_size > 0, name
    with zipfile.ZipFile(folder / "train_log" / "submission.zip") as archive:
        assert len(archive.read("predictions.txt").splitlines()) == 120
