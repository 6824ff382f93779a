"""Averaged weights: an exponential mean of the weights and of batch norm's moments, under names of their own.

They are what is better to predict with after noisy steps (Polyak and Juditsky 1992; Izmailov et al. 2018), are
saved with the run as `average/NAME`, and never touch the training itself.
"""

import contextlib

from webvision.compat import tf, tfv1
from webvision.model.weights import AVERAGE
from webvision.training.parts.schedules import average_decay

from tensorpack.callbacks import Callback

EVERY = 8  # steps from one update to the next: a copy of all weights each time


class Averages(Callback):
    """Keeps the averages of `variables()`; stands before the callback that saves."""

    def __init__(self, variables, *, half_life):
        """`variables()`: those of the network, once its graph stands; `half_life` in steps."""
        self._variables = variables
        self._half_life = half_life

    def _setup_graph(self):
        variables = self._variables()
        with tfv1.variable_scope(tfv1.get_variable_scope(), reuse=False):
            self.averages = {v.op.name: _variable_beside(v) for v in variables}
        self._kept = tfv1.placeholder(tf.float32, [], "average-kept")
        with tf.name_scope("averages"):
            pairs = [(self.averages[v.op.name], v) for v in variables]
            self._update = tf.group(*(a.assign(a + (1 - self._kept) * (v - a)) for a, v in pairs))
            self._begin = tf.group(*(a.assign(v) for a, v in pairs))

    def _before_train(self):
        if not self.global_step:
            self.trainer.sess.run(self._begin)

    def _trigger_step(self):
        if self.global_step % EVERY == 0:
            kept = average_decay(self.global_step, self._half_life, every=EVERY)
            self.trainer.sess.run(self._update, {self._kept: kept})

    @contextlib.contextmanager
    def in_place_of_weights(self):
        """Within the block, whatever asks for a variable of the network gets its average."""

        def getter(get, name, *args, **kwargs):
            average = self.averages.get(name)
            return get(name, *args, **kwargs) if average is None else average

        with tfv1.variable_scope(tfv1.get_variable_scope(), custom_getter=getter):
            yield


def _variable_beside(variable):
    return tfv1.get_variable(
        AVERAGE + variable.op.name,
        variable.shape,
        variable.dtype.base_dtype,
        tf.zeros_initializer(),
        trainable=False,
        collections=[tfv1.GraphKeys.GLOBAL_VARIABLES],
    )
