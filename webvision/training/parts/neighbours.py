"""Neighbour consistency: what a network says of a picture should be what it says of the pictures most like it.

Iscen et al. 2022, "Learning with neighbor consistency for noisy labels", eq. 4 to 7, with targets held fixed. The
neighbours are of the batch, or of a queue of the pictures seen last: where classes outnumber the batch, a batch holds
no second picture of a class. What was said of a picture is kept as its most probable classes.
"""

from typing import NamedTuple

import numpy as np

from webvision.compat import tf, tfv1
from webvision.training.parts.step_number import step_number

from tensorpack.callbacks import Callback

QUEUED = ("neighbour-rows", "neighbour-features", "neighbour-classes", "neighbour-probabilities")  # of a tower
READ = "neighbour-targets"
KEPT = 32  # classes of a picture; the rest of a softmax over 5,000 is noise
_NOBODY = -2.0  # similarity of what may not be a neighbour; cosines are above


class Bank(NamedTuple):
    """Pictures that may be neighbours: [m] rows of the list (-1: none yet), [m, d] unit features, and the classes
    [m, KEPT] that were probable with their probabilities."""

    rows: object
    features: object
    classes: object
    probabilities: object


def entries(rows, features, logits, temperature):
    """What a Bank keeps of a batch; no gradient flows into it."""
    features, logits = tf.stop_gradient(tf.cast(features, tf.float32)), tf.stop_gradient(logits)
    probabilities, classes = tf.math.top_k(tf.nn.softmax(logits / temperature), k=min(KEPT, logits.shape[1]))
    probabilities /= tf.reduce_sum(probabilities, axis=1, keepdims=True)
    return Bank(rows, tf.math.l2_normalize(features, axis=1), classes, probabilities)


def consensus(own, bank, *, count, num_classes):
    """(targets [n, classes], found [n]): what was said of the `count` entries of the bank that are most similar.

    Similarity is the cosine; an entry weighs as much as it is similar, one below 0 nothing, and a picture is not its
    own neighbour. Where nothing weighs, `found` is 0 and the target is 0.
    """
    similarity = tf.matmul(own.features, tf.cast(bank.features, tf.float32), transpose_b=True)
    excluded = tf.logical_or(tf.equal(own.rows[:, None], bank.rows[None]), tf.less(bank.rows, 0)[None])
    similarity = tf.where(excluded, tf.fill(tf.shape(similarity), _NOBODY), similarity)
    best, who = tf.math.top_k(similarity, k=tf.minimum(count, tf.shape(similarity)[1]))
    weight = tf.nn.relu(best)
    total = tf.reduce_sum(weight, axis=1, keepdims=True)
    weight = tf.math.divide_no_nan(weight, total)
    said = weight[:, :, None] * tf.cast(tf.gather(bank.probabilities, who), tf.float32)  # [n, count, KEPT]
    classes = tf.gather(bank.classes, who)
    picture = tf.broadcast_to(tf.range(tf.shape(who)[0])[:, None, None], tf.shape(classes))
    places = tf.stack([tf.reshape(picture, [-1]), tf.reshape(classes, [-1])], axis=1)
    targets = tf.scatter_nd(places, tf.reshape(said, [-1]), tf.stack([tf.shape(who)[0], num_classes]))
    return tf.stop_gradient(targets), tf.stop_gradient(tf.cast(total[:, 0] > 0, tf.float32))


class Queue:
    """The pictures seen last as a Bank of variables: float16, saved with the run, one for all towers."""

    def __init__(self, size, batch, num_features, num_classes):
        """`size` is cut to whole batches."""
        self.size = max(size // batch, 1) * batch
        kept = min(KEPT, num_classes)

        def variable(name, shape, dtype, value=0):
            start = tf.constant_initializer(value)
            return tfv1.get_variable(f"neighbours/{name}", [self.size, *shape], dtype, start, trainable=False)

        self._variables = Bank(
            variable("rows", [], tf.int64, -1),
            variable("features", [num_features], tf.float16),
            variable("classes", [kept], tf.int32),
            variable("probabilities", [kept], tf.float16),
        )

    def bank(self):
        """The Bank as it stands before the step."""
        return Bank(*(tf.identity(variable) for variable in self._variables))

    def replace_oldest(self, batch):
        """The operation that puts the step's `batch`, a Bank of all towers' pictures, in the place of the oldest."""
        count = tf.shape(batch.rows)[0]
        first = step_number() % (self.size // count) * count
        places = first + tf.range(count)
        return tf.group(
            *(
                tfv1.scatter_update(variable, places, tf.cast(value, variable.dtype.base_dtype))
                for variable, value in zip(self._variables, batch)
            )
        )

    def bytes(self):
        """What the queue takes in memory and in a checkpoint."""
        return sum(int(np.prod(v.shape.as_list())) * v.dtype.base_dtype.size for v in self._variables)


class AfterTowers(Callback):
    """Runs an operation with each step once all towers have read what it changes.

    `build(tensors)` makes it, of {name: the tensor of that name over all towers}; a tower reads the state before it
    makes the tensor `read`.
    """

    def __init__(self, names, read, build):
        self._names, self._read, self._build = names, read, build

    def _setup_graph(self):
        towers = self.trainer.tower_func.towers.training()
        tensors = {name: tf.concat([tower.get_tensor(name) for tower in towers], axis=0) for name in self._names}
        with tf.control_dependencies([tower.get_tensor(self._read) for tower in towers]):
            operation = self._build({name: tf.identity(tensor) for name, tensor in tensors.items()})
        self._fetch = tfv1.train.SessionRunArgs([operation])

    def _before_run(self, _):
        return self._fetch
