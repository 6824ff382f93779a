"""Weights from elsewhere, by their files: the network that follows from them, and what real ones answer."""

import os

import cv2
import numpy as np
import pytest

from tests.support.data_set import ROOT
from webvision.commands.exporting import Wanted, export
from webvision.compat import tf, tfv1
from webvision.errors import CheckpointError, UsageError
from webvision.model.backbones import Network
from webvision.model.foreign.names import foreign_name
from webvision.model.foreign.pretrained import open_pretrained, packaged_weights, shapes_of
from webvision.model.foreign.sources import sources_of
from webvision.model.forward import Arithmetic, Forward
from webvision.model.towers import PredictionTowers
from webvision.model.weights import load_into

CATS = range(281, 286)  # of ImageNet's classes


def test_the_weights_in_the_package_call_a_cat_a_cat():
    """tests/data/cat.jpg is Chelsea, of scikit-image's pictures (CC0)."""
    path = packaged_weights("efficientnet-lite0")
    found = open_pretrained(path, "efficientnet-lite0")
    assert "padding same, batch norm epsilon 0.001, pictures as 'lite' prepares them" in str(found)
    picture = cv2.imread(os.path.join(ROOT, "tests", "data", "cat.jpg"))
    top, left = ((side - 224) // 2 for side in picture.shape[:2])
    with tf.Graph().as_default():
        towers = PredictionTowers(Forward(found.network(), Arithmetic(), found.preset), ["/cpu:0"])
        with tfv1.Session() as session:
            load_into(session, tfv1.global_variables(), found.weights(found.network()))
            best, scores, features = towers.run(
                session, picture[None, top : top + 224, left : left + 224], ["top", "top_scores", "features"]
            )
    assert set(best[0, :3]) <= set(CATS) and scores[0, :3].sum() > 0.8
    assert features.shape == (1, 1280)
    assert packaged_weights("resnet18") is None
    with pytest.raises(CheckpointError, match="0 names are missing|names are missing"):
        open_pretrained(path, "efficientnet-lite1").weights(Network("efficientnet-lite1", 1000))


def test_what_cannot_be_exported_is_said_before_anything_is_computed(tmp_path):
    (tmp_path / "made.onnx").write_bytes(b"")
    for path, words in (
        (packaged_weights("efficientnet-lite0"), "do not say what they are of; give --backbone NAME"),
        (str(tmp_path / "made.onnx"), "is an export already"),
    ):
        with pytest.raises(UsageError, match=words):
            export(Wanted(path, str(tmp_path / "model.onnx")))


def write_caffe(path, *, bias):
    """An archive as tensorpack distributes them, all of whose arrays hold one number."""
    source = sources_of("resnet50-v1")[0]
    naming = source.naming("resnet50-v1")
    arrays = {
        foreign_name(name, naming, source.kind)[0]: np.broadcast_to(np.float32(0.5), shape)
        for name, shape in shapes_of(Network("resnet50-v1", 3)).items()
    }
    assert "bn3b_branch2a/mean/EMA" in arrays and "res2a_branch1/W" in arrays
    np.savez_compressed(path, **arrays, **({"conv1/b": np.full(64, 0.2, np.float32)} if bias else {}))
    return str(path)


def test_a_bias_before_batch_norm_goes_into_the_mean(tmp_path):
    found = open_pretrained(write_caffe(tmp_path / "caffe.npz", bias=True), "resnet50-v1")
    network = found.network()
    assert (network.padding, found.source.name, found.num_classes, found.preset.colour_order) == (
        "caffe", "caffe", 3, "bgr"
    )  # fmt: skip
    weights = found.weights(network)
    assert np.allclose(weights["conv0/bn/mean/EMA"], 0.3)
    assert np.allclose(weights["group0/block0/conv1/bn/mean/EMA"], 0.5)
    assert weights["linear/W"].shape == (2048, 3)


def test_a_source_that_names_cannot_tell_is_chosen_by_the_file_or_the_person(tmp_path):
    names = {"conv_stem.weight": np.zeros(1, np.float32), "classifier.bias": np.zeros(5, np.float32)}
    for file, source in (("efficientnet_b0.npz", "timm"), ("tf_efficientnet_b0.npz", "timm tf_")):
        np.savez(tmp_path / file, **names)
        found = open_pretrained(tmp_path / file, "efficientnet-b0-se")
        assert found.source.name == source
        assert found.network().batch_norm_epsilon == (1e-5 if source == "timm" else 1e-3)
    assert open_pretrained(tmp_path / file, "efficientnet-b0-se", source="timm").source.padding == "symmetric"
    with pytest.raises(UsageError, match="is not of keras; by its names it is of timm or timm tf_"):
        open_pretrained(tmp_path / file, "efficientnet-b0-se", source="keras")
