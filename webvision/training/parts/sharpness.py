"""Sharpness-aware minimisation: the gradient is taken a little uphill, where flat minima are told from sharp ones.

Foret et al. 2021, eq. 2 and 3; per tower, as its "m-sharpness". The second pass gets every weight w as w + e from the
getter of its variables: nothing is assigned, so nothing has to be put back.
"""

import contextlib

from webvision.compat import tf, tfv1


def uphill(cost, variables, distance):
    """{name of variable: distance * g / ||g||}, g the gradient of `cost`, all in float32."""
    gradients = [tf.cast(gradient, tf.float32) for gradient in tf.gradients(cost, variables)]
    scale = distance / tf.maximum(tf.linalg.global_norm(gradients), 1e-12)
    return {v.op.name: tf.stop_gradient(gradient * scale) for v, gradient in zip(variables, gradients)}


@contextlib.contextmanager
def displaced(offsets):
    """Within the block, variables named in `offsets` are there already and read as themselves plus their offset.

    Batch norm's running moments are left to the first pass: updates that the block adds are dropped.
    """

    def getter(get, name, *args, **kwargs):
        variable = get(name, *args, **kwargs)
        offset = offsets.get(name)
        return variable if offset is None else variable + offset

    updates = tfv1.get_collection_ref(tfv1.GraphKeys.UPDATE_OPS)
    kept = list(updates)
    with tfv1.variable_scope(tfv1.get_variable_scope(), reuse=True, custom_getter=getter):
        yield
    updates[:] = kept
