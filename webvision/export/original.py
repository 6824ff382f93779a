"""What an export is compared with: the network in TensorFlow, over pictures as they are evaluated."""

import functools

import numpy as np

from webvision.compat import tf, tfv1
from webvision.export.parity import compare
from webvision.model.forward import normalise


class Original:
    """A Frozen network and the pictures that exports are tried on.

    `batches()` gives uint8 BGR batches [n, height, width, 3], the same at every call; `labels`: their classes, or None.
    """

    def __init__(self, frozen, batches, *, labels=None):
        self.frozen = frozen
        self.batches = batches
        self.labels = labels
        self._session = frozen.session()
        graph = tf.Graph()
        with graph.as_default():
            self._pixels = tfv1.placeholder(tf.uint8, [None, None, None, 3])
            self._normalised = normalise(self._pixels, frozen.preset)
        self._normaliser = tfv1.Session(graph=graph)

    @functools.cached_property
    def logits(self):
        """The network's answers [pictures, classes]."""
        return self._answers(lambda images: self._session.run(self.frozen.logits, {self.frozen.input: images}))

    def normalised(self, images):
        """uint8 BGR pictures as the network takes them: float32, in the preset's order of colours."""
        return self._normaliser.run(self._normalised, {self._pixels: images})

    def parity(self, runner, *, pixels=False):
        """The Parity of `runner`, a function from normalised pictures (or from `pixels`, uint8 BGR) to logits."""
        return compare(self.logits, self._answers(runner, pixels=pixels))

    def accuracy(self, runner=None):
        """Share of pictures that `runner` (None: the network itself) calls by their label; None without labels."""
        if self.labels is None:
            return None
        logits = self.logits if runner is None else self._answers(runner)
        return float(np.mean(logits.argmax(axis=1) == np.asarray(self.labels)))

    def sample(self, count):
        """At most `count` normalised pictures, spread over all: to measure ranges on."""
        rows = np.unique(np.linspace(0, len(self.logits) - 1, count).astype(int))
        first, found = 0, []
        for images in self.batches():
            chosen = rows[(rows >= first) & (rows < first + len(images))] - first
            found += list(self.normalised(images[chosen])) if len(chosen) else []
            first += len(images)
        return np.stack(found)

    def _answers(self, runner, *, pixels=False):
        return np.concatenate([runner(images if pixels else self.normalised(images)) for images in self.batches()])


def drawn_batches(network, count=16):
    """Pictures that nobody took, for where none are at hand: soft noise, so that every layer has something to say."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, 1 + network.height // 16, 1 + network.width // 16, 3), dtype=np.uint8)
    large = np.kron(coarse, np.ones((1, 16, 16, 1), np.uint8))[:, : network.height, : network.width]
    return lambda: [large]
