"""sotabench.py, its requirements and set-up, on a miniature ImageNet."""

import io
import json
import os
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image

from tests.support import sotabench_fixtures
from tests.support.data_set import ROOT
from tests.support.model_fixtures import numpy_model
from tests.support.sotabench_fixtures import devkit, synsets
from webvision.challenges.sotabench import ilsvrc


@pytest.fixture(autouse=True)
def no_server(monkeypatch, tmp_path):
    sotabench_fixtures.leave_server(monkeypatch, tmp_path)


@pytest.fixture
def imagenet(tmp_path):
    """ILSVRC2012_img_val.tar with 30 JPEGs, the devkit for them, and a model; labels are what the model says, or
    not."""
    rng = np.random.default_rng(3)
    table = synsets(12)
    order = sorted(row["WNID"] for row in table[:12, 0])
    number_of = {order.index(row["WNID"]): int(row["ILSVRC2012_ID"]) for row in table[:12, 0]}
    weights = rng.standard_normal((3, 12)).astype(np.float32)
    truth = []
    with tarfile.open(tmp_path / "ILSVRC2012_img_val.tar", "w") as archive:
        for number in range(1, 31):
            margin = 0
            while margin < 0.3:  # JPEG changes the colour a little
                colour = rng.integers(0, 256, 3)
                logits = (colour / 255.0 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225) @ weights
                margin = -np.subtract(*np.sort(logits)[-2:])
            data = io.BytesIO()
            Image.new("RGB", (300 + number, 260), tuple(map(int, colour))).save(data, "JPEG", quality=95)
            info = tarfile.TarInfo(f"ILSVRC2012_val_{number:08d}.JPEG")
            info.size = data.tell()
            archive.addfile(info, io.BytesIO(data.getvalue()))
            best = int(np.argmax(logits))
            truth.append(number_of[best if number % 3 else (best + 1) % 12])
    devkit(tmp_path / ilsvrc.DEVKIT, table, truth)
    (tmp_path / "model.py").write_text(numpy_model("sotabench"))
    np.savez(tmp_path / "weights.npz", w=weights)
    return tmp_path


def sotabench_command(folder, *args, **env):
    env = {**{k: v for k, v in os.environ.items() if not k.startswith("SOTABENCH")}, **env}
    return subprocess.run(
        [
            sys.executable,
            os.path.join(ROOT, "sotabench.py"),
            "--model",
            str(folder / "model.py"),
            "--checkpoint",
            str(folder / "weights.npz"),
            "--gpus",
            "0",
            "--workers",
            "2",
            *map(str, args),
        ],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_root_script_evaluates_the_archive_and_writes_the_result_file(imagenet):
    done = sotabench_command(
        imagenet, "--data", imagenet, "--batch", 7, SOTABENCH_STORE_FILENAME="sotabench_results.json"
    )
    assert done.returncode == 0, done.stderr
    (result,) = json.loads((imagenet / "sotabench_results.json").read_text(encoding="utf-8"))
    assert result == json.loads(done.stdout) and result["model"] == "ResNet-50"
    assert result["results"]["Top 1 Accuracy"] == 20 / 30 and result["speed_mem_metrics"]["Tasks"] == 30


def test_root_script_on_the_server_uses_its_data_and_the_cache(imagenet):
    server = imagenet / ".data" / "vision" / "imagenet"
    server.mkdir(parents=True)
    for name in (ilsvrc.DEVKIT, "ILSVRC2012_img_val.tar"):
        os.rename(imagenet / name, server / name)
    first = sotabench_command(imagenet, "--batch", 8, SOTABENCH_SERVER="true")
    again = sotabench_command(imagenet, "--batch", 10, SOTABENCH_SERVER="true")
    assert first.returncode == again.returncode == 0, first.stderr + again.stderr
    first, second = json.loads(first.stdout), json.loads(again.stdout)
    assert "cached" in again.stderr and second["results"] == first["results"]
    assert second["speed_mem_metrics"]["Tasks"] is None
    np.savez(imagenet / "weights.npz", w=np.load(imagenet / "weights.npz")["w"] * np.float32(1 + 1e-6))
    changed = sotabench_command(imagenet, SOTABENCH_SERVER="true")
    assert "cached" not in changed.stderr and json.loads(changed.stdout)["speed_mem_metrics"]["Tasks"] == 30


def test_a_folder_of_images_gives_the_same_and_unreadable_ones_count_as_wrong(imagenet):
    plain = json.loads(sotabench_command(imagenet, "--data", imagenet).stdout)
    with tarfile.open(imagenet / "ILSVRC2012_img_val.tar") as archive:
        archive.extractall(imagenet / "val" / "n00000000", filter="data")
    os.unlink(imagenet / "ILSVRC2012_img_val.tar")
    folder = json.loads(sotabench_command(imagenet, "--data", imagenet).stdout)
    assert folder["results"] == plain["results"] and folder["run_hash"] == plain["run_hash"]
    bad = imagenet / "val" / "n00000000" / "ILSVRC2012_val_00000001.JPEG"  # its label is right otherwise
    bad.write_bytes(bad.read_bytes()[:300])
    done = sotabench_command(imagenet, "--data", imagenet)
    assert done.returncode == 4 and "ILSVRC2012_val_00000001 (truncated)" in done.stderr
    assert json.loads(done.stdout)["results"]["Top 1 Accuracy"] == 19 / 30
    assert sotabench_command(imagenet, "--data", imagenet, "--max-bad", "0.1").returncode == 0


def test_a_short_archive_a_damaged_one_and_none_are_told(imagenet):
    path = imagenet / "ILSVRC2012_img_val.tar"
    whole = path.read_bytes()
    with tarfile.open(path) as archive:
        inside, between = archive.getmembers()[20].offset_data + 100, archive.getmembers()[20].offset
    for data, code, words in (
        (whole[:inside], 3, "not a whole tar archive"),
        (b"<html>", 3, "not a whole tar archive"),
        (whole[:between], 4, "There are 10 missing image IDs"),
    ):
        path.write_bytes(data)
        done = sotabench_command(imagenet, "--data", imagenet)
        assert done.returncode == code and words in done.stderr and "Traceback" not in done.stderr, done.stderr
    with tarfile.open(path, "w"):
        pass
    done = sotabench_command(imagenet, "--data", imagenet)
    assert done.returncode == 4 and "There are 30 missing image IDs" in done.stderr
    os.unlink(path)
    done = sotabench_command(imagenet, "--data", imagenet)
    assert done.returncode == 3 and "neither ILSVRC2012_img_val.tar nor" in done.stderr


def test_requirements_are_the_pins_of_the_project_and_setup_installs_them(tmp_path):
    import tomllib

    with open(os.path.join(ROOT, "pyproject.toml"), "rb") as file:
        pins = tomllib.load(file)["project"]["dependencies"]
    with open(os.path.join(ROOT, "requirements.txt"), encoding="utf-8") as file:
        listed = [line.strip() for line in file if not line.startswith("#")]
    assert listed == pins
    recorder = tmp_path / "python"
    recorder.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n')
    recorder.chmod(0o755)
    done = subprocess.run(
        ["bash", os.path.join(ROOT, "sotabench_setup.sh")],
        cwd="/",
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHON": str(recorder)},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "calls").read_text() == (
        "-I -m pip install --disable-pip-version-check --quiet --only-binary :all: -r requirements.txt\n"
        "sotabench.py --help\n"
    )
