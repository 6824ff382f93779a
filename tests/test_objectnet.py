"""ObjectNet: the mapping, the bytes of predictions.csv, and the command from a folder of PNGs to it."""
import csv
import io
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from webvision.data.presets import PRESETS
from webvision.errors import DataError, LockedError, UsageError
from webvision.inference import objectnet as run
from webvision.inference import own_model
from webvision.scoring import objectnet_mapping, objectnet_validate
from webvision.scoring.objectnet import PredictionsCsv, prediction_rows

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SCRIPT = os.path.join(ROOT, "utils", "objectnet_eval.py")


# ---- the mapping, on invented files in the data set's own form

LABELS = {"tv": "TV", "t-shirt": "T-shirt", "table_knife": "Table knife", "fan": "Fan", "bike": "Bicycle",
          "press": "Coffee/French press", "coffee_table": "Coffee table"}
BY_BYTES = ["Bicycle", "Coffee table", "Coffee/French press", "Fan", "T-shirt", "TV", "Table knife"]
NAMES = ["tench, Tinca", "mountain bike, all-terrain bike", "tandem bicycle, tandem", "jersey, T-shirt", "television",
         "electric fan, blower", "espresso maker"]
OVERLAP = {"Bicycle": "mountain bike, all-terrain bike; tandem bicycle, tandem", "T-shirt": "jersey, T-shirt",
           "TV": "television", "Fan": "electric fan, blower", "Coffee/French press": "espresso maker"}
LINES = {"0": 0, "1": 2, "2": 1, "3": 3, "4": 4, "500": 5, "999": 6}      # index -> line; 1 and 2 are exchanged
EXPECTED = {2: 0, 1: 0, 3: 4, 4: 5, 500: 3, 999: 2}


def write_mappings(folder, **changes):
    files = {"folder_to_objectnet_label.json": LABELS, "objectnet_to_imagenet_1k.json": OVERLAP,
             "pytorch_to_imagenet_2012_id.json": LINES, "imagenet_to_label_2012_v2": NAMES}
    os.makedirs(folder, exist_ok=True)
    for name, value in files.items():
        value = changes.get(name.split(".")[0], value)
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write("\n".join(value) + "\n" if name == "imagenet_to_label_2012_v2" else json.dumps(value))
    return str(folder)


def test_mapping_is_derived_from_the_data_sets_folder(tmp_path):
    write_mappings(tmp_path / "mappings")
    assert sorted(LABELS.values()) == BY_BYTES
    assert objectnet_mapping.read_mapping(tmp_path / "mappings") == EXPECTED
    assert objectnet_mapping.read_mapping(tmp_path) == EXPECTED         # the folder that holds mappings/


def test_mapping_json_under_either_name_gives_the_same(tmp_path):
    for name in objectnet_mapping.MAPPING_JSONS:
        folder = tmp_path / name[:-5]
        folder.mkdir()
        (folder / name).write_text(json.dumps({str(key): value for key, value in EXPECTED.items()}))
        assert objectnet_mapping.read_mapping(folder) == objectnet_mapping.read_mapping(folder / name) == EXPECTED


def test_O2_a_class_without_a_mapping_is_minus_one():
    assert objectnet_mapping.convert([999, 0, 3, 77], EXPECTED) == [2, -1, 4, -1]


@pytest.mark.parametrize("changes, words", [
    ({"objectnet_to_imagenet_1k": {"Bicycle": "penny-farthing"}}, "Bicycle: 'penny-farthing' is no class"),
    ({"objectnet_to_imagenet_1k": {"Unicycle": "television"}}, "Unicycle is no label"),
    ({"objectnet_to_imagenet_1k": {"TV": 7}}, "TV: '' is no class"),
    ({"objectnet_to_imagenet_1k": {"TV": "television", "Fan": "television"}}, "two ObjectNet classes"),
    ({"objectnet_to_imagenet_1k": {}}, "no class in it"),
    ({"objectnet_to_imagenet_1k": []}, "object was expected"),
    ({"pytorch_to_imagenet_2012_id": {"0": 7}}, "is not an index and a line"),
    ({"pytorch_to_imagenet_2012_id": {"x": 1}}, "is not an index and a line"),
    ({"folder_to_objectnet_label": {"tv": 1}}, "no text"),
])
def test_O2_a_mapping_that_does_not_fit_together_names_file_and_class(changes, words, tmp_path):
    with pytest.raises(DataError, match=re.escape(words)) as caught:
        objectnet_mapping.read_mapping(write_mappings(tmp_path / "mappings", **changes))
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("text", ["", "{broken", "[1]", "{}", '{"a": 1}', '{"1": "2"}', '{"1": -3}', '{"1": 313}', '{"1": true}', '{"-1": 1}'])
def test_a_bad_mapping_json_is_refused(text, tmp_path):
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(DataError, match="m.json"):
        objectnet_mapping.read_mapping(tmp_path / "m.json")


