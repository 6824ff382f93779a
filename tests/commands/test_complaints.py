"""What users of other tools complain about, one test each; the numbers are those of docs and issue trackers alike.

1. the exported model answers differently  2. labels by folder order  3. .ipynb_checkpoints is class 0
4. names do not travel  5. saved models stop loading  6. installing fails  7. preprocessing twice or never
8. one broken file ends the run  9. the last weights, not the best; twins on both sides  10. an export that is promised
and refused
"""

import json
import os
import re
import shutil
import tomllib

import cv2
import numpy as np
import pytest

from tests.support import tiny_run
from tests.support.data_set import ROOT
from tests.support.own_pictures import encoded, heic, photograph, write_classes
from webvision.commands import export, predict
from webvision.commands.own_pictures.finetuning import Tuned
from webvision.commands.own_pictures.probing import Probed
from webvision.commands.own_pictures.road import choose
from webvision.errors import CheckpointError
from webvision.inference.snapshot import best_weights, open_snapshot
from webvision.model.weights import open_weights
from webvision.prep.own_folder.look import look
from webvision.prep.own_folder.prepare import prepare


def lines(data, name):
    with open(os.path.join(data, "meta", name), encoding="utf-8") as file:
        return file.read().splitlines()


def test_1_an_export_answers_as_its_checkpoint_from_the_file_alone(undisturbed, tiny_data, tmp_path, monkeypatch):
    """The file says how pictures are prepared and what classes are called; the same pictures, the same answers."""
    monkeypatch.setattr("webvision.model.backbones.Network", tiny_run.Tiny)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    onnx = tmp_path / "model.onnx"
    export.main([str(undisturbed.folder), str(onnx), "--data", str(tiny_data)])
    monkeypatch.chdir(tmp_path)
    answers = {}
    for flag, model in (("--snapshot", undisturbed.folder), ("--onnx", onnx)):
        predict.main(["--img-path", str(tiny_data / "val"), flag, str(model), "--gpu", "-1", "--workers", "0"])
        answers[flag] = json.loads((tmp_path / "inference_result.json").read_text())
    assert len(answers["--onnx"]) == 9
    for ours, theirs in zip(answers["--snapshot"], answers["--onnx"], strict=True):
        assert [label for _, label in ours["0_0"]] == [label for _, label in theirs["0_0"]]
        assert np.allclose([p for p, _ in ours["0_0"]], [p for p, _ in theirs["0_0"]], atol=1e-4)


def test_2_a_label_is_a_name_whatever_folders_val_has(tmp_path):
    write_classes(tmp_path / "in" / "train", {"ants": 6, "bees": 6, "wasps": 6})
    write_classes(tmp_path / "in" / "validation", {"wasps": 1})
    (tmp_path / "in" / "validation" / "wasps" / "000.jpg").write_bytes(encoded(photograph(2, 40)))
    data = prepare(str(tmp_path / "in"), str(tmp_path / "run")).data
    assert lines(data, "val.txt") == ["own/validation/wasps/000.jpg 2"]


def test_3_what_editors_leave_behind_is_no_class(tmp_path):
    write_classes(tmp_path, {".ipynb_checkpoints": 6, "__MACOSX": 6, "ants": 6, "bees": 6})
    assert look(str(tmp_path)).classes == ["ants", "bees"]


def test_4_names_travel_with_the_weights_alone(undisturbed, tmp_path, monkeypatch):
    monkeypatch.setattr("webvision.model.backbones.Network", tiny_run.Tiny)
    best = best_weights(str(undisturbed.folder))
    for name in os.listdir(undisturbed.folder):
        if name.startswith(os.path.basename(best) + "."):
            shutil.copy(undisturbed.folder / name, tmp_path)
    snapshot = open_snapshot(str(tmp_path / os.path.basename(best)))
    assert snapshot.names == ["n01440764", "n02084071", "n03790512"] and snapshot.preset.image_size == 32


def test_5_a_saved_model_is_numbers_and_text_and_what_runs_code_is_refused_by_name(undisturbed, tmp_path):
    for name in os.listdir(undisturbed.folder):
        with open(undisturbed.folder / name, "rb") as file:
            head = file.read(2)
        assert not head.startswith(b"\x80"), f"{name} is a pickle"
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04\x95")
    with pytest.raises(CheckpointError, match="pickle.* can run code and is never loaded"):
        open_weights(str(tmp_path / "model.pkl"))


