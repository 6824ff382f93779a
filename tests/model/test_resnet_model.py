"""The networks against upstream's: variables by name and shape, logits by number."""

import csv
import json
import os
import zlib
from collections import defaultdict

import numpy as np
import pytest

from tests.support.data_set import ROOT
from webvision.compat import tf, tfv1
from webvision.model.backbones import Network, backbone_of
from webvision.model.weights import assign

from tensorpack.tfutils.tower import TowerContext

DATA = os.path.join(ROOT, "tests", "data")


def released_variables():
    networks = defaultdict(dict)
    with open(os.path.join(DATA, "checkpoint_variables.csv"), encoding="utf-8") as file:
        for row in csv.DictReader(file):
            networks[row["network"]][row["variable"]] = (row["shape"], row["trainable"])
    return networks


def split_name(name):
    mode, depth = name.rsplit("-d", 1)
    return mode, int(depth)


@pytest.mark.parametrize("name", released_variables())
def test_variables_equal_those_of_the_released_checkpoints(name):
    mode, depth = split_name(name)
    with tf.Graph().as_default(), TowerContext("", is_training=True):
        image = tfv1.placeholder(tf.float32, [None, 224, 224, 3])
        Network(backbone_of(mode, depth), 5000).logits(image, data_format="NHWC")
        trainable = {v.op.name for v in tfv1.trainable_variables()}
        ours = {
            v.op.name: ("x".join(map(str, v.shape.as_list())), str(int(v.op.name in trainable)))
            for v in tfv1.global_variables()
        }
    assert ours == released_variables()[name]


def weight(name, shape):
    """Weights that anyone can draw again: a generator seeded by the variable's name."""
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    if name.endswith("variance/EMA"):
        return rng.uniform(0.5, 1.5, shape).astype("f")
    if name.endswith(("mean/EMA", "beta", "/b")):
        return (rng.standard_normal(shape) * 0.1).astype("f")
    if name.endswith("gamma"):
        return rng.uniform(0.3, 0.7, shape).astype("f")
    return (rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[:-1]))).astype("f")


def logits_of(mode, depth, image, data_format):
    with tf.Graph().as_default(), TowerContext("", is_training=False):
        placeholder = tfv1.placeholder(tf.float32, [None, *image.shape[1:]])
        logits = Network(backbone_of(mode, depth), 11, 97).logits(placeholder, data_format=data_format)
        with tfv1.Session() as session:
            assign(session, {v: weight(v.op.name, v.shape.as_list()) for v in tfv1.global_variables()})
            return session.run(logits, {placeholder: image})


with open(os.path.join(DATA, "upstream_logits.json"), encoding="utf-8") as file:
    UPSTREAM_LOGITS = json.load(file)  # of upstream's own network code, on these weights and this picture


@pytest.mark.parametrize(
    "name, data_format", [(name, "NHWC") for name in UPSTREAM_LOGITS] + [("preact-d18", "NCHW"), ("se-d50", "NCHW")]
)
def test_logits_equal_those_of_upstreams_code(name, data_format):
    image = (
        np.random.Generator(np.random.PCG64(9)).standard_normal((2, 97, 97, 3)).astype("f")
    )  # 97: odd sizes at every stage
    mode, depth = split_name(name)
    ours = logits_of(mode, depth, image, data_format)
    upstream = np.array(UPSTREAM_LOGITS[name])
    assert np.abs(upstream).max() > 0.5, "logits this small would hide differences"
    assert np.abs(ours - upstream).max() < 1e-4


def test_a_mode_that_a_depth_lacks_is_refused():
    with pytest.raises(ValueError, match="mode se has no depth 18; it exists with 50, 101, 152"):
        backbone_of("se", 18)
