"""What a network is trained for: the loss that a recipe is made of, weight decay, the optimiser.

The names of the tensors are a contract: `input`, `label`, `logits`, `res-top5`, `wrong-top1`, `wrong-top5`, `cost`.
Every part that a recipe leaves off leaves no operation behind.
"""

import contextlib

from webvision.compat import tf, tfv1
from webvision.data.views.presets import PRESETS
from webvision.model.backbones import Network
from webvision.model.forward import TOP_K, Arithmetic, Forward, top_classes
from webvision.training.parts import (
    early_learning,
    loss_scale,
    losses,
    margins,
    mixing,
    neighbours,
    optimisers,
    sharpness,
)
from webvision.training.parts.step_number import step_number
from webvision.training.recipes import CARD, Recipe, Task

from tensorpack.models import l2_regularizer, regularize_cost
from tensorpack.tfutils.gradproc import GlobalNormClip
from tensorpack.tfutils.optimizer import apply_grad_processors
from tensorpack.tfutils.tower import get_current_tower_context
from tensorpack.train import ModelDesc

FED = {  # what a batch may bring beside images and labels: (name of the input, shape of a row, type)
    "matrices": ("colour", (3, 4), "float32"),  # colours for the device
    "shown": ("row-shown", (), "int64"),  # row of the list
    "shares": ("own-share", (), "float32"),  # of mixing
    "weights": ("row-weight", (), "float32"),
}


def fed_by(recipe, task=Task(), *, colour_on_device=False):
    """The names of FED that training with `recipe` needs, in the order of the inputs."""
    needs_rows = recipe.margins or recipe.early_learning or recipe.neighbours
    wanted = {"matrices": colour_on_device, "shown": needs_rows, "shares": recipe.mixup, "weights": task.weighted}
    return tuple(name for name in FED if wanted[name])


