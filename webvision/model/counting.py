"""What a network costs: its parameters, and the multiplications for one picture, read off its graph."""

from dataclasses import dataclass

import numpy as np

from webvision.compat import tf, tfv1

from tensorpack.tfutils.tower import PredictTowerContext


@dataclass(frozen=True)
class Cost:
    """As others count them, so that figures compare."""

    parameters: int  # trainable: without batch norm's running statistics
    mmac: float  # millions of multiplications in convolutions and linear layers, for one picture

    @property
    def megabytes(self):
        """Size of the parameters in float32, in millions of bytes."""
        return self.parameters * 4 / 1e6


def cost_of(network):
    """The Cost of a Network at its own image size."""
    with tf.Graph().as_default() as graph, PredictTowerContext(""):
        image = tfv1.placeholder(tf.float32, [1, network.height, network.width, 3])
        network.logits(image, data_format="NHWC")
        parameters = sum(int(np.prod(variable.shape)) for variable in tfv1.trainable_variables())
        return Cost(parameters, sum(map(_multiplications, graph.get_operations())) / 1e6)


def _multiplications(operation):
    if operation.type == "MatMul":
        return int(np.prod(operation.inputs[1].shape))
    if operation.type not in ("Conv2D", "DepthwiseConv2dNative"):
        return 0
    height, width, channels, _ = operation.inputs[1].shape
    per_output = height * width * (channels if operation.type == "Conv2D" else 1)
    return int(np.prod(operation.outputs[0].shape)) * per_output
