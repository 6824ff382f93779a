"""ObjectNet's documented commands with a real PyTorch model: `make test-torch`, in an environment that has torch."""

import csv
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.data_set import ROOT
from tests.support.objectnet_fixtures import EXPECTED, write_mappings

MODEL = """
import helper_of_mine
import torch

class small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, helper_of_mine.WIDTH, 7, stride=8)
        self.norm = torch.nn.BatchNorm2d(helper_of_mine.WIDTH)
        self.head = torch.nn.Linear(helper_of_mine.WIDTH, 1000)
        print("made")

    def forward(self, x):
        return self.head(self.norm(self.conv(x)).relu().mean((2, 3)))

def text():
    return "no model"

class fails(small):
    def forward(self, x):
        raise KeyError("of mine")

class flat(small):
    def forward(self, x):
        return super().forward(x).sum(1)

def ends():
    import os
    os._exit(7)
"""
TRANSFORM = """
import numpy as np
import torch

class data_transform:
    def getTransform(self):
        return lambda image: torch.from_numpy(np.array(image.resize((64, 48)))).permute(2, 0, 1) / 255
"""


@pytest.fixture
def folder(tmp_path):
    """The checkout's objectnet/ with a model, its checkpoint and five pictures, one of them damaged."""
    for name in ("webvision", "utils", "resnet_model.py"):
        (tmp_path / name).symlink_to(os.path.join(ROOT, name))
    shutil.copytree(os.path.join(ROOT, "objectnet"), tmp_path / "objectnet")
    objectnet = tmp_path / "objectnet"
    (objectnet / "model" / "model_description.py").write_text(MODEL)
    (objectnet / "model" / "helper_of_mine.py").write_text("WIDTH = 6\n")
    torch.manual_seed(3)
    sys.path.append(str(objectnet / "model"))
    try:
        scope = {}
        exec(compile(MODEL, "model", "exec"), scope)
    finally:
        sys.path.pop()
        sys.modules.pop("helper_of_mine", None)
    model = scope["small"]()
    model.train()(torch.randn(8, 3, 64, 64))  # running statistics that are no identity
    torch.save(model.state_dict(), objectnet / "model" / "small.pth")
    images = objectnet / "input" / "images"
    images.mkdir(parents=True)
    (objectnet / "output").mkdir()
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (9, 7, 3), np.uint8)
        Image.fromarray(pixels).resize((250 + 40 * number, 300), Image.BICUBIC).convert("RGBA").save(
            images / f"{number}.png"
        )
    write_mappings(objectnet / "mapping_files")
    return objectnet, model.eval()


def evaluate(folder, *args, name="small"):
    """The documented command line, typed in objectnet/."""
    return subprocess.run(
        [sys.executable, "objectnet_eval.py", "input/images", "output/predictions.csv", name, "model/small.pth", *args],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
    )


def template(model, folder, transform):
    """The rows as the challenge's template makes them: its transform, softmax, topk, mapped ids."""
    rows = []
    for path in sorted((folder / "input" / "images").glob("*.png")):
        image = Image.open(path).convert("RGB")
        image = image.crop((2, 2, image.width - 2, image.height - 2))
        with torch.no_grad():
            confidence, classes = torch.softmax(model(transform(image)[None]), 1).topk(5, 1)
        ids = [EXPECTED.get(place, -1) for place in classes[0].tolist()]
        rows.append([path.name, ids, confidence[0].tolist()])
    return rows


def assert_same(path, expected):
    with open(path, newline="") as file:
        rows = list(csv.reader(file))
    assert [row[0] for row in rows] == [row[0] for row in expected]
    for row, (_, ids, confidences) in zip(rows, expected, strict=True):
        assert [int(i) for i in row[1::2]] == ids
        assert np.allclose([float(c) for c in row[2::2]], confidences, atol=1e-6)


@pytest.mark.parametrize("batch", ["3", "96"])
def test_a_class_and_its_checkpoint_give_the_templates_predictions(folder, batch):
    objectnet, model = folder
    done = evaluate(objectnet, "--batch_size", batch, "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("Done. Number of predictions:  4\n") and "made" in done.stderr
    assert_same(objectnet / "output" / "predictions.csv", template(model, objectnet, challenge))


def challenge(image):
    """Short side to 224, centre 224, ImageNet's mean and deviation: torchvision's transforms, with Pillow alone."""
    short = min(image.size)
    image = image.resize([224 if side == short else int(224 * side / short) for side in image.size], Image.BILINEAR)
    left, top = (int(round((side - 224) / 2.0)) for side in image.size)
    pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32) / 255
    pixels = (pixels - np.float32((0.485, 0.456, 0.406))) / np.float32((0.229, 0.224, 0.225))
    return torch.from_numpy(pixels).permute(2, 0, 1)


