"""objectnet/: the challenge's documented commands and files. With a real PyTorch model: tests/torch/."""

import csv
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.challenges.test_objectnet_eval import draw_png
from tests.support.data_set import ROOT
from tests.support.model_fixtures import numpy_model
from tests.support.objectnet_fixtures import EXPECTED, write_mappings
from webvision.challenges.objectnet import evaluate as run
from webvision.errors import UsageError
from webvision.inference import torch_model

FOLDER = os.path.join(ROOT, "objectnet")


@pytest.fixture
def images(tmp_path):
    for number in range(5):
        draw_png(str(tmp_path / "input" / "images" / f"{number}.png"), number, size=(240 + 20 * number, 260))
    (tmp_path / "output").mkdir()
    write_mappings(tmp_path / "mapping_files")
    return tmp_path / "input" / "images"


def command(*args, cwd, **variables):
    return subprocess.run(
        [sys.executable, os.path.join(FOLDER, "objectnet_eval.py"), *map(str, args)],
        cwd=cwd,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_without_torch_the_documented_command_says_in_one_line_what_to_do(images, tmp_path):
    (tmp_path / "none").mkdir()  # whatever this Python has installed, torch is not there
    (tmp_path / "none" / "torch.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n"
    )
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "ig_resnext101_32x48-3e41cc8a.pth").write_bytes(b"")
    done = command(cwd=tmp_path, PYTHONPATH=str(tmp_path / "none"))  # its defaults: everything as the text has it
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "resnext101_32x48d_wsl is a PyTorch model" in done.stderr and "pip install torch" in done.stderr
    assert not (tmp_path / "output" / "predictions.csv").exists()


def test_a_model_file_of_its_own_runs_from_the_folder_too(images, tmp_path):
    (tmp_path / "mine.py").write_text(numpy_model("objectnet"))
    np.savez(tmp_path / "w.npz", w=np.random.default_rng(5).standard_normal((3, 1000)).astype(np.float32))
    done = command("input/images", "output/predictions.csv", "mine.py", "w.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "output" / "predictions.csv", newline="") as file:
        assert [row[0] for row in csv.reader(file)] == [f"{number}.png" for number in range(5)]


def test_what_is_defined_is_told_from_the_text_without_running_it(tmp_path):
    (tmp_path / "model_description.py").write_text(
        "import torch\nfrom elsewhere import borrowed as here\nclass Net: pass\ndef made(): pass\nother = Net\n1 / 0\n"
    )
    for name in ("here", "Net", "made", "other"):
        assert torch_model.describes(tmp_path, name)
    assert not torch_model.describes(tmp_path, "borrowed") and not torch_model.describes(tmp_path / "no", "Net")
    (tmp_path / "model_description.py").write_text("def f(:\n")
    with pytest.raises(UsageError, match=r"model_description.py:1: "):
        torch_model.describes(tmp_path, "Net")


@pytest.mark.parametrize(
    "text, preset",
    [('PRESET = "webvision"\n', "webvision"), ("class data_transform: pass\n", None), ("PRESET = 'x'\n", UsageError)],
)
def test_the_second_file_says_who_prepares_the_pictures(text, preset, tmp_path):
    (tmp_path / "data_transform_description.py").write_text(text)
    if preset is UsageError:
        with pytest.raises(UsageError, match="neither a class data_transform nor PRESET = one of 'webvision'"):
            torch_model.find_torch_model(tmp_path, "net")
    else:
        found = torch_model.find_torch_model(tmp_path, "net").preset
        assert (found and found.name) == preset


def test_the_files_of_the_checkout_are_of_that_form():
    assert torch_model.describes(os.path.join(FOLDER, "model"), "resnext101_32x48d_wsl")
    assert torch_model.find_torch_model(os.path.join(FOLDER, "model"), "x").preset.name == "objectnet"


@pytest.mark.parametrize("batch, workers", [(2, 1), (5, 3)])
def test_whole_pictures_come_in_order_without_their_border(batch, workers, images, tmp_path):
    (images / "2.png").write_bytes(b"\x89PNG\r\n\x1a\nrest")
    shapes = []

    def predict(pictures):
        pictures = list(pictures)
        shapes.extend(picture.shape for picture in pictures)
        assert all((picture[0, 0] != (255, 0, 0)).any() for picture in pictures)
        return np.stack([np.eye(1000)[picture.shape[1] % 7] for picture in pictures])

    counts = run.evaluate(
        run.find_pictures(images),
        str(tmp_path / "p.csv"),
        predict,
        preset=None,
        mapping=EXPECTED,
        batch=batch,
        workers=workers,
    )
    assert counts == (5, 1)
    assert [shape[:2] for row, shape in enumerate(shapes) if row != 2] == [
        (256, 236 + 20 * row) for row in range(5) if row != 2
    ]
    rows = list(csv.reader(open(tmp_path / "p.csv", newline="")))
    assert rows[2] == ["2.png", *["-1", "0.0"] * 5]
    assert [int(row[1]) for row in rows] == [
        -1 if row == 2 else EXPECTED.get((236 + 20 * row) % 7, -1) for row in range(5)
    ]


def test_the_container_of_a_pytorch_class_brings_its_files_and_its_packages(tmp_path):
    project = tmp_path / "project"
    shutil.copytree(FOLDER, project / "objectnet")
    os.makedirs(project / "utils")
    shutil.copy(os.path.join(ROOT, "utils", "build_submission.sh"), project / "utils")
    (tmp_path / "w.pth").write_bytes(b"x")
    write_mappings(project / "objectnet" / "mapping_files")

    def build(*args):
        return subprocess.run(
            [project / "objectnet" / "build-docker-submission.sh", "--dry-run", *args],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
        )

    flags = ["-n", "resnext101_32x48d_wsl", "-c", "w.pth", "-i", "me/x"]
    assert "needs PyTorch: -r FILE" in build(*flags).stderr
    (tmp_path / "r.txt").write_text("torch==2.13.0\n")
    assert "no hashes in it" in build(*flags, "-r", "r.txt").stderr
    (tmp_path / "r.txt").write_text("torch==2.13.0 --hash=sha256:00\n")
    done = build(*flags, "--requirements=r.txt")
    assert done.returncode == 0 and "MODEL_CLASS_NAME=resnext101_32x48d_wsl" in done.stdout, done.stderr
    context = project / "build" / "submission"
    assert sorted(os.listdir(context / "model")) == ["data_transform_description.py", "model_description.py"]
    assert {"requirements.txt", "w.pth"} <= set(os.listdir(context)) and os.listdir(context / "mappings")
