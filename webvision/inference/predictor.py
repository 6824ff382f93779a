"""A network with the weights of a checkpoint, as a function from pictures to arrays."""

from webvision.compat import tf, tfv1
from webvision.devices import Devices
from webvision.model.forward import Forward
from webvision.model.session import open_session, require_gpus
from webvision.model.towers import PredictionTowers
from webvision.model.weights import load_into, open_weights


class Predictor:
    """Predicts uint8 BGR batches [n, size, size, 3] on one device or several; use it in a `with` block.

    Every variable of the network comes from the checkpoint, by name and shape, or CheckpointError says what does not
    fit; `.fit` tells what was loaded.
    """

    def __init__(self, network, arithmetic, checkpoint, *, preset, devices=Devices()):
        require_gpus(devices.gpus)
        weights = open_weights(checkpoint)
        with tf.Graph().as_default():
            variable_towers = PredictionTowers(Forward(network, arithmetic, preset), devices.names)
            with open_session(devices) as session:
                self.fit = load_into(session, tfv1.global_variables(), weights)
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
