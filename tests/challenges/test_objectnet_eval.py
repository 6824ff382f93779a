"""utils/objectnet_eval.py: from a folder of PNGs and a model to predictions.csv."""

import csv
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.support.data_set import ROOT
from tests.support.model_fixtures import numpy_model
from tests.support.objectnet_fixtures import EXPECTED, write_mappings
from webvision.challenges.objectnet import evaluate as run
from webvision.challenges.objectnet import validate
from webvision.data.views.presets import PRESETS
from webvision.errors import CheckpointError, DataError, IncompleteError, UsageError
from webvision.inference import own_model

SCRIPT = os.path.join(ROOT, "utils", "objectnet_eval.py")


# ---- the folder of images


def draw_png(path, seed=0, size=(260, 240), mode="RGBA"):
    """A picture with the red border of ObjectNet's files."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1] // 20 + 1, size[0] // 20 + 1, 3), np.uint8)
    picture = Image.fromarray(pixels).resize(size, Image.BICUBIC)
    framed = Image.new("RGB", size, (255, 0, 0))
    framed.paste(picture.crop((2, 2, size[0] - 2, size[1] - 2)), (2, 2))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    framed.convert(mode).save(path)
    return path


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    for seed, name in enumerate(["b/one.png", "a/two.png", "a/deep/er/three.png", "four.png"]):
        draw_png(str(folder / name), seed, size=(260 + 40 * seed, 300 - 20 * seed))
    write_mappings(tmp_path / "mappings")
    return folder


def test_pngs_are_found_at_any_depth_in_a_fixed_order(images):
    pictures = run.find_pictures(images)
    assert pictures.names(range(4)) == ["a/deep/er/three.png", "a/two.png", "b/one.png", "four.png"]
    assert len(pictures) == 4 and pictures.name(3) == "four.png"


def test_hidden_files_are_left_out_others_are_remarked_and_linked_folders_are_entered_once(images, tmp_path):
    remarks = []
    (images / "._one.png").write_bytes(b"")
    (images / ".cache").mkdir()
    draw_png(str(images / ".cache" / "five.png"))
    draw_png(str(images / "SIX.PNG"))
    (images / "a" / "loop").symlink_to(images)
    draw_png(str(tmp_path / "elsewhere" / "linked.png"))
    (images / "more").symlink_to(tmp_path / "elsewhere")
    pictures = run.find_pictures(images, remark=remarks.append)
    assert [os.path.basename(name) for name in pictures.names(range(len(pictures)))] == [
        "three.png",
        "two.png",
        "one.png",
        "four.png",
        "linked.png",
    ]
    assert len(remarks) == 1 and "1 .PNG" in remarks[0]


def test_O2_a_wrong_folder_or_one_without_png_is_named(tmp_path):
    with pytest.raises(DataError, match="nowhere: no such folder"):
        run.find_pictures(tmp_path / "nowhere")
    (tmp_path / "a.jpg").write_text("")
    with pytest.raises(DataError, match=r"no .png image in it or below, but 1 .jpg files"):
        run.find_pictures(tmp_path)


def test_equal_base_names_are_noticed(images):
    remarks = []
    (images / "b" / "two.png").write_bytes((images / "a" / "two.png").read_bytes())
    assert len(run.find_pictures(images, remark=remarks.append)) == 4 and "counted once" in remarks[0]
    draw_png(str(images / "b" / "two.png"), seed=99)
    with pytest.raises(DataError, match=r"a/two.png and b/two.png .* rename one"):
        run.find_pictures(images)


def pillow_pipeline(path):
    """The challenge's preprocessing up to the crop, as its template does it with Pillow."""
    with Image.open(path) as file:
        image = file.convert("RGB")
    image = image.crop((2, 2, image.width - 2, image.height - 2))
    short = min(image.size)
    size = [224 if side == short else int(224 * side / short) for side in image.size]
    image = image.resize(size, Image.BILINEAR)
    left, top = int(round((image.width - 224) / 2.0)), int(round((image.height - 224) / 2.0))
    return np.asarray(image.crop((left, top, left + 224, top + 224)))


