"""From a uint8 batch to a loss: normalise, backbone, cross entropy, weight decay.

The names of the tensors are a contract: `input`, `label`, `logits`, `res-top5`, `wrong-top1`, `wrong-top5`, `cost`.
"""

import contextlib
from dataclasses import dataclass

from webvision.compat import tf, tfv1
from webvision.data.views.presets import PRESETS
from webvision.model import precision
from webvision.model.backbones import Network

from tensorpack.models import l2_regularizer, regularize_cost
from tensorpack.tfutils.summary import add_moving_summary
from tensorpack.train import ModelDesc

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


class Classifier(ModelDesc):
    """One network with its loss and its optimiser, as tensorpack trainers take it."""

    def __init__(
        self,
        network: Network,
        arithmetic: Arithmetic,
        *,
        preset=PRESETS["webvision"],
        weight_decay=1e-4,
        momentum=0.9,
        seed=0,
        batch_norm_scope=None,
        colour_on_device=False,
    ):
        self.network = network
        self.arithmetic = arithmetic
        self.preset = preset  # how pixels are normalised; its geometry is the loader's matter
        self.weight_decay = weight_decay
        self.momentum = momentum
        self.seed = seed
        self.batch_norm_scope = batch_norm_scope or contextlib.nullcontext
        self.colour_on_device = colour_on_device  # training input brings a colour matrix for each picture

    def inputs(self):
        size = self.network.image_size
        specs = [tf.TensorSpec([None, size, size, 3], tf.uint8, "input"), tf.TensorSpec([None], tf.int32, "label")]
        return specs + [tf.TensorSpec([None, 3, 4], tf.float32, "colour")] * self.colour_on_device

    def logits(self, image, colour=None):
        """Float32 logits [batch, classes] of uint8 BGR pictures [batch, size, size, 3], recoloured by matrices `colour`
        [batch, 3, 4]."""
        compute_type = precision.COMPUTE_TYPES[self.arithmetic.compute_type]
        if colour is not None:
            image = recolour(image, colour)
        image = tf.cast(normalise(image, self.preset), compute_type)
        with precision.variables_in_float32(), precision.weights_seeded_by_name(self.seed), self.batch_norm_scope():
            logits = self.network.logits(image, data_format=self.arithmetic.data_format)
        return tf.identity(tf.cast(logits, tf.float32), name="logits")

    def build_graph(self, image, label, colour=None):
        logits = self.logits(image, colour)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(logits=logits, labels=label)
        loss = tf.reduce_mean(losses, name="xentropy-loss")
        top = tf.identity(top_classes(logits, self.network.num_classes), name="res-top5")
        for k in (1, TOP_K):
            wrong = _wrong(top, label, k)
            add_moving_summary(tf.reduce_mean(wrong, name=f"train-error-top{k}"))
        decay = regularize_cost(".*/W", l2_regularizer(self.weight_decay), name="l2_regularize_loss")
        cost = tf.add(loss, decay, name="cost")
        add_moving_summary(loss, decay, cost)
        return cost * self.arithmetic.loss_scale

    def optimizer(self):
        learning_rate = tfv1.get_variable("learning_rate", initializer=0.1, trainable=False)
        tfv1.summary.scalar("learning_rate-summary", learning_rate)
        optimizer = tfv1.train.MomentumOptimizer(learning_rate, self.momentum, use_nesterov=True)
        return (
            _UnscaledGradients(optimizer, self.arithmetic.loss_scale) if self.arithmetic.loss_scale != 1 else optimizer
        )


class _UnscaledGradients(tfv1.train.Optimizer):
    """Divides the loss scale out of the gradients, in float32, before they are averaged or applied."""

    def __init__(self, optimizer, loss_scale):
        super().__init__(use_locking=False, name="UnscaledGradients")
        self._optimizer = optimizer
        self._loss_scale = loss_scale

    def compute_gradients(self, *args, **kwargs):
        return [
            (None if gradient is None else gradient * (1 / self._loss_scale), variable)
            for gradient, variable in self._optimizer.compute_gradients(*args, **kwargs)
        ]

    def apply_gradients(self, *args, **kwargs):
        return self._optimizer.apply_gradients(*args, **kwargs)


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


def _wrong(top, label, k):
    # Not in_top_k: it calls every label right when all logits are equal, and so hides a network that says nothing.
    hit = tf.reduce_any(tf.equal(top[:, :k], label[:, None]), axis=1)
    return tf.cast(tf.logical_not(hit), tf.float32, name=f"wrong-top{k}")
