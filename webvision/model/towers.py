"""Prediction on one device or several: the batch is cut into one piece per device and put together again."""

import copy

import numpy as np

from webvision.compat import tf, tfv1
from webvision.model.forward import top_classes
from webvision.model.misplaced import PlacementOnce
from webvision.model.networks.layers import Endpoints

from tensorpack.tfutils.tower import PredictTowerContext


class PredictionTowers:
    """The network's outputs as a function of a uint8 batch of any size, for a session that holds its variables."""

    def __init__(self, forward, devices, *, variable_scopes=None):
        """Build one tower per entry of `devices`.

        Their variables are made by the first; or they are there already, and `variable_scopes` says where for each
        tower.
        """
        size = forward.network.image_size
        self._count = len(devices)
        self._on_gpu = any("gpu" in device for device in devices)
        self._placement = PlacementOnce(self._on_gpu)
        self._image = tfv1.placeholder(tf.uint8, [None, size, size, 3], name="prediction-input")
        pieces = self._cut(self._image)
        endpoints = []
        for index, (device, piece) in enumerate(zip(devices, pieces)):
            scope = variable_scopes[index] if variable_scopes else ""
            reuse = bool(variable_scopes) or index > 0
            with (
                tfv1.device(device),
                tfv1.variable_scope(tfv1.get_variable_scope(), reuse=reuse),
                PredictTowerContext(f"prediction{index}", vs_name=scope),
            ):
                endpoints.append(forward.endpoints(piece))
        self._outputs = {
            name: tf.concat(pieces, axis=0)
            for name, pieces in zip(Endpoints._fields, zip(*endpoints))
            if pieces[0] is not None
        }
        logits = self._outputs["logits"]
        self._outputs |= {
            "probabilities": tf.nn.softmax(logits),
            "top": top_classes(logits, forward.network.num_classes),
            "finite": tf.reduce_all(tf.math.is_finite(logits), axis=1),
        }
        self._outputs["top_scores"] = tf.gather(self._outputs["probabilities"], self._outputs["top"], batch_dims=1)

    def frozen(self, session):
        """A copy of these towers in a graph of their own, whose weights are constants as they stand in `session`.

        TensorFlow then folds batch norm into the convolutions, and every device has its own weights.
        """
        outputs = [tensor.op.name for tensor in self._outputs.values()]
        constant = tfv1.graph_util.convert_variables_to_constants(session, session.graph.as_graph_def(), outputs)
        graph = tf.Graph()
        with graph.as_default():
            tf.import_graph_def(constant, name="")
        twin = copy.copy(self)
        twin._placement = PlacementOnce(self._on_gpu)
        twin._image = graph.get_tensor_by_name(self._image.name)
        twin._outputs = {name: graph.get_tensor_by_name(tensor.name) for name, tensor in self._outputs.items()}
        return twin

    @property
    def graph(self):
        return self._image.graph

    def tensor(self, name):
        """The tensor of one output."""
        return self._outputs[name]

    def run(self, session, images, fetch):
        """The arrays named in `fetch`, a row for each of `images`."""
        rows = len(images)
        if rows < self._count:  # some tower would get nothing, which not every kernel accepts
            images = np.concatenate([images, np.repeat(images[-1:], self._count - rows, axis=0)])
        options = self._placement.options()
        metadata = tfv1.RunMetadata() if options else None
        fetches = [self._outputs[name] for name in fetch]
        results = session.run(fetches, {self._image: images}, options=options, run_metadata=metadata)
        self._placement.look(metadata)
        return [result[:rows] for result in results]

    def _cut(self, image):
        if self._count == 1:
            return [image]
        rows = tf.shape(image)[0]
        sizes = [(rows + self._count - 1 - index) // self._count for index in range(self._count)]
        return tf.split(image, tf.stack(sizes), num=self._count)