def test_no_mapping_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(UsageError, match="--mapping PATH"):
        objectnet_mapping.find_mapping(str(tmp_path))
    with pytest.raises(DataError, match="in this folder"):
        objectnet_mapping.read_mapping(tmp_path)


@pytest.mark.parametrize("classes, fits", [(1000, True), (999, False), (5000, False), (1001, False)])
def test_mapping_of_imagenet_is_refused_for_another_number_of_outputs(classes, fits):
    if fits:
        objectnet_mapping.check_fits(EXPECTED, classes)
    else:
        with pytest.raises(UsageError, match=f"{classes} outputs"):
            objectnet_mapping.check_fits(EXPECTED, classes)


def test_own_mapping_of_more_classes_serves_a_larger_network():
    objectnet_mapping.check_fits({4999: 3}, 5000)


# ---- the rows and the bytes

def reference_bytes(names, top, confidences):
    """The challenge's own writing: csv's defaults on name, id, confidence, id, confidence ..."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=",")
    for name, ids, values in zip(names, top, confidences):
        writer.writerow([name] + [value for pair in zip(ids, values) for value in pair])
    return text.getvalue().encode("utf-8", "surrogateescape")


def test_bytes_are_the_challenges(tmp_path):
    rng = np.random.default_rng(0)
    logits = (rng.standard_normal((40, 1000)) * 4).astype(np.float32)
    names = [f"{i:015x}.png" for i in range(38)] + ['a,"b".png', "\udcff\u2603.png"]
    shares = np.exp(logits.astype(np.float64))
    shares /= shares.sum(axis=1, keepdims=True)
    top = np.argsort(-logits, axis=1)[:, :5]
    confidences = np.take_along_axis(shares, top, 1).astype(np.float32).tolist()
    ids = [[EXPECTED.get(i, -1) for i in row] for row in top.tolist()]
    with PredictionsCsv(str(tmp_path / "p.csv")) as file:
        for at in range(0, 40, 7):
            file.write(prediction_rows(names[at:at + 7], logits[at:at + 7], mapping=EXPECTED))
    assert (tmp_path / "p.csv").read_bytes() == reference_bytes(names, ids, confidences)


def test_example_row_of_the_format():
    logits = np.full((1, 1000), -20., np.float32)
    logits[0, [409, 1, 3, 4, 5]] = np.array([5, 4, 3, 2, 1], np.float32)
    row, = prediction_rows(["42d42cf4b12b41c.png"], logits, mapping={409: 75, 3: 3, 4: 4}, softmax=False)
    assert row == ["42d42cf4b12b41c.png", 75, 5., -1, 4., 3, 3., 4, 2., -1, 1.]


def test_without_softmax_the_confidences_are_the_logits_and_the_ids_stay():
    logits = np.array([[.5, -2.25, 7., 3., 1., 0.]], np.float32)
    assert prediction_rows(["x"], logits, softmax=False)[0][1:] == [2, 7., 3, 3., 4, 1., 0, .5, 5, 0.]
    with_softmax = prediction_rows(["x"], logits)[0]
    assert with_softmax[1::2] == [2, 3, 4, 0, 5] and .9 < with_softmax[2] < 1


def test_equal_logits_rank_by_lowest_class_and_huge_ones_do_not_overflow():
    assert prediction_rows(["x"], np.zeros((1, 9)))[0][1::2] == [0, 1, 2, 3, 4]
    row, = prediction_rows(["x"], np.array([[1e30, -1e30, 1e30, 0, 0, 0]], np.float32))
    assert row[2] == row[4] == .5 and all(np.isfinite(row[2::2]))


def test_fewer_than_five_classes_and_unreadable_images_fill_up_with_no_prediction():
    rows = prediction_rows(["a", "b"], np.array([[1., 2.], [np.nan, 0.]]), softmax=False, problems=[None, "truncated"])
    assert rows == [["a", 1, 2., 0, 1., -1, 0., -1, 0., -1, 0.], ["b"] + [-1, 0.] * 5]


def test_nan_logits_name_the_image():
    with pytest.raises(DataError, match=r"logits for b\\x1b.png are NaN"):
        prediction_rows(["a.png", "b\x1b.png"], np.array([[0.] * 6, [np.nan] * 6]))


@pytest.mark.parametrize("logits", [np.zeros((2, 6)), np.zeros(6), np.zeros((1, 6, 1))])
def test_logits_of_a_wrong_shape_are_refused(logits):
    with pytest.raises(DataError, match="1 images"):
        prediction_rows(["a"], logits)


def test_rows_are_in_the_partial_file_as_they_come_and_the_output_appears_whole(tmp_path, capsys):
    path = str(tmp_path / "p.csv")
    with PredictionsCsv(path) as file:
        file.write(prediction_rows(["a"], np.eye(1, 6)))
        assert open(path + ".partial").read().count("a,0,") == 1 and not os.path.exists(path)
        with pytest.raises(LockedError), PredictionsCsv(path):
            pass
    assert os.listdir(tmp_path) == ["p.csv"]
    os.rename(path, path + ".partial")                                  # as if a run had been killed
    with pytest.raises(RuntimeError), PredictionsCsv(path) as file:
        file.write(prediction_rows(["b"], np.eye(1, 6)))
        raise RuntimeError
    assert os.listdir(tmp_path) == ["p.csv.partial"] and "keeps the 1 rows" in capsys.readouterr().err
    assert open(path + ".partial").read().startswith("b,0,")


def test_an_existing_output_is_never_replaced(tmp_path):
    path = str(tmp_path / "p.csv")
    with pytest.raises(UsageError, match="appeared"), PredictionsCsv(path):
        open(path, "w").write("precious")
    with pytest.raises(UsageError, match="exists already"), PredictionsCsv(path):
        pass
    assert open(path).read() == "precious"
    with pytest.raises(UsageError, match="no such folder"), PredictionsCsv(str(tmp_path / "x" / "p.csv")):
        pass


def test_one_name_twice_is_refused(tmp_path):
    with pytest.raises(DataError, match="two images are called a"), PredictionsCsv(str(tmp_path / "p.csv")) as file:
        for _ in range(2):
            file.write(prediction_rows(["a"], np.eye(1, 6)))


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
    assert [os.path.basename(name) for name in pictures.names(range(len(pictures)))] == \
        ["three.png", "two.png", "one.png", "four.png", "linked.png"]
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
    left, top = int(round((image.width - 224) / 2.)), int(round((image.height - 224) / 2.))
    return np.asarray(image.crop((left, top, left + 224, top + 224)))


def test_images_reach_the_model_as_the_challenge_prepares_them(images, tmp_path):
    seen = []

    def predict(batch):
        seen.extend(batch)
        return np.zeros((len(batch), 10))
    pictures = run.find_pictures(images)
    counts = run.evaluate(pictures, str(tmp_path / "p.csv"), predict, preset=PRESETS["objectnet"], mapping=None, batch=3)
    assert counts == (4, 0) and len(seen) == 4
    for name, image in zip(pictures.names(range(4)), seen):
        assert np.array_equal(image[..., ::-1], pillow_pipeline(images / name)), name


def colour_model(batch):
    """1000 logits from the mean colour: different for every picture, independent of the batch it comes in."""
    means = batch.reshape(len(batch), -1, 3).astype(np.float64).mean(axis=1)
    return np.sin(means[:, :1] * np.arange(1, 1001)) + means[:, 1:2] * .01


@pytest.mark.parametrize("batch, workers", [(1, 0), (3, 1), (96, 2)])
def test_output_does_not_depend_on_batch_size_and_workers(batch, workers, images, tmp_path):
    pictures = run.find_pictures(images)
    for name, setting in (("plain.csv", {"batch": 2}), ("other.csv", {"batch": batch, "workers": workers})):
        run.evaluate(pictures, str(tmp_path / name), colour_model, preset=PRESETS["objectnet"], mapping=EXPECTED, **setting)
    assert (tmp_path / "plain.csv").read_bytes() == (tmp_path / "other.csv").read_bytes()


# ---- MODEL

NUMPY_MODEL = '''
import numpy as np
PRESET = "objectnet"
def load(checkpoint):
    global weights
    weights = np.load(checkpoint, allow_pickle=False)["w"]
def logits(images):
    return images.mean(axis=(1, 2)) @ weights
'''
GRAPH_MODEL = '''
from webvision.compat import tf, tfv1
PRESET = "objectnet"
NUM_CLASSES = 7
def logits(images):
    return tf.matmul(tf.reduce_mean(images, axis=[1, 2]), tfv1.get_variable("w", [3, 7]))
'''


def write_model(tmp_path, text=NUMPY_MODEL, classes=1000):
    (tmp_path / "my_model.py").write_text(text)
    weights = np.random.default_rng(5).standard_normal((3, classes)).astype(np.float32)
    np.savez(tmp_path / "weights.npz", w=weights)
    return str(tmp_path / "my_model.py"), str(tmp_path / "weights.npz"), weights


def test_own_model_gets_normalised_rgb(tmp_path):
    path, checkpoint, weights = write_model(tmp_path)
    batch = np.random.default_rng(1).integers(0, 256, (3, 224, 224, 3), np.uint8)
    rgb = batch[..., ::-1].astype(np.float64) / 255
    expected = ((rgb - (.485, .456, .406)) / (.229, .224, .225)).mean(axis=(1, 2)) @ weights
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


@pytest.mark.parametrize("text, words", [
    ("PRESET = 'objectnet'\n", "no function logits"), ("def logits(images): pass\n", "PRESET is 'None'; it must be one of"),
    ("PRESET = 'imagenet'\ndef logits(images): pass\n", "'imagenet'; it must be one of"), ("def logits(:\n", "my_model.py:1:"),
    ("PRESET = 'objectnet'\nIMAGE_SIZE = '224'\ndef logits(images): pass\n", "IMAGE_SIZE is '224'")])
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
    for name, words in (("resnet51", "no depth 51"), ("se18", "no depth 18"), ("vgg16", "resnet50"), ("x/y", "no such file")):
        with pytest.raises(UsageError, match=words):
            own_model.find_model(name, str(tmp_path / "w.npz"), preset="objectnet")


# ---- the command

def command(*args, cwd=None):
    return subprocess.run([sys.executable, SCRIPT, *map(str, args)], cwd=cwd, capture_output=True, text=True, timeout=100)


def test_command_writes_a_file_that_the_validator_accepts(images, tmp_path):
    path, checkpoint, _ = write_model(tmp_path)
    done = command("images", "out.csv", "my_model.py", "weights.npz", "--gpus", 0, "--workers", 1, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("**** params ****\nimages images\n")
    assert done.stdout.endswith("Done. Number of predictions:  4\n") and done.stderr == ""
    answers = {name: 5 for name in ("one.png", "two.png", "three.png", "four.png")}
    (tmp_path / "a.json").write_text(json.dumps(answers))
    verdict = objectnet_validate.validate(tmp_path / "a.json", tmp_path / "out.csv")
    assert verdict.exit_code == 0 and verdict.report["images_scored"] == 4


def test_softmax_false_means_false_and_mode_0_keeps_the_ids(images, tmp_path):
    write_model(tmp_path)
    done = command("images", "out.csv", "my_model.py", "weights.npz", "--softmax", "False", "--convert_outputs_mode", "0",
                   cwd=tmp_path)
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
    (images / "cut.png").write_bytes(good[:len(good) // 2])
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


@pytest.mark.parametrize("args, code, words", [
    (["--workers", "99999"], 2, "CPUs that this process may use"), (["--workers", "0"], 2, "CPUs that this process may use"),
    (["--gpus", "99"], 2, "--gpus 99"), (["--batch_size", "0"], 2, "at least 1"), (["--softmax", "maybe"], 2, "neither True nor False"),
    (["--convert_outputs_mode", "2"], 2, "invalid choice"), (["--max-bad", "2"], 2, "share"),
    (["--mapping", "nowhere.json"], 3, "nowhere.json"),
])
def test_a_wrong_flag_is_one_line_before_any_work(args, code, words, images, tmp_path):
    write_model(tmp_path)
    done = command("images", "out.csv", "my_model.py", "weights.npz", *args, cwd=tmp_path)
    assert done.returncode == code and words in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out.csv").exists()


def test_missing_inputs_and_existing_output_are_told(images, tmp_path):
    write_model(tmp_path)
    (tmp_path / "there.csv").write_text("")
    for args, words in ((("images", "there.csv", "my_model.py", "weights.npz"), "exists already"),
                        (("images", "no/out.csv", "my_model.py", "weights.npz"), "no such folder for the output"),
                        (("nowhere", "out.csv", "my_model.py", "weights.npz"), "no such folder of images"),
                        (("images", "out.csv", "no_model.py", "weights.npz"), "no_model.py: no such file"),
                        (("images", "out.csv", "resnet18", "no.npz"), "no such checkpoint"),
                        (("images", "out.csv", "my_model.py", "no.npz"), "no.npz")):
        done = command(*args, cwd=tmp_path)
        assert done.returncode in (2, 3, 5) and words in done.stderr and "Traceback" not in done.stderr, done.stderr
