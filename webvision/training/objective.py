"""What a network is trained for: cross entropy, weight decay, the optimiser.

The names of the tensors are a contract: `input`, `label`, `logits`, `res-top5`, `wrong-top1`, `wrong-top5`, `cost`.
"""

import contextlib

from webvision.compat import tf, tfv1
from webvision.data.views.presets import PRESETS
from webvision.model.backbones import Network
from webvision.model.forward import TOP_K, Arithmetic, Forward, top_classes
from webvision.training.parts import optimisers

from tensorpack.models import l2_regularizer, regularize_cost
from tensorpack.tfutils.summary import add_moving_summary
from tensorpack.train import ModelDesc


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
        recipe=None,
        seed=0,
        batch_norm_scope=None,
        colour_on_device=False,
    ):
        self.forward = Forward(network, arithmetic, preset, seed, batch_norm_scope or contextlib.nullcontext)
        self.weight_decay = weight_decay
        self.momentum = momentum
        self.recipe = recipe  # names the optimiser; None: Nesterov's momentum
        self.colour_on_device = colour_on_device  # training input brings a colour matrix for each picture

    def inputs(self):
        size = self.forward.network.image_size
        specs = [tf.TensorSpec([None, size, size, 3], tf.uint8, "input"), tf.TensorSpec([None], tf.int32, "label")]
        return specs + [tf.TensorSpec([None, 3, 4], tf.float32, "colour")] * self.colour_on_device

    def build_graph(self, image, label, colour=None):
        logits = self.forward.logits(image, colour)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(logits=logits, labels=label)
        loss = tf.reduce_mean(losses, name="xentropy-loss")
        top = tf.identity(top_classes(logits, self.forward.network.num_classes), name="res-top5")
        for k in (1, TOP_K):
            wrong = _wrong(top, label, k)
            add_moving_summary(tf.reduce_mean(wrong, name=f"train-error-top{k}"))
        decay = regularize_cost(".*/W", l2_regularizer(self.weight_decay), name="l2_regularize_loss")
        cost = tf.add(loss, decay, name="cost")
        add_moving_summary(loss, decay, cost)
        return cost * self.forward.arithmetic.loss_scale

    def optimizer(self):
        learning_rate = tfv1.get_variable("learning_rate", initializer=0.1, trainable=False)
        tfv1.summary.scalar("learning_rate-summary", learning_rate)
        if self.recipe:
            optimizer = optimisers.make(self.recipe, learning_rate)
        else:
            optimizer = tfv1.train.MomentumOptimizer(learning_rate, self.momentum, use_nesterov=True)
        scale = self.forward.arithmetic.loss_scale
        return _UnscaledGradients(optimizer, scale) if scale != 1 else optimizer


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


def _wrong(top, label, k):
    # Not in_top_k: it calls every label right when all logits are equal, and so hides a network that says nothing.
    hit = tf.reduce_any(tf.equal(top[:, :k], label[:, None]), axis=1)
    return tf.cast(tf.logical_not(hit), tf.float32, name=f"wrong-top{k}")
