"""The demo's set has the shape and the troubles it promises, in the promised amounts."""

import collections
import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.support.data_set import ROOT
from webvision.errors import DataError, UsageError
from webvision.prep.demo import data_set


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "raw"
    assert data_set.draw(out, seed=1) > 2000
    return out


def rows_of(raw, name):
    return [line.rsplit(" ", 1) for line in (raw / "info" / name).read_text().splitlines()]


def test_lists_and_files_are_the_same_set(raw):
    rows = rows_of(raw, "train_filelist_all.txt")
    on_disk = {
        os.path.relpath(os.path.join(folder, name), raw)
        for source in ("google", "flickr")
        for folder, _, names in os.walk(raw / source)
        for name in names
    }
    assert sorted(name for name, _ in rows) == sorted(on_disk)
    assert rows == rows_of(raw, "train_filelist_google.txt") + rows_of(raw, "train_filelist_flickr.txt")
    assert sorted(os.listdir(raw / "val_images_resized")) == [name for name, _ in rows_of(raw, "val_filelist.txt")]
    assert (raw / "info/test_filelist.txt").read_text().split() == sorted(os.listdir(raw / "test_images_resized"))


def test_imbalance_is_20_to_1_and_val_is_balanced(raw):
    counts = collections.Counter(label for _, label in rows_of(raw, "train_filelist_all.txt"))
    assert len(counts) == len((raw / "info/synsets.txt").read_text().splitlines()) == 12
    assert max(counts.values()) == 20 * min(counts.values())
    assert set(collections.Counter(label for _, label in rows_of(raw, "val_filelist.txt")).values()) == {20}


def test_wrong_labels_are_known_and_outside_the_lists(raw):
    truth = json.loads((raw / "info/true_labels.json").read_text())
    labels = {name: int(label) for name, label in rows_of(raw, "train_filelist_all.txt")}
    assert 0.06 < len(truth["wrong"]) / len(labels) < 0.1
    assert all(labels[name] != shown for name, shown in truth["wrong"].items())
    assert sorted(truth["test"]) == (raw / "info/test_filelist.txt").read_text().split()


def test_odd_files_are_what_they_say(raw):
    kinds = collections.defaultdict(list)
    for picture in sum(data_set.plan(1), []):
        kinds[picture.kind].append(raw / picture.path)
    assert {kind: len(kinds[kind]) for kind in ("empty", "html", "half")} == {"empty": 1, "html": 2, "half": 3}
    assert kinds["empty"][0].stat().st_size == 0 and kinds["html"][0].read_bytes().startswith(b"<!DOCTYPE")
    assert all(not path.read_bytes().endswith(b"\xff\xd9") for path in kinds["half"])
    assert all(path.read_bytes().startswith(b"\x89PNG") and path.suffix == ".jpg" for path in kinds["png"])
    assert all(Image.open(path).mode == "L" for path in kinds["grey"])
    for path in kinds["exif"]:
        shown = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        image = Image.open(path)  # Pillow does not turn; the tag is what makes cv2 do it
        orientation = image.getexif()[0x0112]
        assert orientation in (3, 6, 8)
        assert shown.shape[:2] == (image.size[::-1] if orientation == 3 else image.size)
    assert 60 < len(kinds["exif"]) < 200 and len(kinds["grey"]) > 50 and len(kinds["png"]) > 20


def test_base_names_clash_within_classes(raw):
    names = collections.Counter(
        (os.path.basename(name), label) for name, label in rows_of(raw, "train_filelist_all.txt")
    )
    assert sum(count == 2 for count in names.values()) == data_set.CLASHES and max(names.values()) == 2


def test_bytes_follow_from_the_seed(raw):
    train, val, test = data_set.plan(1)
    for picture in train[::97] + val[::41] + test[::29]:  # alone and in another order than draw() took them
        assert data_set.encode(picture) == (raw / picture.path).read_bytes()
    other = data_set.plan(2)[0]
    assert data_set.encode(other[0]) != data_set.encode(train[0])


def test_is_drawn_once_and_never_over_something_else(raw, tmp_path):
    assert data_set.draw(raw, seed=1) == 0
    with pytest.raises(UsageError, match="other settings"):
        data_set.draw(raw, seed=2)
    (tmp_path / "thesis.tex").write_text("dear")
    with pytest.raises(UsageError, match="not the demo's"):
        data_set.draw(tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        data_set.draw(tmp_path / "thesis.tex")
    assert os.listdir(tmp_path) == ["thesis.tex"]
    (tmp_path / data_set.MARKER).write_text("[")
    with pytest.raises(DataError, match="delete"):
        data_set.draw(tmp_path)


def test_an_interrupted_drawing_is_finished(raw, tmp_path, monkeypatch):
    few = [part[:5] for part in data_set.plan(1)]
    monkeypatch.setattr(data_set, "plan", lambda seed: few)
    (tmp_path / data_set.MARKER).write_text(json.dumps(data_set._marker(1, complete=False)))
    (tmp_path / few[0][0].path).parent.mkdir(parents=True)
    (tmp_path / few[0][0].path).write_bytes(b"half")
    assert data_set.draw(tmp_path, seed=1) == 15
    assert (tmp_path / few[0][0].path).read_bytes() == (raw / few[0][0].path).read_bytes()


def test_the_command_names_its_errors(tmp_path):
    (tmp_path / "x").write_text("")
    command = [sys.executable, os.path.join(ROOT, "utils/demo_data.py"), "--out"]
    result = subprocess.run([*command, tmp_path], capture_output=True, text=True)
    assert (
        result.returncode == 2 and "choose a new or empty folder" in result.stderr and "Traceback" not in result.stderr
    )
