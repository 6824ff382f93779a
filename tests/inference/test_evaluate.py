"""Evaluation over views, and lists it refuses: a made-up network whose answer a person can compute."""

import dataclasses
import tracemalloc

import cv2
import numpy as np
import pytest

from tests.support.loader_fixtures import jpeg, picture
from webvision.data.data_set import DataSet, Split
from webvision.data.lists.index import open_index
from webvision.data.loader.batches import EvalBatches
from webvision.data.loader.spec import BatchSpec
from webvision.data.pictures import images
from webvision.data.pictures.folder import PictureFolder
from webvision.data.pictures.images import read_image
from webvision.data.views.presets import PRESETS
from webvision.errors import DataError
from webvision.inference.evaluate import Outputs, evaluate, prediction_header, refuse_duplicates
from webvision.model.backbones import Network
from webvision.scoring.predictions.file import open_predictions

SIZE, CLASSES = 32, 7
WEIGHTS = np.random.default_rng(3).normal(0, 4e-5, (SIZE * SIZE * 3, CLASSES))


def probabilities_of(images):
    """A softmax regression: float32 [n, CLASSES] of uint8 pictures; no two views of a picture have the same answer."""
    logits = images.reshape(len(images), -1).astype(np.float64) @ WEIGHTS
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


class Predictor:
    """Answers as webvision.inference.predictor.Predictor does, without TensorFlow; remembers its largest batch."""

    largest = 0

    def __call__(self, images, fetch):
        self.largest = max(self.largest, len(images))
        probabilities = probabilities_of(images)
        top = np.argsort(-probabilities, axis=1, kind="stable")[:, :5].astype(np.int32)
        found = {
            "probabilities": probabilities,
            "top": top,
            "top_scores": np.take_along_axis(probabilities, top, 1),
            "finite": np.isfinite(probabilities).all(axis=1),
        }
        return [found[name] for name in fetch]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eleven pictures of three shapes, the fourth cut in half, and their list."""
    folder = tmp_path_factory.mktemp("views")
    for number in range(11):
        data = jpeg(picture(number, *((80, 64), (64, 96), (50, 50))[number % 3]))
        (folder / f"{number}.jpg").write_bytes(data[: len(data) // 2] if number == 3 else data)
    (folder / "list.txt").write_text("".join(f"{number}.jpg {number % CLASSES}\n" for number in range(11)))
    return folder


def predictions_of(folder, out, *, crops, flip, batch=4, workers=0):
    preset = dataclasses.replace(PRESETS["webvision"].scaled(SIZE), crops=crops, flip=flip)
    index = open_index(folder / "list.txt", CLASSES)
    loader = EvalBatches(Split(index, PictureFolder(folder)), BatchSpec(preset, batch), workers=workers)
    header = prediction_header(
        index,
        classes={"count": CLASSES},
        network=Network("resnet50", CLASSES, SIZE),
        checkpoint="model-1",
        preset=preset,
    )
    predictor = Predictor()
    assert evaluate(predictor, loader, index, header=header, outputs=Outputs(str(out), all_scores=True)) == 1
    loader.close()
    assert predictor.largest == batch * preset.views
    return open_predictions(out)


def views_by_hand(data, *, crops, flip):
    """The views of a picture, from OpenCV alone."""
    image = read_image(data)
    height, width = image.shape[:2]
    short = round(256 * SIZE / 224)
    factor = short / min(height, width)
    resized = (
        short if width <= height else int(factor * width + 0.5),
        int(factor * height + 0.5) if width <= height else short,
    )
    image = cv2.resize(image, resized, interpolation=cv2.INTER_CUBIC)
    right, bottom = resized[0] - SIZE, resized[1] - SIZE
    corners = [(0, 0), (right, 0), (0, bottom), (right, bottom)] if crops == 5 else []
    shown = [image[y : y + SIZE, x : x + SIZE] for x, y in [*corners, (int(right * 0.5), int(bottom * 0.5))]]
    return np.stack(shown + [view[:, ::-1] for view in shown if flip])


@pytest.mark.parametrize("crops, flip", [(1, False), (1, True), (5, False), (5, True)])
def test_the_views_of_a_picture_are_averaged(folder, tmp_path, crops, flip):
    predictions = predictions_of(folder, tmp_path / "p.json", crops=crops, flip=flip)
    assert predictions.header["preprocessing"]["crops"] == crops and predictions.header["preprocessing"]["flip"] is flip
    arrays, scores = predictions.arrays(), predictions.all_scores()
    assert arrays.names == [f"{number}.jpg" for number in range(11)]
    for row, name in enumerate(arrays.names):
        if row == 3:
            assert arrays.problems[row] == "truncated" and (scores[row] == np.float32(1 / CLASSES)).all()
            continue
        views = probabilities_of(views_by_hand((folder / name).read_bytes(), crops=crops, flip=flip))
        assert len(views) == crops * (1 + flip) and (crops * (1 + flip) == 1 or views.std(axis=0).max() > 1e-3)
        np.testing.assert_allclose(scores[row], views.mean(axis=0), rtol=1e-5)
        assert arrays.top[row].tolist() == np.argsort(-scores[row], kind="stable")[:5].tolist()


def test_how_far_it_is_stands_in_the_log(folder, tmp_path, capsys, hurried_progress):
    predictions_of(folder, tmp_path / "p.json", crops=1, flip=False)
    shown = capsys.readouterr().err
    assert "predicting: 8 pictures of 11 pictures (72.7 %)" in shown and "11 pictures of 11 pictures" in shown


def test_ten_views_do_not_depend_on_workers_or_batch(folder, tmp_path):
    for name, options in {"a": {}, "b": {"batch": 1}, "c": {"workers": 2, "batch": 3}}.items():
        predictions_of(folder, tmp_path / name, crops=5, flip=True, **options)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes()


def test_the_views_of_a_picture_share_one_decode(folder, tmp_path, monkeypatch):
    decoded, read = [], images.read_window
    monkeypatch.setattr(
        images, "read_window", lambda data, *rest, **options: decoded.append(data) or read(data, *rest, **options)
    )
    predictions_of(folder, tmp_path / "p.json", crops=5, flip=True)
    assert decoded == [(folder / f"{number}.jpg").read_bytes() for number in range(11) if number != 3]


def test_a_network_that_answers_one_view_with_nan_is_refused(folder, tmp_path, monkeypatch):
    real = probabilities_of
    monkeypatch.setitem(
        globals(),
        "probabilities_of",
        lambda images: np.where(np.arange(len(images))[:, None] == 9, np.nan, real(images)),
    )
    with pytest.raises(DataError, match="0.jpg with NaN"):
        predictions_of(folder, tmp_path / "p.json", crops=5, flip=True)
    assert not list(tmp_path.iterdir())


def test_a_val_set_in_class_folders_is_predicted_under_the_lists_names(tmp_path):
    """ILSVRC's val set after the usual sorting script: files in class folders, a list without them."""
    classes = [f"n{label}" for label in range(CLASSES)]
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "val.txt").write_text("".join(f"val{number}.jpg {number % CLASSES}\n" for number in range(9)))
    for number in range(9):
        folder = tmp_path / "val" / classes[number % CLASSES]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"val{number}.jpg").write_bytes(jpeg(picture(number)))
    (tmp_path / "meta" / "synsets.txt").write_text("".join(f"{name}\n" for name in classes))
    split = DataSet.open(str(tmp_path)).split("val")
    index = split.index
    preset = PRESETS["webvision"].scaled(SIZE)
    loader = EvalBatches(split, BatchSpec(preset, 4))
    header = prediction_header(
        index,
        classes={"count": CLASSES},
        network=Network("resnet50", CLASSES, SIZE),
        checkpoint="model-1",
        preset=preset,
    )
    assert evaluate(Predictor(), loader, index, header=header, outputs=Outputs(str(tmp_path / "p.json"))) == 0
    arrays = open_predictions(tmp_path / "p.json").arrays()
    assert arrays.names == [f"val{number}.jpg" for number in range(9)]
    assert (arrays.labels == np.arange(9) % CLASSES).all() and loader.bad.count == 0


