"""Batch norm whose statistics are those of the total batch, not of one tower's share (Peng et al. 2018, MegDet).

By TensorFlow's collective ops, which carry them over NCCL between GPUs and run between CPU devices as well;
tensorpack's own synchronised batch norm uses the NCCL ops that are broken since TF 1.15 (tensorflow#41539).
"""

import contextlib
import zlib

from webvision.compat import replaced_sync_statistics, tf, tfv1

from tensorflow.python.ops import collective_ops
from tensorpack.models import BatchNorm
from tensorpack.tfutils.argscope import argscope
from tensorpack.tfutils.tower import get_current_tower_context

_GROUP = 43  # tensorpack's gradient averaging is group 42


@contextlib.contextmanager
def synchronised_batch_norm(devices):
    """Within the block, BatchNorm layers of training towers normalise with statistics over all towers."""
    with (
        replaced_sync_statistics(lambda inputs, axes, _: mean_and_variance(inputs, axes, devices.names)),
        argscope(BatchNorm, sync_statistics="nccl"),
    ):  # tensorpack's name for "over all towers"
        yield


def mean_and_variance(inputs, axes, names):
    """Mean and variance [channels] of `inputs` over all towers; each tower must hold as many pictures as the others."""
    tower = get_current_tower_context()
    inputs = tf.cast(inputs, tf.float32)
    moments = tf.concat([tf.reduce_mean(inputs, axes), tf.reduce_mean(tf.square(inputs), axes)], axis=0)
    layer = tfv1.get_variable_scope().name.removeprefix(tower.vs_name).strip("/")
    mean, mean_square = tf.split(_sum_over_towers(moments, layer, names[tower.index], tower.total) / tower.total, 2)
    return mean, mean_square - tf.square(mean)


def _sum_over_towers(value, key, device, towers):
    def reduce(tensor, purpose):
        instance = 1_000_000 + zlib.crc32(f"{key}:{purpose}".encode()) % 1_000_000_000  # below are the gradients' keys
        # The gradient would be colocated with the forward op, and so leave its tower's device.
        with tfv1.get_default_graph().colocate_with(None, ignore_existing=True), tf.device(device):
            return collective_ops.all_reduce(tensor, towers, _GROUP, instance, "Add", "Id")

    @tf.custom_gradient
    def total(tensor):
        # Every tower's sum depends on every tower's share, so its gradient is the sum of all towers' gradients.
        return reduce(tensor, "statistics"), lambda upstream: reduce(upstream, "gradient")

    return total(value)
