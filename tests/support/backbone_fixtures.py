"""The rows of tests/data/backbones.json, and what every backbone must do: asked of some in tests/model, of all in
tests/soak/backbones.py."""

import json
import os

import numpy as np
import onnx

from tests.support.data_set import ROOT
from tests.support.seeded import seeded_images, seeded_tensor
from webvision.compat import tf, tfv1
from webvision.export.formats import export_onnx, export_tflite
from webvision.export.graph import freeze
from webvision.export.onnx_writer import Options
from webvision.export.original import Original
from webvision.model.backbones import BACKBONES, HEAD, Network
from webvision.model.counting import cost_of
from webvision.model.foreign.names import foreign_name
from webvision.model.foreign.pretrained import Pretrained, shapes_of
from webvision.model.foreign.sources import sources_of
from webvision.model.forward import Arithmetic, Forward
from webvision.model.weights import load_into, open_weights

from tensorpack.tfutils.tower import PredictTowerContext, TrainTowerContext

CLASSES = 11
with open(os.path.join(ROOT, "tests", "data", "backbones.json"), encoding="utf-8") as file:
    REFERENCE = json.load(file)


def reference_id(row):
    return f"{row['backbone']} of {row['source']}"


def seeded_pretrained(name, source):
    """(Pretrained, Network) of a backbone, whose tensors are drawn by the names that they have at the source."""
    source = next(found for found in sources_of(name) if found.name == source)
    tensors = {}
    found = Pretrained("seeded", name, source, CLASSES, tensors, lambda array: array)
    network = found.network(image_size=(56, 32) if name == "FP_classifier" else 96)
    naming = source.naming(name)
    for variable, shape in shapes_of(network).items():
        theirs, _ = foreign_name(variable, naming, source.kind)
        tensors[theirs] = seeded_tensor(theirs, _torch_shape(variable, shape))
    return found, network


def _torch_shape(variable, shape):
    # A layer of a squeeze is a 1x1 convolution there, which has the same numbers.
    if not variable.endswith("/W"):
        return shape
    depthwise = variable.split("/")[-2] in ("dw", "start")
    order = [1, 0] if len(shape) == 2 else [2, 3, 0, 1] if depthwise else [3, 2, 0, 1]
    return tuple(shape[axis] for axis in order)


def logits_of(network, weights):
    """Logits of the two seeded pictures."""
    images = seeded_images(network.height, network.width)
    with tf.Graph().as_default(), PredictTowerContext(""):
        placeholder = tfv1.placeholder(tf.float32, [None, *images.shape[1:]])
        logits = network.logits(placeholder, data_format="NHWC")
        with tfv1.Session() as session:
            load_into(session, tfv1.global_variables(), weights)
            return session.run(logits, {placeholder: images})


def check_logits(row):
    """The logits of weights from elsewhere are those of the source's own network."""
    found, network = seeded_pretrained(row["backbone"], row["source"])
    ours, theirs = logits_of(network, found.weights(network)), np.array(row["logits"])
    spread = theirs.max() - theirs.min()
    assert np.abs(theirs[0] - theirs[1]).max() > 1e-3 * spread, (
        "the pictures are hardly told apart: nothing is compared"
    )
    assert np.abs(ours - theirs).max() <= 1e-5 * spread


def check_cost(name):
    """Parameters and multiplications are those of the row, and so of the reference."""
    row = BACKBONES[name]
    cost = cost_of(Network(name, 2 if name == "FP_classifier" else 1000))
    assert cost.parameters == row.parameters
    assert abs(cost.mmac - row.mmac) <= 0.005 + 1e-3 * row.mmac


def check_training(name):
    """Every weight has a finite gradient, and one step lowers the loss of the batch that it was made from."""
    network = Network(name, CLASSES, (56, 32) if name == "FP_classifier" else 64)
    images = np.random.default_rng(3).integers(0, 256, (4, network.height, network.width, 3), dtype=np.uint8)
    with tf.Graph().as_default(), TrainTowerContext(""):
        logits = Forward(network, Arithmetic()).logits(tf.constant(images))
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(logits=logits, labels=[1, 2, 3, 4]))
        variables = tfv1.trainable_variables()
        gradients = tf.gradients(loss, variables)
        assert [v.op.name for v, gradient in zip(variables, gradients) if gradient is None] == []
        last = [index for index, v in enumerate(variables) if v.op.name.startswith(f"{HEAD}/")]
        step = tf.group(*[variables[index].assign_sub(0.01 * gradients[index]) for index in last])
        with tfv1.Session() as session:
            session.run(tfv1.global_variables_initializer())
            assert logits.shape.as_list() == [4, CLASSES]
            before, values = session.run([loss, gradients])
            assert all(np.isfinite(value).all() for value in values)
            assert sum(np.abs(value).max() > 0 for value in values) > len(values) / 6  # others wait for a zeroed scale
            session.run(step)
            assert session.run(loss) < before


def check_export(name, folder):
    """ONNX and TFLite answer as TensorFlow does, without a transpose or a batch norm left."""
    found, network = seeded_pretrained(name, sources_of(name)[0].name)
    pictures = np.random.default_rng(5).integers(0, 256, (8, network.height, network.width, 3), dtype=np.uint8)
    preset = found.preset if name == "FP_classifier" else found.preset.scaled(96)
    original = Original(freeze(network, found.weights(network), preset), lambda: [pictures])
    for product in (
        export_onnx(original, os.path.join(folder, "model.onnx"), Options()),
        export_tflite(original, os.path.join(folder, "model.tflite")),
    ):
        assert product.parity.of_range <= 1e-4 and product.parity.same_top1 == 1
    kinds = {node.op_type for node in onnx.load(os.path.join(folder, "model.onnx")).graph.node}
    assert "Transpose" not in kinds and "BatchNormalization" not in kinds


def check_saving(name, folder):
    """A checkpoint brings the same logits back in a new graph."""
    found, network = seeded_pretrained(name, sources_of(name)[0].name)
    images = seeded_images(network.height, network.width)
    with tf.Graph().as_default(), PredictTowerContext(""):
        placeholder = tfv1.placeholder(tf.float32, [None, *images.shape[1:]])
        logits = network.logits(placeholder, data_format="NHWC")
        with tfv1.Session() as session:
            load_into(session, tfv1.global_variables(), found.weights(network))
            before = session.run(logits, {placeholder: images})
            path = tfv1.train.Saver().save(session, os.path.join(folder, "model-1"), write_meta_graph=False)
    assert np.array_equal(logits_of(network, open_weights(path)), before)