def test_a_name_twice_in_the_list_is_refused_with_its_lines(tmp_path):
    (tmp_path / "list.txt").write_text("a.jpg 0\nb\x1b.jpg 1\na.jpg 0\nc.jpg 1\nb\x1b.jpg 0\n")
    with pytest.raises(
        DataError,
        match=r"list.txt: line 3: a.jpg stands in line 1 too; line 5: b\\x1b.jpg stands in line 2 too\. .*--fix",
    ):
        refuse_duplicates(open_index(tmp_path / "list.txt", 2))
    (tmp_path / "list.txt").write_text("a.jpg 0\nb.jpg 1\n")
    refuse_duplicates(open_index(tmp_path / "list.txt", 2))
    (tmp_path / "list.txt").write_text("".join(f"{row % 9}.jpg\n" for row in range(30)))
    with pytest.raises(DataError, match="at least 16 more"):
        refuse_duplicates(open_index(tmp_path / "list.txt", 2))


def test_looking_for_duplicates_takes_little_memory(tmp_path):
    rows = 300_000
    (tmp_path / "list.txt").write_text(
        "".join(f"class{row % 5000:05d}/a rather long name of a picture {row}.jpg\n" for row in range(rows))
        + "class00007/a rather long name of a picture 7.jpg\n"
    )
    index = open_index(tmp_path / "list.txt", 5000)
    tracemalloc.start()
    with pytest.raises(DataError, match=f"line {rows + 1}: .* stands in line 8 too"):
        refuse_duplicates(index)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16_000_000, "the names alone take 30 MB"
