"""A network as it is exported: a graph of constants, from a normalised picture (or a uint8 one) to logits."""

from dataclasses import dataclass

from webvision.compat import tf, tfv1
from webvision.data.views.presets import Preset
from webvision.model.backbones import Network
from webvision.model.weights import load_into

from tensorpack.tfutils.tower import PredictTowerContext

INPUT, LOGITS = "input", "logits"


@dataclass(frozen=True)
class Frozen:
    """A graph without variables, and what goes in and out of it."""

    graph: tf.Graph
    network: Network
    preset: Preset

    @property
    def input(self):
        """Float32 normalised pictures [batch, height, width, 3], in the preset's colour order."""
        return self.graph.get_tensor_by_name(f"{INPUT}:0")

    @property
    def logits(self):
        return self.graph.get_tensor_by_name(f"{LOGITS}:0")

    def session(self):
        return tfv1.Session(graph=self.graph)


def freeze(network, weights, preset, *, batch=None):
    """The Frozen of `network` with `weights` (model.weights.Weights; None: fresh ones); its pictures are prepared by
    `preset`."""
    with tf.Graph().as_default() as graph, PredictTowerContext(""):
        image = tfv1.placeholder(tf.float32, [batch, network.height, network.width, 3], name=INPUT)
        tf.identity(network.logits(image, data_format="NHWC"), name=LOGITS)
        with tfv1.Session() as session:
            if weights is None:
                session.run(tfv1.global_variables_initializer())
            else:
                load_into(session, tfv1.global_variables(), weights)
            constant = tfv1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), [LOGITS])
    frozen = tf.Graph()
    with frozen.as_default():
        tf.import_graph_def(constant, name="")
    return Frozen(frozen, network, preset)
