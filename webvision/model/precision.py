"""Mixed precision and reproducible initial weights, both by how the graph's variables are made."""

import contextlib
import zlib

from webvision.compat import tf, tfv1

COMPUTE_TYPES = {"float32": tf.float32, "float16": tf.float16, "bfloat16": tf.bfloat16}


@contextlib.contextmanager
def variables_in_float32():
    """Variables asked for in half precision are kept in float32 and cast where they are used.

    So that checkpoints do not depend on the precision, and small updates are not lost (Micikevicius et al. 2018).
    """

    def getter(get, name, *args, dtype=None, **kwargs):
        if dtype is None or tf.as_dtype(dtype) not in (tf.float16, tf.bfloat16):
            return get(name, *args, dtype=dtype, **kwargs)
        variable = get(name, *args, dtype=tf.float32, **kwargs)
        return tf.cast(variable, dtype, name=name.rsplit("/", 1)[-1] + "_cast")

    with tfv1.variable_scope(tfv1.get_variable_scope(), custom_getter=getter):
        yield


@contextlib.contextmanager
def weights_seeded_by_name(seed):
    """Initial weights follow from `seed` and the variable's name alone.

    TensorFlow's own rule seeds an initialiser by how many operations the graph held before it, so that another
    number of towers, or one more summary, would start another network.
    """

    def getter(get, name, *args, initializer=None, **kwargs):
        if getattr(initializer, "seed", 0) is None:  # a random initialiser whose seed nobody chose
            config = dict(initializer.get_config(), seed=zlib.crc32(f"{seed}:{name}".encode()) & 0x7FFFFFFF)
            initializer = type(initializer).from_config(config)
        return get(name, *args, initializer=initializer, **kwargs)

    with tfv1.variable_scope(tfv1.get_variable_scope(), custom_getter=getter):
        yield
