"""The scale that keeps small float16 gradients from becoming zero: halved by an overflow, doubled after a calm.

Micikevicius et al. 2018, sec. 3.2. A step whose gradients overflow changes no weight and no momentum.
"""

from webvision.compat import tf, tfv1
from webvision.errors import DivergedError

from tensorpack.callbacks import Callback
from tensorpack.utils import logger

CALM = 2000  # steps without an overflow after which the scale doubles
LARGEST = 2.0**24
SCALE, CALM_STEPS = "loss_scale", "loss_scale_calm"  # the names of the state


def variables(start):
    """(scale, calm steps): the state, made where the first tower is built, which has no scope of its own."""
    scale = tfv1.get_variable(SCALE, initializer=float(start), trainable=False)
    return scale, tfv1.get_variable(CALM_STEPS, initializer=0, trainable=False)


def after_step(scale, calm, *, overflowed):
    """(scale, calm steps) after a step with them."""
    if overflowed:
        return scale / 2, 0
    if calm + 1 >= CALM:
        return min(scale * 2, LARGEST), 0
    return scale, calm + 1


class ScaledOptimizer(tfv1.train.Optimizer):
    """Divides the scale out of the gradients, in float32, and applies them only if all of all towers are finite."""

    def __init__(self, optimizer, scale):
        super().__init__(use_locking=False, name="ScaledGradients")
        self._optimizer = optimizer
        self._scale = scale
        self.finite = None  # a tensor, once the gradients are applied

    def compute_gradients(self, *args, **kwargs):
        return [
            (None if gradient is None else gradient / self._scale, variable)
            for gradient, variable in self._optimizer.compute_gradients(*args, **kwargs)
        ]

    def apply_gradients(self, grads_and_vars, global_step=None, name=None):
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(gradient)) for gradient, _ in grads_and_vars])
        if self.finite is None:  # the first tower's; averaged gradients are the same in all
            self.finite = finite
        self._optimizer._create_slots([variable for _, variable in grads_and_vars])  # not within a branch
        return tf.cond(
            finite,
            lambda: tf.group(self._optimizer.apply_gradients(grads_and_vars, global_step, name)),
            lambda: tf.no_op(),
        )


class LossScale(Callback):
    """Follows the overflows; stands before the callback that saves. DivergedError once the scale is below 1."""

    def __init__(self, finite):
        """`finite()`: the tensor that tells it, once the graph stands."""
        self._finite_of = finite

    def _setup_graph(self):
        self._variables = [v for name in (SCALE, CALM_STEPS) for v in tfv1.global_variables() if v.op.name == name]
        self._fetch = tfv1.train.SessionRunArgs(self._finite_of())

    def _before_train(self):
        scale, calm = self.trainer.sess.run(self._variables)
        self._state = float(scale), int(calm)

    def _before_run(self, _):
        return self._fetch

    def _after_run(self, _, values):
        self._finite = bool(values.results)

    def _trigger_step(self):
        before, self._state = self._state, after_step(*self._state, overflowed=not self._finite)
        for variable, value in zip(self._variables, self._state):
            variable.load(value, self.trainer.sess)
        if self._finite:
            return
        logger.warning("Step %d overflowed at a loss scale of %g: left out", self.global_step, before[0])
        if self._state[0] < 1:
            raise DivergedError(
                f"step {self.global_step}: the gradients overflow at every loss scale; the last checkpoint is kept. "
                "Give the same command with a lower --lr, or with --bf16",
                step=self.global_step,
            )
