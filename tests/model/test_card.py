"""The card of a checkpoint: it goes wherever the weights go, and a wrong one is an error, never another meaning."""

import json
import random
import shutil

import numpy as np
import pytest

from tests.support import tiny_run
from webvision.compat import tf, tfv1
from webvision.data.lists.class_names import read_class_words
from webvision.data.views.presets import PRESETS
from webvision.errors import CheckpointError, UsageError
from webvision.inference import own_model
from webvision.inference.provenance import known_card, settle_size
from webvision.model.backbones import Network
from webvision.model.card import VARIABLE, Card, card_of, parse_card, read_card
from webvision.model.forward import Arithmetic, Forward
from webvision.model.weights import open_weights

from tensorpack.tfutils.tower import PredictTowerContext

NETWORK = Network("se50", 3, 64)
CARD = card_of(
    NETWORK,
    PRESETS["webvision"],
    classes=("n1", "n2", "d\udcff"),
    words=("tench", "", "ladybug, ladybeetle"),
    train_counts=(3, 4, 5),
    data_format="NCHW",
)


def write_npz(path, card=CARD, **arrays):
    data = card.to_bytes() if isinstance(card, Card) else card
    np.savez(path, **{"linear/b": np.zeros(3, np.float32), VARIABLE: np.frombuffer(data, np.uint8), **arrays})
    return str(path)


def test_a_card_comes_back_whole_from_its_bytes_and_from_an_archive(tmp_path):
    assert parse_card(CARD.to_bytes()) == CARD
    assert CARD.to_bytes() == parse_card(CARD.to_bytes()).to_bytes()
    assert read_card(open_weights(write_npz(tmp_path / "w.npz"))) == CARD
    assert CARD.image_size == CARD.preset.image_size == 64 and CARD.preset.short_side == 73


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda card: card.pop("format"), "not a document of the format"),
        (lambda card: card.update(version=2), "version 2"),
        (lambda card: card.update(network=[]), "network holds no"),
        (lambda card: card["network"].update(image_size="64"), "network holds no"),
        (lambda card: card["network"].update(image_size=31), "network holds no"),
        (lambda card: card["network"].update(image_size=65), "65 px, the preset's 64"),
        (lambda card: card["preset"].pop("mean"), "preset has not the fields"),
        (lambda card: card["preset"].update(mean=[1, 2]), "mean cannot be"),
        (lambda card: card["preset"].update(std=[1, 2, 0]), "std cannot be"),
        (lambda card: card["preset"].update(scale=float("nan")), "scale cannot be"),
        (lambda card: card["preset"].update(short_side=3), "short side 3"),
        (lambda card: card["classes"].pop(), "classes does not have one str for each of 3"),
        (lambda card: card.update(train_counts=[1, 2, True]), "train_counts does not have one int"),
        (lambda card: card.update(padding="valid"), "padding or data_format"),
    ],
)
def test_a_damaged_card_is_an_error_and_not_another_meaning(tmp_path, change, words):
    fields = json.loads(CARD.to_bytes())
    change(fields)
    path = write_npz(tmp_path / "w.npz", json.dumps(fields).encode())
    with pytest.raises(CheckpointError, match="its card .* is damaged: .*" + words):
        known_card(path)


def test_bytes_that_are_no_card_end_in_one_error(tmp_path):
    pick, whole = random.Random(1), bytearray(CARD.to_bytes())
    for data in (b"{}", b"[" * 100_000, b"\xff", b"null", b"1" * 5000):
        with pytest.raises(CheckpointError):
            known_card(write_npz(tmp_path / "w.npz", data))
    for _ in range(200):
        data = bytearray(whole)
        for _ in range(pick.randint(1, 3)):
            data[pick.randrange(len(data))] = pick.randrange(256)
        try:
            known_card(write_npz(tmp_path / "w.npz", bytes(data)))
        except CheckpointError:
            pass
    for value in (np.zeros((2, 2), np.uint8), np.zeros(4, np.float32), np.zeros(0, np.uint8)):
        with pytest.raises(CheckpointError, match="it is no card"):
            known_card(write_npz(tmp_path / "w.npz", **{VARIABLE: value}))


def test_another_network_is_refused_with_both_values():  # C4
    CARD.check_network(NETWORK, "w")
    CARD.check_network(Network("se50", 3, 224), "w")  # the image size is for the caller to choose
    for other, words in ((Network("resnet50", 3, 64), "mode se, not resnet"), (Network("se101", 3, 64), "depth 50")):
        with pytest.raises(CheckpointError, match=words):
            CARD.check_network(other, "w")

    with pytest.raises(CheckpointError, match="padding same, not symmetric"):
        CARD.check_network(Network("se50", 3, 64, padding="symmetric"), "w")