def test_images_reach_the_model_as_the_challenge_prepares_them(images, tmp_path):
    seen = []

    def predict(batch):
        seen.extend(batch)
        return np.zeros((len(batch), 10))

    pictures = run.find_pictures(images)
    counts = run.evaluate(
        pictures, str(tmp_path / "p.csv"), predict, preset=PRESETS["objectnet"], mapping=None, batch=3
    )
    assert counts == (4, 0) and len(seen) == 4
    for name, image in zip(pictures.names(range(4)), seen):
        assert np.array_equal(image[..., ::-1], pillow_pipeline(images / name)), name


def colour_model(batch):
    """1000 logits from the mean colour: different for every picture, independent of the batch it comes in."""
    means = batch.reshape(len(batch), -1, 3).astype(np.float64).mean(axis=1)
    return np.sin(means[:, :1] * np.arange(1, 1001)) + means[:, 1:2] * 0.01


@pytest.mark.parametrize("batch, workers", [(1, 0), (3, 1), (96, 2)])
def test_output_does_not_depend_on_batch_size_and_workers(batch, workers, images, tmp_path):
    pictures = run.find_pictures(images)
    for name, setting in (("plain.csv", {"batch": 2}), ("other.csv", {"batch": batch, "workers": workers})):
        run.evaluate(
            pictures, str(tmp_path / name), colour_model, preset=PRESETS["objectnet"], mapping=EXPECTED, **setting
        )
    assert (tmp_path / "plain.csv").read_bytes() == (tmp_path / "other.csv").read_bytes()


def test_O1_missing_rows_are_an_error_and_no_output(images, tmp_path, monkeypatch, capsys):
    pictures = run.find_pictures(images)
    whole = run.EvalBatches.__iter__
    monkeypatch.setattr(run.EvalBatches, "__iter__", lambda self: iter(list(whole(self))[:-1]))
    with pytest.raises(IncompleteError, match="3 rows for 4 images"):
        run.evaluate(
            pictures, str(tmp_path / "p.csv"), colour_model, preset=PRESETS["objectnet"], mapping=None, batch=1
        )
    assert not (tmp_path / "p.csv").exists() and "keeps the 3 rows" in capsys.readouterr().err


# ---- MODEL

NUMPY_MODEL = numpy_model("objectnet")
GRAPH_MODEL = """
from webvision.compat import tf, tfv1
PRESET = "objectnet"
NUM_CLASSES = 7
def logits(images):
    return tf.matmul(tf.reduce_mean(images, axis=[1, 2]), tfv1.get_variable("w", [3, 7]))
"""


def write_model(tmp_path, text=NUMPY_MODEL, classes=1000):
    (tmp_path / "my_model.py").write_text(text)
    weights = np.random.default_rng(5).standard_normal((3, classes)).astype(np.float32)
    np.savez(tmp_path / "weights.npz", w=weights)
    return str(tmp_path / "my_model.py"), str(tmp_path / "weights.npz"), weights


def test_own_model_gets_normalised_rgb(tmp_path):
    path, checkpoint, weights = write_model(tmp_path)
    batch = np.random.default_rng(1).integers(0, 256, (3, 224, 224, 3), np.uint8)
    rgb = batch[..., ::-1].astype(np.float64) / 255
    expected = ((rgb - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)).mean(axis=(1, 2)) @ weights
    model = own_model.find_model(path, checkpoint, preset="objectnet")
    with model.open(checkpoint) as predict:
        assert np.allclose(predict(batch), expected, atol=1e-4)


def test_own_tensorflow_model_and_numpy_model_agree(tmp_path):
    path, checkpoint, _ = write_model(tmp_path, classes=7)
    batch = np.random.default_rng(1).integers(0, 256, (3, 224, 224, 3), np.uint8)
    results = []
    for text in (NUMPY_MODEL, GRAPH_MODEL):
        (tmp_path / "my_model.py").write_text(text)
        with own_model.find_model(path, checkpoint, preset="objectnet").open(checkpoint) as predict:
            results.append(predict(batch))
    assert results[1].shape == (3, 7) and np.allclose(*results, atol=1e-4)


