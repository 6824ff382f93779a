"""The tutorial: its notebook is made of its page, and every command on it works as written, on a small real set."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
from sklearn.datasets import load_digits

from tests.support.data_set import ROOT

TUTORIAL = os.path.join(ROOT, "classification", "tutorial")


def load_maker():
    spec = importlib.util.spec_from_file_location("make_notebook", os.path.join(TUTORIAL, "make_notebook.py"))
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    return maker


def page():
    with open(os.path.join(TUTORIAL, "README.md"), encoding="utf-8") as file:
        return file.read()


def test_the_notebook_is_made_of_the_page():
    made = load_maker().notebook(page())
    with open(os.path.join(TUTORIAL, "tutorial.ipynb"), encoding="utf-8") as file:
        assert json.load(file) == made, "`make tutorial` brings it up to date"
    code = ["".join(cell["source"]) for cell in made["cells"] if cell["cell_type"] == "code"]
    assert len(code) == 6 and all("!python3" in source or "PICTURES" in source or source == "%cd .." for source in code)


@pytest.fixture
def checkout(tmp_path):
    """The commands in a checkout of their own, so that nothing is left in this one."""
    root = tmp_path / "checkout"
    shutil.copytree(os.path.join(ROOT, "classification"), root / "classification")
    for name in ("webvision", "resnet_model.py", "imagenet5k.py", "utils"):
        (root / name).symlink_to(os.path.join(ROOT, name))
    return root


def handwriting(folder, classes=("six", "nine"), each=8):
    """Handwritten digits (scikit-learn's, from real forms) in a folder for each class."""
    digits = load_digits()
    for name, number in zip(classes, (6, 9)):
        (folder / name).mkdir(parents=True)
        for i, picture in enumerate(digits.images[digits.target == number][:each]):
            large = cv2.resize((255 - 15 * picture).astype(np.uint8), (64, 64), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(folder / name / f"{i}.png"), large)
    return folder


def test_every_command_of_the_page_works(checkout, tmp_path):
    commands = [source for kind, source in load_maker().cells(page()) if kind == "code"]
    commands = [source.replace("--epochs 100", "--epochs 1") for source in commands]  # the only change: time
    environment = {**os.environ, "PICTURES": str(handwriting(tmp_path / "digits")), "CUDA_VISIBLE_DEVICES": "-1"}
    script = "set -euo pipefail\npython3() { " + f'"{sys.executable}"' + ' "$@"; }\n' + "\n".join(commands)
    done = subprocess.run(
        ["bash", "-c", script], cwd=checkout / "classification", env=environment, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    run = checkout / "classification" / "snapshots" / "bees-and-ants"
    answers = json.loads((checkout / "classification" / "inference_result.json").read_text())
    assert len(answers) == 16 and {label for _, label in answers[0]["0_0"]} == {"six", "nine"}
    by_onnx = json.loads((checkout / "classification" / "onnx_result.json").read_text())
    assert [a["0_0"][0][1] for a in by_onnx] == [a["0_0"][0][1] for a in answers]
    assert (run / "report.html").exists() and (run / "chosen.json").exists()
    assert "16 images of 2 classes" in done.stdout
