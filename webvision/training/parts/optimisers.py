"""Optimisers whose updates equal PyTorch's, so that other people's recipes mean the same here.

Momentum and Nesterov's are TensorFlow's own, which compute what PyTorch's SGD does. In all but AdamW weight decay is
part of the loss; AdamW's is taken from the weights themselves.
"""

import re

from webvision.compat import tf, tfv1
from webvision.training.parts.layer_rates import LayerRates
from webvision.training.parts.step_number import step_number

NAMES = ("sgd", "asgd", "adam", "adamw")
SLOTS = (
    "Momentum",
    "Adam_mean",
    "Adam_square",
    "ASGD_average",
    "Accumulated",
)  # what checkpoints hold beside each weight
_DECAYED = re.compile(r"/W$")  # convolution and linear weights, neither biases nor batch norm
ASGD_LAMBDA, ASGD_ALPHA, ASGD_START = 1e-4, 0.75, 1_000_000  # PyTorch's defaults


def make(recipe, learning_rate):
    """The optimiser that `recipe` names, on the variable `learning_rate`."""
    if recipe.head_rate != 1 or recipe.depth_decay != 1:
        return LayerRates(
            lambda scale: _make(recipe, learning_rate * scale),
            head_rate=recipe.head_rate,
            depth_decay=recipe.depth_decay,
        )
    return _make(recipe, learning_rate)


def _make(recipe, learning_rate):
    if recipe.optimizer == "sgd":
        if not recipe.momentum:
            return tfv1.train.GradientDescentOptimizer(learning_rate)
        return tfv1.train.MomentumOptimizer(learning_rate, recipe.momentum, use_nesterov=recipe.nesterov)
    if recipe.optimizer == "asgd":
        return AveragedSGD(learning_rate, accumulate=recipe.accumulate)
    decay = recipe.weight_decay if recipe.optimizer == "adamw" else 0.0
    return Adam(
        learning_rate, betas=recipe.betas, epsilon=recipe.epsilon, weight_decay=decay, accumulate=recipe.accumulate
    )


class _DenseOptimizer(tfv1.train.Optimizer):
    """What the optimisers below share: the number of the step, from the run's own counter, and dense gradients only."""

    def __init__(self, learning_rate, name, accumulate):
        super().__init__(use_locking=False, name=name)
        self._rate = learning_rate
        self._accumulate = accumulate  # steps to an update

    def _updates_before(self):
        return tf.cast(step_number() // self._accumulate, tf.float32)

    def _resource_apply_dense(self, gradient, variable):
        return self._apply_dense(gradient, variable)

    def _apply_sparse(self, gradient, variable):
        raise NotImplementedError("the networks here have dense gradients only")


class Adam(_DenseOptimizer):
    """Kingma and Ba 2015, with epsilon outside the corrected root as in PyTorch; AdamW with a `weight_decay`."""

    def __init__(self, learning_rate, *, betas=(0.9, 0.999), epsilon=1e-8, weight_decay=0.0, accumulate=1):
        super().__init__(learning_rate, "Adam", accumulate)
        self._betas = betas
        self._epsilon = epsilon
        self._weight_decay = weight_decay

    def _create_slots(self, variables):
        for variable in variables:
            self._zeros_slot(variable, "mean", "Adam_mean")
            self._zeros_slot(variable, "square", "Adam_square")

    def _apply_dense(self, gradient, variable):
        low, high = self._betas
        mean, square = self.get_slot(variable, "mean"), self.get_slot(variable, "square")
        new_mean = mean.assign(low * mean + (1 - low) * gradient)
        new_square = square.assign(high * square + (1 - high) * tf.square(gradient))
        step = self._updates_before() + 1
        correction = 1 - tf.pow(low, step)
        denominator = tf.sqrt(new_square) / tf.sqrt(1 - tf.pow(high, step)) + self._epsilon
        rate = tf.convert_to_tensor(self._rate)
        kept = variable
        if self._weight_decay and _DECAYED.search(variable.op.name):
            kept = variable * (1 - rate * self._weight_decay)
        return variable.assign(kept - rate / correction * new_mean / denominator)


class AveragedSGD(_DenseOptimizer):
    """Polyak and Juditsky 1992 as PyTorch's ASGD computes it: a falling rate, and the average of the weights after
    `start` steps in a slot beside each.

    Where PyTorch keeps the rate of the last step for the next, the current one is used: a schedule is not a step late.
    """

    def __init__(self, learning_rate, *, lambd=ASGD_LAMBDA, alpha=ASGD_ALPHA, start=ASGD_START, accumulate=1):
        super().__init__(learning_rate, "ASGD", accumulate)
        self._lambd, self._alpha, self._start = lambd, alpha, start

    def _create_slots(self, variables):
        for variable in variables:
            self._zeros_slot(variable, "average", "ASGD_average")

    def _apply_dense(self, gradient, variable):
        average = self.get_slot(variable, "average")
        before, rate = self._updates_before(), tf.convert_to_tensor(self._rate)
        eta = rate / tf.pow(1 + self._lambd * rate * before, self._alpha)
        weight = variable.assign(variable * (1 - self._lambd * eta) - eta * gradient)
        return average.assign(average + (weight - average) / tf.maximum(1.0, before - self._start))


class Accumulated(tfv1.train.Optimizer):
    """Applies the mean of the gradients of `steps` steps, once in as many; between them no weight changes."""

    def __init__(self, optimizer, steps):
        super().__init__(use_locking=False, name="Accumulated")
        self._optimizer = optimizer
        self._steps = steps

    def compute_gradients(self, *args, **kwargs):
        return self._optimizer.compute_gradients(*args, **kwargs)

    def _create_slots(self, variables):
        for variable in variables:
            self._zeros_slot(variable, "sum", "Accumulated")
        self._optimizer._create_slots(variables)

    def apply_gradients(self, grads_and_vars, global_step=None, name=None):
        grads_and_vars = list(grads_and_vars)
        self._create_slots([variable for _, variable in grads_and_vars])  # not within a branch
        sums = [self.get_slot(variable, "sum") for _, variable in grads_and_vars]
        totals = [total + gradient for total, (gradient, _) in zip(sums, grads_and_vars)]

        def apply():
            means = [(total / self._steps, variable) for total, (_, variable) in zip(totals, grads_and_vars)]
            with tf.control_dependencies([self._optimizer.apply_gradients(means, global_step, name)]):
                return tf.group(*(total.assign(tf.zeros_like(total)) for total in sums))

        def keep():
            return tf.group(*(kept.assign(total) for kept, total in zip(sums, totals)))

        return tf.cond(tf.equal((step_number() + 1) % self._steps, 0), apply, keep)
