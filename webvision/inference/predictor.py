"""A network with the weights of a checkpoint, as a function from pictures to arrays."""

import os

from webvision.compat import tf, tfv1
from webvision.devices import Devices
from webvision.errors import CheckpointError, printable
from webvision.files import read_json
from webvision.model.forward import Forward
from webvision.model.session import open_session, require_gpus
from webvision.model.towers import PredictionTowers
from webvision.model.weights import averaged as averages_in
from webvision.model.weights import load_into, open_weights


def choose_weights(weights, averaged=None):
    """(the Weights to predict with, whether they are averages) of a checkpoint; CheckpointError if it has none of
    those that are asked for.

    Unasked, the averages are taken unless the run's validation of that step found the last weights better.
    """
    averages = averages_in(weights) if averaged is not False else None
    if averages is None:
        if averaged:
            raise CheckpointError(f"{printable(weights.path)}: the run kept no averages (a recipe's `averages`)")
        return weights, False
    if averaged is None and _last_were_better(weights.path):
        return weights, False
    return averages, True


def _last_were_better(prefix):
    """Whether stats.json beside a checkpoint has an error of its last weights below that of the averages."""
    step, name = prefix.rpartition("-")[2], "val-balanced-error-top1"
    try:
        epochs = read_json(os.path.join(os.path.dirname(prefix), "stats.json"))
        figures = next(epoch for epoch in reversed(epochs) if str(epoch["global_step"]) == step)
        return figures[name] < figures[f"average-{name}"]
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        return False


class Predictor:
    """Predicts uint8 BGR batches [n, size, size, 3] on one device or several; use it in a `with` block.

    Every variable of the network comes from the checkpoint, by name and shape, or CheckpointError says what does not
    fit; `.fit` tells what was loaded, `.averaged` whether it is the run's averages.
    """

    def __init__(self, network, arithmetic, checkpoint, *, preset, devices=Devices(), averaged=None):
        """`averaged`: take the averages that the run kept of its weights, or not; None: where they are the better
        ones."""
        require_gpus(devices.gpus)
        weights, self.averaged = choose_weights(open_weights(checkpoint), averaged)
        with tf.Graph().as_default():
            variable_towers = PredictionTowers(Forward(network, arithmetic, preset), devices.names)
            with open_session(devices) as session:
                self.match = load_into(session, tfv1.global_variables(), weights)
                self._towers = variable_towers.frozen(session)
        self._session = open_session(devices, self._towers.graph)
        self.checkpoint = weights.path

    def __call__(self, images, fetch=("top", "top_scores", "finite")):
        """The arrays named in `fetch` (also 'logits', 'probabilities'), a row for each of `images`."""
        return self._towers.run(self._session, images, fetch)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._session.close()
