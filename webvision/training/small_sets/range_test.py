"""Is a learning rate safe for these weights? A few steps with a rate that rises to it; it may only be lowered.

Weights that are good already are lost in one epoch by a rate that trains others well (measured: 0.88 to 0.24), and the
loss says so within the first steps at that rate.
"""

import numpy as np

from webvision.compat import tf, tfv1
from webvision.model.session import open_session
from webvision.model.weights import load_into, open_weights

from tensorpack.tfutils.common import get_global_step_var
from tensorpack.tfutils.tower import TrainTowerContext

STEPS = 20
FROM = 0.01  # share of the wanted rate at the first step
MARGIN = 4.0  # below the rate at which the loss rose
_WINDOW = 4  # steps that are averaged
_RISE = 1.5  # times the loss at the start, and this much more
_FLOOR = 0.3


def rates(wanted):
    """The rate of each step, rising evenly in its logarithm to `wanted`."""
    return np.geomspace(FROM * wanted, wanted, STEPS)


def safe_rate(wanted, losses):
    """`wanted`, or less if the losses at `rates(wanted)` rose or were no numbers: MARGIN below where they began to."""
    losses = np.asarray(losses, np.float64)
    start = np.mean(losses[:_WINDOW])
    for step in range(len(losses)):
        window = losses[max(0, step - _WINDOW + 1) : step + 1]
        if not np.isfinite(window).all() or window.mean() > _RISE * start + _FLOOR:
            return float(rates(wanted)[max(0, step - _WINDOW + 1)] / MARGIN)
    return wanted


def measure(model, weights, batches, wanted, devices):
    """The losses of STEPS steps of `model` (a Classifier) from the file `weights`; nothing is kept of them."""
    with tf.Graph().as_default():
        get_global_step_var()
        inputs = [tfv1.placeholder(spec.dtype, spec.shape, spec.name) for spec in model.get_input_signature()]
        with TrainTowerContext(""):
            cost = model.build_graph(*inputs)
            optimizer = model.get_optimizer()
            step = optimizer.apply_gradients(optimizer.compute_gradients(cost))
        loss = tfv1.get_default_graph().get_tensor_by_name("xentropy-loss:0")
        rate = next(v for v in tfv1.global_variables() if v.op.name == "learning_rate")
        network = tfv1.trainable_variables() + [
            v for v in tfv1.global_variables() if v.op.name.endswith(("/mean/EMA", "/variance/EMA"))
        ]
        with open_session(devices) as session:
            session.run(tfv1.global_variables_initializer())
            load_into(session, network, open_weights(weights))
            losses = []
            for value, batch in zip(rates(wanted), batches):
                rate.load(value, session)
                fed = dict(zip(inputs, (batch.images, batch.labels)))
                losses.append(float(session.run([loss, step], fed)[0]))
                if not np.isfinite(losses[-1]):
                    break
    return losses