@pytest.mark.parametrize(
    "text, words",
    [
        ("PRESET = 'objectnet'\n", "no function logits"),
        ("def logits(images): pass\n", "PRESET is 'None'; it must be one of"),
        ("PRESET = 'imagenet'\ndef logits(images): pass\n", "'imagenet'; it must be one of"),
        ("def logits(:\n", "my_model.py:1:"),
        ("PRESET = 'objectnet'\nIMAGE_SIZE = '224'\ndef logits(images): pass\n", "IMAGE_SIZE is '224'"),
    ],
)
def test_a_model_file_that_lacks_something_says_what(text, words, tmp_path):
    path, checkpoint, _ = write_model(tmp_path, text)
    with pytest.raises(UsageError, match=re.escape(words)):
        own_model.find_model(path, checkpoint, preset="objectnet")


def test_built_in_network_has_the_geometry_of_the_challenge_and_the_colours_of_training(tmp_path):
    np.savez(tmp_path / "w.npz", **{"linear/b": np.zeros(1000, np.float32)})
    for name in ("resnet50", "resnet-d50", "se101", "preact18"):
        model = own_model.find_model(name, str(tmp_path / "w.npz"), preset="objectnet")
        assert model.network.num_classes == 1000 and f"-d{model.network.depth}" in model.network.name
        assert (model.preset.border, model.preset.short_side, model.preset.colour_order) == (2, 224, "bgr")
        assert model.preset.mean == PRESETS["webvision"].mean
    for name, words in (
        ("resnet51", "no depth 51"),
        ("se18", "no depth 18"),
        ("vgg16", "resnet50"),
        ("x/y", "no such file"),
    ):
        with pytest.raises(UsageError, match=words):
            own_model.find_model(name, str(tmp_path / "w.npz"), preset="objectnet")


def test_a_network_trained_here_gets_pictures_of_the_size_it_was_trained_on(tmp_path):
    np.savez(tmp_path / "w.npz", **{"linear/b": np.zeros(7, np.float32)})
    (tmp_path / "run.json").write_text(
        json.dumps({"network": {"mode": "resnet", "depth": 50, "image_size": 64}, "classes": list("abcdefg")})
    )
    model = own_model.find_model("resnet50", str(tmp_path / "w.npz"), preset="sotabench")
    assert (model.network.image_size, model.preset.image_size, model.preset.short_side) == (64, 64, 73)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(CheckpointError, match="run.json is damaged"):
        own_model.find_model("resnet50", str(tmp_path / "w.npz"), preset="sotabench")


def test_a_folder_of_links_is_a_folder_of_images(tmp_path):
    draw_png(str(tmp_path / "far" / "away" / "one.png"))
    (tmp_path / "set" / "images").mkdir(parents=True)
    (tmp_path / "set" / "images" / "one.png").symlink_to(tmp_path / "far" / "away" / "one.png")
    counts = run.evaluate(
        run.find_pictures(str(tmp_path / "set" / "images")),
        str(tmp_path / "out.csv"),
        lambda images: np.ones((len(images), 10), np.float32),
        preset=PRESETS["objectnet"],
        mapping=None,
    )
    assert counts == (1, 0)


# ---- the command


def command(*args, cwd=None):
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, args)], cwd=cwd, capture_output=True, text=True, timeout=100
    )


