"""The time of day within a graph."""

import time

import numpy as np

from webvision.compat import tf

from tensorflow.python.framework.config import is_op_determinism_enabled


def now(name):
    """A tensor: the time, in seconds, at which it is computed.

    tf.timestamp refuses to run where TensorFlow is to be deterministic (TF_DETERMINISTIC_OPS=1). What is timed is told
    and enters no weight, so Python's clock stands in there; it costs a call into Python for each step.
    """
    if is_op_determinism_enabled():
        return tf.reshape(tf.numpy_function(lambda: np.float64(time.time()), [], tf.float64), [], name=name)
    return tf.timestamp(name=name)