def test_a_challenge_prepares_pictures_as_the_card_says_wherever_the_file_lies(tmp_path, capsys):
    (tmp_path / "elsewhere").mkdir()
    path = write_npz(tmp_path / "elsewhere" / "renamed.npz")
    model = own_model.find_model("se50", path, preset="objectnet")
    assert (model.network.image_size, model.preset.image_size, model.preset.short_side) == (64, 64, 64)
    assert (model.preset.border, model.preset.colour_order) == (2, "bgr")
    assert "renamed.npz: pictures of 64 px, as it was trained" in capsys.readouterr().err
    with pytest.raises(CheckpointError, match="mode se, not resnet"):
        own_model.find_model("resnet50", path, preset="objectnet")
    with pytest.raises(UsageError, match="vgg16: neither a Python file nor a network"):
        own_model.find_model("vgg16", path, preset="objectnet")


def test_a_checkpoint_that_says_nothing_is_told(tmp_path, capsys):
    np.savez(tmp_path / "w.npz", **{"linear/b": np.zeros(3, np.float32)})
    assert own_model.find_model("resnet18", str(tmp_path / "w.npz"), preset="sotabench").network.image_size == 224
    assert "nothing says how it was trained" in capsys.readouterr().err
    said = []
    assert settle_size("w", CARD, asked=96, remark=said.append, otherwise="") == 96
    assert said == ["w: pictures of 96 px, though it was trained on 64 px"]


def test_other_classes_of_the_same_number_are_refused(tmp_path):
    path = write_npz(tmp_path / "w.npz")
    assert known_card(path, classes=["n1", "n2", "d\udcff"]) == CARD
    with pytest.raises(CheckpointError, match="differ from line 2 on"):
        known_card(path, classes=["n1", "d\udcff", "n2"])


def test_a_trained_checkpoint_takes_its_card_along_and_is_evaluated_as_trained(train, tmp_path, capsys):
    """The issue's case: the files of a 32-px model, without the run's folder."""
    train("--epochs", "1")
    (tmp_path / "copy").mkdir()
    for name in ("model-4.index", "model-4.data-00000-of-00001"):
        shutil.copy(train.folder / name, tmp_path / "copy" / name)
    card = known_card(str(tmp_path / "copy" / "model-4"))
    assert card.network == {"mode": "resnet", "depth": 18, "num_classes": 3, "image_size": 32}
    assert card.classes == ("n01440764", "n02084071", "n03790512") and sum(card.train_counts) > 0

    def evaluate(folder, *flags):
        flags = ["--load", folder / "model-4", "--out", tmp_path / f"{folder.name}.json", *flags]
        tiny_run.main([*map(str, ["--eval", "--workers", 0, "--batch", 4, "--data", train.data, *flags])])

    evaluate(train.folder)
    evaluate(tmp_path / "copy")
    run, copy = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("run", "copy"))
    assert copy["predictions"] == run["predictions"] and copy["header"]["preprocessing"]["image_size"] == 32
    assert "model-4: pictures of 32 px, as it was trained" in capsys.readouterr().err
    with pytest.raises(CheckpointError, match="its card says depth 18, not 34"):
        evaluate(tmp_path / "copy", "-d", "34")


def test_words_come_from_either_synsets_file(tmp_path):
    for folder in ("meta", "info"):
        (tmp_path / folder).mkdir()
    (tmp_path / "meta" / "synsets.txt").write_text("n1\nn2 from meta\n")
    assert read_class_words(tmp_path, ["n1", "n2"]) == ("", "from meta")
    (tmp_path / "info" / "synsets.txt").write_text("n2 from info\n\nn1  tench, Tinca tinca\r\n")
    assert read_class_words(tmp_path, ["n1", "n2"]) == ("tench, Tinca tinca", "from meta")
    assert read_class_words(tmp_path, ["n3"]) is None and read_class_words(tmp_path / "none", ["n1"]) is None


def test_the_networks_have_the_epsilon_that_their_cards_say():
    with tf.Graph().as_default() as graph:
        image = tfv1.placeholder(tf.uint8, [None, 32, 32, 3])
        network = Network("resnet18", 3, 32)
        with PredictTowerContext(""):
            Forward(network, Arithmetic()).logits(image)
        found = {op.get_attr("epsilon") for op in graph.get_operations() if "FusedBatchNorm" in op.type}
        padding = {op.get_attr("padding") for op in graph.get_operations() if op.type == "Conv2D"}
    assert len(found) == 1 and found.pop() == pytest.approx(network.batch_norm_epsilon)
    assert padding == {network.padding.upper().encode()}


def test_errors_of_classes_of_a_list_without_labels_are_refused_before_the_network_is_built(
    train, tmp_path, monkeypatch
):
    train("--epochs", "1")
    data = tmp_path / "data"
    shutil.copytree(train.data, data)
    lines = (data / "meta" / "val.txt").read_text().splitlines()
    (data / "meta" / "val.txt").write_text("".join(line.rpartition(" ")[0] + "\n" for line in lines))
    monkeypatch.setattr("webvision.inference.predictor.Predictor", None)
    with pytest.raises(UsageError, match="val.txt has no labels, so no class has an error"):
        tiny_run.main(["--eval5k", "--workers", "0", "--data", str(data), "--load", str(train.folder / "model-4")])
