"""From a uint8 batch to logits: recolour, normalise, the network, its precision; the endpoints by name.

The names of tensors are a contract: the graph's input is `input`, what comes out is `logits`.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from webvision.compat import tf
from webvision.data.views.presets import PRESETS, Preset
from webvision.model import precision
from webvision.model.backbones import Network
from webvision.model.networks.layers import Endpoints, drops_seeded

TOP_K = 5


@dataclass(frozen=True)
class Arithmetic:
    """How a network is computed: nothing here changes what it computes, up to rounding."""

    data_format: str = "NHWC"
    compute_type: str = "float32"  # of activations; weights are kept in float32 always
    loss_scale: float = 1.0  # keeps small float16 gradients from becoming zero; divided out again


def choose_arithmetic(*, on_gpu, fp16=False, bf16=False, data_format=None):
    """The fastest layout and the asked-for precision.

    NHWC on the CPU (NCHW costs 1.4 times as much there) and for tensor cores in half precision, NCHW for float32 on
    a GPU. The static loss scale of 128 is the one NVIDIA's published float16 ResNet-50 runs use.
    """
    compute_type = "float16" if fp16 else "bfloat16" if bf16 else "float32"
    if data_format is None:
        data_format = "NCHW" if on_gpu and compute_type == "float32" else "NHWC"
    return Arithmetic(data_format, compute_type, 128.0 if fp16 else 1.0)


@dataclass(frozen=True)
class Forward:
    """A network as a function of pictures; training adds a loss to it, prediction takes it as it is."""

    network: Network
    arithmetic: Arithmetic
    preset: Preset = PRESETS["webvision"]  # how pixels are normalised; its geometry is the loader's matter
    seed: int = 0
    batch_norm_scope: Callable = contextlib.nullcontext

    def logits(self, image, colour=None, change=None):
        """Float32 logits [batch, classes] of uint8 BGR pictures [batch, size, size, 3], recoloured by matrices `colour`
        [batch, 3, 4] and then changed by the function `change`."""
        return self.endpoints(image, colour, change).logits

    def endpoints(self, image, colour=None, change=None):
        """As `logits`, with the last map [batch, h, w, c] and the features [batch, n] that they come from, in float32;
        None each for networks that only have logits (a user's own)."""
        if colour is not None:
            image = recolour(image, colour)
        if change is not None:
            image = change(image)
        image = tf.cast(normalise(image, self.preset), precision.COMPUTE_TYPES[self.arithmetic.compute_type])
        layout = self.arithmetic.data_format
        with (
            precision.variables_in_float32(),
            precision.weights_seeded_by_name(self.seed),
            drops_seeded(self.seed),
            self.batch_norm_scope(),
        ):
            if isinstance(self.network, Network):
                last_map, features, logits = self.network.endpoints(image, data_format=layout)
                last_map = tf.transpose(last_map, [0, 2, 3, 1]) if layout == "NCHW" else last_map
                last_map, features = tf.cast(last_map, tf.float32), tf.cast(features, tf.float32)
            else:
                last_map, features, logits = None, None, self.network.logits(image, data_format=layout)
        return Endpoints(last_map, features, tf.identity(tf.cast(logits, tf.float32), name="logits"))


def recolour(image, colour):
    """Pixels x -> M[:, :3] x + M[:, 3] in float32, neither clipped nor rounded; a worker's uint8 pictures are both."""
    with tf.name_scope("recolour"):
        pixels = tf.reshape(tf.cast(image, tf.float32), [tf.shape(image)[0], -1, 3])
        recoloured = tf.matmul(pixels, colour[:, :, :3], transpose_b=True) + colour[:, None, :, 3]
        return tf.reshape(recoloured, tf.shape(image))


def normalise(image, preset):
    """uint8 BGR pixels -> float32 as the network expects them: scaled, in `preset`'s colour order, mean and deviation
    out."""
    with tf.name_scope("normalise"):
        image = tf.cast(image, tf.float32) * (1.0 / preset.scale)
        if preset.colour_order == "rgb":
            image = tf.reverse(image, axis=[-1])
        return (image - tf.constant(preset.mean, tf.float32)) / tf.constant(preset.std, tf.float32)


def top_classes(logits, num_classes):
    """The best min(5, classes) class ids [batch, k], best first; among equals the lowest id, as everywhere here."""
    return tf.nn.top_k(logits, k=min(TOP_K, num_classes)).indices