class Classifier(ModelDesc):
    """One network with its loss and its optimiser, as tensorpack trainers take it."""

    def __init__(
        self,
        network: Network,
        arithmetic: Arithmetic,
        *,
        recipe: Recipe = CARD,
        task: Task = Task(),
        preset=PRESETS["webvision"],
        seed=0,
        batch_norm_scope=None,
        colour_on_device=False,
    ):
        self.forward = Forward(network, arithmetic, preset, seed, batch_norm_scope or contextlib.nullcontext)
        self.recipe = recipe
        self.task = task
        self.fed = fed_by(recipe, task, colour_on_device=colour_on_device)
        self.queue = None  # of neighbours, once the graph stands
        self.memory = None  # of early learning
        self.scale = None  # of the loss, where gradients are float16
        self.scaled = None  # the optimiser that knows it

    def inputs(self):
        size = self.forward.network.image_size
        specs = [tf.TensorSpec([None, size, size, 3], tf.uint8, "input"), tf.TensorSpec([None], tf.int32, "label")]
        extras = [FED[name] for name in self.fed]
        return specs + [tf.TensorSpec([None, *shape], tf.as_dtype(kind), name) for name, shape, kind in extras]

    def build_graph(self, image, label, *extras):
        fed = dict(zip(self.fed, extras))
        logits = self._logits(image, fed)
        targets = self._targets(logits, fed)
        loss = tf.reduce_mean(self._losses(logits, label, fed, targets), name="xentropy-loss")
        top = tf.identity(top_classes(logits, self.forward.network.num_classes), name="res-top5")
        for k in (1, TOP_K):
            tf.reduce_mean(_wrong(top, label, k), name=f"train-error-top{k}")
        decay = self._decay("l2_regularize_loss")
        cost = tf.add(loss, decay, name="cost")
        self._tell_margins(logits, label, fed)
        if self.recipe.sam:
            cost = self._cost_uphill(cost, decay, (image, label, fed, targets))
        return cost * self._loss_scale() if self._half_gradients else cost

    def _logits(self, image, fed):
        mix = (lambda pixels: mixing.mix(pixels, fed["shares"])) if "shares" in fed else None
        return self.forward.logits(image, fed.get("matrices"), change=mix)

    def _targets(self, logits, fed):
        """What the state of the run says the network should answer: {part: tensors}, through which no gradient goes."""
        targets = {}
        if self.recipe.neighbours:
            targets["neighbours"] = self._neighbours_say(logits, fed["shown"])
        if self.recipe.early_learning:
            targets["early"] = self._early_answers(logits, fed)
        return targets

    def _losses(self, logits, label, fed, targets):
        recipe = self.recipe
        adjusted = logits
        if recipe.logit_adjust and self.task.counts:
            adjusted = logits + losses.log_shares(self.task.counts, recipe.logit_adjust)
        each = losses.cross_entropy(adjusted, label, recipe.label_smoothing)
        if "shares" in fed:
            partner = losses.cross_entropy(adjusted, mixing.partners(label), recipe.label_smoothing)
            each = losses.mixed(fed["shares"], each, partner)
        if "neighbours" in targets:
            said, weight = targets["neighbours"]
            apart = losses.divergence(logits, said, recipe.neighbours_temperature)
            each = (1 - weight) * each + weight * apart
        if "early" in targets:
            each += recipe.early_learning * losses.early_learning(logits, targets["early"])
        return each * fed["weights"] if "weights" in fed else each

    def _neighbours_say(self, logits, rows):
        """(targets, weight of each picture's)"""
        recipe, classes, features = self.recipe, self.forward.network.num_classes, features_of(logits)
        own = neighbours.entries(rows, features, logits, recipe.neighbours_temperature)
        if recipe.neighbours_queue and self.queue is None:
            self.queue = neighbours.Queue(recipe.neighbours_queue, recipe.batch, features.shape[1], classes)
        bank = self.queue.bank() if self.queue else own
        targets, found = neighbours.consensus(own, bank, count=recipe.neighbours_count, num_classes=classes)
        begun = tf.cast(step_number() >= round(recipe.neighbours_after * recipe.total_steps), tf.float32)
        for name, tensor in zip(neighbours.QUEUED, own):
            tf.identity(tensor, name=name)
        return tf.identity(targets, name=neighbours.READ), recipe.neighbours * begun * found

    def _early_answers(self, logits, fed):
        if self.memory is None:
            self.memory = early_learning.Memory(self.task.rows, self.forward.network.num_classes)
        before = tf.identity(self.memory.read(fed["shown"]), name=early_learning.READ)
        after = losses.early_targets(before, logits, self.recipe.early_learning_memory)
        tf.identity(fed["shown"], name=early_learning.ROWS)
        after = tf.identity(after, name=early_learning.TARGETS)
        return losses.mixed(fed["shares"][:, None], after, mixing.partners(after)) if "shares" in fed else after

    def _cost_uphill(self, cost, decay, batch):
        """The cost at w + e, whose gradient is taken at w; its operations bear none of the contract's names."""
        image, label, fed, targets = batch
        weights = get_current_tower_context().get_collection_in_tower(tfv1.GraphKeys.TRAINABLE_VARIABLES)
        with tf.name_scope("uphill"), sharpness.displaced(sharpness.uphill(cost, weights, self.recipe.sam)):
            return tf.reduce_mean(self._losses(self._logits(image, fed), label, fed, targets)) + decay

    def _decay(self, name):
        if self.recipe.optimizer == "adamw":
            return tf.zeros([], name=name)
        return regularize_cost(".*/W", l2_regularizer(self.recipe.weight_decay), name=name)

    def _tell_margins(self, logits, label, fed):
        if not self.recipe.margins:
            return
        tf.identity(losses.margins(logits, label), name=margins.MARGIN)
        shares = fed.get("shares")
        own = tf.ones_like(label, tf.bool) if shares is None else shares >= mixing.UNMIXED
        tf.identity(own, name=margins.UNMIXED)
        tf.identity(fed["shown"], name=margins.ROW)

    @property
    def _half_gradients(self):
        return self.forward.arithmetic.loss_scale != 1

    def _loss_scale(self):
        if self.scale is None:
            self.scale, _ = loss_scale.variables(self.forward.arithmetic.loss_scale)
        return self.scale

    def optimizer(self):
        learning_rate = tfv1.get_variable("learning_rate", initializer=0.1, trainable=False)
        optimizer = optimisers.make(self.recipe, learning_rate)
        if self.recipe.clip:
            optimizer = apply_grad_processors(optimizer, [GlobalNormClip(self.recipe.clip)])
        if self.recipe.accumulate > 1:
            optimizer = optimisers.Accumulated(optimizer, self.recipe.accumulate)
        if self._half_gradients:
            optimizer = self.scaled = loss_scale.ScaledOptimizer(optimizer, self._loss_scale())
        return optimizer


def features_of(logits):
    """What the last layer made the logits from, [batch, d]."""
    tensor = logits
    while tensor.op.type != "MatMul":
        tensor = tensor.op.inputs[0]
    return tensor.op.inputs[0]


def _wrong(top, label, k):
    # Not in_top_k: it calls every label right when all logits are equal, and so hides a network that says nothing.
    hit = tf.reduce_any(tf.equal(top[:, :k], label[:, None]), axis=1)
    return tf.cast(tf.logical_not(hit), tf.float32, name=f"wrong-top{k}")
