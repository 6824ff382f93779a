"""What was predicted of each picture on its early visits, kept for every class: for lists that are small enough.

Liu et al. 2020; the state is [rows, classes] in float16, saved with the run.
"""

from webvision.compat import tf, tfv1
from webvision.errors import UsageError

MOST_BYTES = 2 << 30
READ, ROWS, TARGETS = "early-before", "early-rows", "early-after"  # tensors of a tower


def refuse_what_is_too_large(rows, classes):
    """UsageError if the state of a list would be over 2 GB."""
    if rows * classes * 2 > MOST_BYTES:
        raise UsageError(
            f"early_learning keeps {rows:,} pictures x {classes:,} classes x 2 bytes, over "
            f"{MOST_BYTES >> 30} GB; neighbours=0.5 does without state for each picture"
        )


class Memory:
    """The targets of all rows as one variable, for all towers."""

    def __init__(self, rows, classes):
        refuse_what_is_too_large(rows, classes)
        zeros = tf.zeros_initializer()
        self._targets = tfv1.get_variable("early_learning/targets", [rows, classes], tf.float16, zeros, trainable=False)

    def read(self, rows):
        """The targets [n, classes] of `rows` before the step."""
        return tf.gather(self._targets, rows)

    def write(self, rows, targets):
        """The operation that keeps `targets`; of a row that was shown twice, those of the first time."""
        unique, place = tf.unique(rows)
        first = tf.math.unsorted_segment_min(tf.range(tf.shape(rows)[0]), place, tf.shape(unique)[0])
        return tfv1.scatter_update(self._targets, unique, tf.cast(tf.gather(targets, first), tf.float16))