def test_6_everything_that_is_installed_is_pinned_with_its_hash():
    with open(os.path.join(ROOT, "pyproject.toml"), "rb") as file:
        project = tomllib.load(file)["project"]
    with open(os.path.join(ROOT, "requirements.lock"), encoding="utf-8") as file:
        locked = dict(
            re.findall(r"^([A-Za-z0-9_.-]+)(?:\[.*\])?==(\S+).*\\\n    --hash=sha256:", file.read(), re.MULTILINE)
        )
    locked = {name.lower().replace("_", "-"): version for name, version in locked.items()}
    wanted = (
        project["dependencies"] + project["optional-dependencies"]["heic"] + project["optional-dependencies"]["dev"]
    )
    for requirement in wanted:
        name, version = requirement.split("==")
        assert locked[name.lower().replace("_", "-")] == version, requirement


def test_7_pixels_are_normalised_once():
    """What the network is given is what the card's preset says of the picture, by another computation."""
    from webvision.compat import tf, tfv1
    from webvision.data.views.presets import PRESETS
    from webvision.model.forward import Forward, choose_arithmetic

    class Means:
        num_classes, image_size = 3, 32

        def logits(self, image, *, data_format):
            return tf.reduce_mean(image, axis=[1, 2])

    pictures = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    for preset in PRESETS.values():
        with tf.Graph().as_default(), tfv1.Session() as session:
            logits = Forward(Means(), choose_arithmetic(on_gpu=False), preset).logits(tf.constant(pictures))
            given = session.run(logits)
        assert np.allclose(given, preset.normalised(pictures).mean(axis=(1, 2)), atol=1e-4), preset.name


def test_8_a_broken_or_a_phones_picture_ends_nothing(tmp_path):
    write_classes(tmp_path / "in", {"ants": 6, "bees": 6})
    ants = tmp_path / "in" / "ants"
    (ants / "IMG_1.HEIC").write_bytes(heic(photograph(0, 60)))
    (ants / "broken.jpg").write_bytes(encoded(photograph(0, 61))[:-200])
    (ants / "odd.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    prepared = prepare(str(tmp_path / "in"), str(tmp_path / "run"))
    assert sum(counts.sum() for counts in prepared.counts.values()) == 13
    said = "\n".join(prepared.report)
    assert "converted: 1 heic" in said and "ants/broken.jpg (truncated" in said and "ants/odd.png (" in said


def test_9_the_best_weights_count_and_no_twin_judges_its_twin(tmp_path):
    probed = Probed(str(tmp_path / "probe.npz"), 0.9, 1.0)
    for tuned, kept in ((0.95, "model-40"), (0.85, "probe.npz"), (0.9, "probe.npz")):
        choose(str(tmp_path), probed, Tuned(str(tmp_path / "model-40"), tuned), lambda line: None)
        assert json.loads((tmp_path / "chosen.json").read_text())["weights"] == kept
    write_classes(tmp_path / "in", {"ants": 12, "bees": 12})
    for number in range(12):
        twin = cv2.resize(photograph(0, number), (88, 66), interpolation=cv2.INTER_AREA)
        (tmp_path / "in" / "ants" / f"twin {number:03d}.jpg").write_bytes(encoded(twin))
    data = prepare(str(tmp_path / "in"), str(tmp_path / "run")).data
    val = {line.split(" ")[-2].removeprefix("own/ants/") for line in lines(data, "val.txt") if "ants" in line}
    of_twins = {line for line in lines(data, "val.txt") if "twin" in line}
    assert len(val) > 0 and len(of_twins) == len([line for line in lines(data, "val.txt") if "ants/0" in line])


@pytest.mark.parametrize("name", ["model.onnx", "model.tflite", "saved"])
def test_10_every_export_that_is_promised_is_written(name, undisturbed, tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr("webvision.model.backbones.Network", tiny_run.Tiny)
    export.main([str(undisturbed.folder), str(tmp_path / name), "--data", str(tiny_data)])
    assert (tmp_path / name).exists()