def test_command_writes_a_file_that_the_validator_accepts(images, tmp_path):
    path, checkpoint, _ = write_model(tmp_path)
    done = command("images", "out.csv", "my_model.py", "weights.npz", "--gpus", 0, "--workers", 1, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("**** params ****\nimages images\n")
    assert done.stdout.endswith("Done. Number of predictions:  4\n") and done.stderr == ""
    answers = dict.fromkeys(("one.png", "two.png", "three.png", "four.png"), 5)
    (tmp_path / "a.json").write_text(json.dumps(answers))
    verdict = validate.validate(tmp_path / "a.json", tmp_path / "out.csv")
    assert verdict.exit_code == 0 and verdict.report["images_scored"] == 4


def test_softmax_false_means_false_and_mode_0_keeps_the_ids(images, tmp_path):
    write_model(tmp_path)
    done = command(
        "images",
        "out.csv",
        "my_model.py",
        "weights.npz",
        "--softmax",
        "False",
        "--convert_outputs_mode",
        "0",
        cwd=tmp_path,
    )
    assert done.returncode == 0 and "1000 classes and no mapping" in done.stderr, done.stderr
    model = own_model.find_model(str(tmp_path / "my_model.py"), str(tmp_path / "weights.npz"), preset="objectnet")
    with model.open(str(tmp_path / "weights.npz")) as predict:
        logits = predict(np.stack([pillow_pipeline(images / "four.png")[..., ::-1]]))[0]
    row = list(csv.reader(open(tmp_path / "out.csv", newline="")))[-1]
    best = np.argsort(-logits)[:5]
    assert row[0] == "four.png" and [int(i) for i in row[1::2]] == best.tolist()
    assert np.allclose([float(c) for c in row[2::2]], logits[best], atol=1e-5)


def test_corrupt_images_are_reported_not_fatal_and_counted(images, tmp_path):
    write_model(tmp_path)
    good = (images / "four.png").read_bytes()
    (images / "cut.png").write_bytes(good[: len(good) // 2])
    (images / "empty\x1b[2J.png").write_bytes(b"")
    os.mkfifo(images / "fifo.png")
    (images / "html.png").write_text("<html>")
    done = command("images", "out.csv", "my_model.py", "weights.npz", cwd=tmp_path)
    assert done.returncode == 4 and "4 of 8 images could not be read" in done.stderr
    for name in ("cut.png", "empty\\x1b[2J.png", "fifo.png", "html.png"):
        assert f"{name}: not readable" in done.stderr
    assert "\x1b" not in done.stderr + done.stdout
    rows = list(csv.reader(open(tmp_path / "out.csv", newline="")))
    assert len(rows) == 8 and sum(row[1:] == ["-1", "0.0"] * 5 for row in rows) == 4
    os.unlink(tmp_path / "out.csv")
    assert command("images", "out.csv", "my_model.py", "weights.npz", "--max-bad", "0.5", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    "args, code, words",
    [
        (["--workers", "99999"], 2, "CPUs that this process may use"),
        (["--workers", "0"], 2, "CPUs that this process may use"),
        (["--gpus", "99"], 2, "--gpus 99"),
        (["--batch_size", "0"], 2, "at least 1"),
        (["--softmax", "maybe"], 2, "neither True nor False"),
        (["--convert_outputs_mode", "2"], 2, "invalid choice"),
        (["--max-bad", "2"], 2, "share"),
        (["--mapping", "nowhere.json"], 3, "nowhere.json"),
    ],
)
def test_a_wrong_flag_is_one_line_before_any_work(args, code, words, images, tmp_path):
    write_model(tmp_path)
    done = command("images", "out.csv", "my_model.py", "weights.npz", *args, cwd=tmp_path)
    assert done.returncode == code and words in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out.csv").exists()


def test_missing_inputs_and_existing_output_are_told(images, tmp_path):
    write_model(tmp_path)
    (tmp_path / "there.csv").write_text("")
    for args, words in (
        (("images", "there.csv", "my_model.py", "weights.npz"), "exists already"),
        (("images", "no/out.csv", "my_model.py", "weights.npz"), "no such folder for the output"),
        (("nowhere", "out.csv", "my_model.py", "weights.npz"), "no such folder of images"),
        (("images", "out.csv", "no_model.py", "weights.npz"), "no_model.py: no such file"),
        (("images", "out.csv", "resnet18", "no.npz"), "no such checkpoint"),
        (("images", "out.csv", "my_model.py", "no.npz"), "no.npz"),
    ):
        done = command(*args, cwd=tmp_path)
        assert done.returncode in (2, 3, 5) and words in done.stderr and "Traceback" not in done.stderr, done.stderr
