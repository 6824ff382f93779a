"""The network of docs/why/extend.md: its file and its row, as they stand there, make a network."""

import sys
import types

from tests.support.documents import blocks
from webvision.compat import tfv1 as tf
from webvision.model import backbones

from tensorpack.tfutils.tower import TowerContext

PAGE = "docs/why/extend.md"


def test_the_documented_network_is_built_from_its_row(monkeypatch):
    (source,) = blocks(PAGE, "python", "network")
    module = types.ModuleType("webvision.model.networks.plain")
    exec(compile(source, PAGE, "exec"), vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    (row,) = blocks(PAGE, "python", "row")
    rows = eval("{" + row + "}", {"Backbone": backbones.Backbone})
    monkeypatch.setattr(backbones, "BACKBONES", {**backbones.BACKBONES, **rows})
    for data_format in ("NHWC", "NCHW"):
        with tf.Graph().as_default(), TowerContext("", is_training=False):
            image = tf.placeholder(tf.float32, [2, 64, 64, 3])
            logits = backbones.Network("plain4", 7, 64).logits(image, data_format=data_format)
            assert logits.shape == (2, 7)
            assert "linear/W" in {variable.op.name for variable in tf.global_variables()}