def test_a_transform_of_the_users_gets_the_pictures_whole(folder):
    objectnet, model = folder
    (objectnet / "model" / "data_transform_description.py").write_text(TRANSFORM)
    (objectnet / "input" / "images" / "9.png").write_bytes(b"\x89PNG\r\n\x1a\nrest")
    done = evaluate(objectnet, "--batch_size", "2", "--max-bad", "0.5")
    assert done.returncode == 0 and "9.png: not readable" in done.stderr, done.stderr
    written = (objectnet / "output" / "predictions.csv").read_bytes()
    assert written.endswith(b"9.png" + b",-1,0.0" * 5 + b"\r\n")
    (objectnet / "output" / "predictions.csv").write_bytes(b"".join(written.splitlines(True)[:-1]))
    os.unlink(objectnet / "input" / "images" / "9.png")
    scope = {}
    exec(TRANSFORM, scope)
    assert_same(
        objectnet / "output" / "predictions.csv", template(model, objectnet, scope["data_transform"]().getTransform())
    )


@pytest.mark.parametrize("wrapped", ["state_dict", "model", "module."])
def test_checkpoints_as_training_scripts_write_them_load(folder, wrapped):
    objectnet, model = folder
    state = model.state_dict()
    state = {f"module.{key}": value for key, value in state.items()} if wrapped == "module." else {wrapped: state}
    torch.save(state, objectnet / "model" / "small.pth")
    assert evaluate(objectnet).returncode == 0


def code_in_a_checkpoint(path):
    class Runs:
        def __reduce__(self):
            return os.mkdir, (str(path) + ".ran",)

    torch.save({"state_dict": Runs()}, path)


def another_model(path):
    torch.save({"conv.weight": torch.zeros(2), "x": torch.ones(1)}, path)


@pytest.mark.parametrize(
    "name, change, code, words",
    [
        ("small", another_model, 5, "7 missing, 1 unexpected, 1 of"),
        ("small", lambda path: path.write_bytes(b"PK\3\4 cut"), 5, "no state dict of PyTorch"),
        ("small", code_in_a_checkpoint, 5, "no state dict of PyTorch"),
        ("small", lambda path: torch.save([1, 2], path), 5, "holds a list"),
        ("small", os.unlink, 5, "no such checkpoint"),
        ("text", None, 2, "makes a str, not a torch.nn.Module"),
        ("fails", None, 2, "the model fails failed: KeyError: 'of mine'"),
        ("flat", None, 2, "returns a Tensor of shape (4,)"),
        ("ends", None, 7, "ended with exit code 7"),
    ],
)
def test_what_is_wrong_is_one_line(folder, name, change, code, words):
    objectnet, _ = folder
    path = objectnet / "model" / "small.pth"
    if change:
        change(path)
    done = evaluate(objectnet, name=name)
    last = done.stderr.strip().splitlines()[-1] if name != "fails" else done.stderr
    assert done.returncode == code and words in last, done.stderr
    assert not (objectnet / "output" / "predictions.csv").exists() and not os.path.exists(f"{path}.ran")
    if name != "fails":
        assert "Traceback" not in done.stderr


def test_the_validator_under_its_own_name_accepts_the_file(folder):
    objectnet, _ = folder
    assert evaluate(objectnet).returncode == 0
    (objectnet / "answers.json").write_text(json.dumps({f"{number}.png": number for number in range(4)}))
    done = subprocess.run(
        [sys.executable, "validate_and_score.py", "-a", "answers.json", "-f", "output/predictions.csv"],
        cwd=objectnet,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0 and json.loads(done.stdout)["prediction_file_status"] == "VALIDATED", done.stderr


def test_the_examples_network_is_the_published_one():
    sys.path.insert(0, os.path.join(ROOT, "objectnet", "model"))
    try:
        import model_description
    finally:
        sys.path.pop(0)
    with torch.device("meta"):  # 829 million weights; shapes are enough
        network = model_description.resnext101_32x48d_wsl()
    assert sum(weight.numel() for weight in network.parameters()) == 828_411_176
