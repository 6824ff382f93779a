"""One replica of the network on each device, and their gradients averaged: the graph of a data-parallel step.

Between GPUs by TensorFlow's collective ops, in buckets; the same code runs between CPU devices over TensorFlow's ring.
"""

from webvision.compat import tf

from tensorflow.python.ops import collective_ops
from tensorpack.graph_builder.training import SyncMultiGPUReplicatedBuilder
from tensorpack.graph_builder.utils import merge_grad_list, override_to_local_variable, split_grad_list

GROUP = 42  # of devices that average gradients; synchronised batch norm is another
FIRST_INSTANCE = 100
# Bytes of gradients that travel together: PyTorch's default for NCCL (DDP's bucket_cap_mb, not measured here), and what
# was fastest on the ring (161 gradients of ResNet-50 one by one: 1.3 times the step).
BUCKET_BYTES = {"nccl": 25 << 20, "ring": 4 << 20}


class Replicas(SyncMultiGPUReplicatedBuilder):
    """Builds a tower on each of `devices`; tensorpack's own builder knows GPUs only, and one all-reduce a gradient."""

    def __init__(self, devices):
        super().__init__(list(range(devices.count)), True, "collective" if devices.collective else "cpu")
        self._collective = devices.collective
        # Replicas that share the CPU are on one device, where nothing has to be copied.
        self._names = devices.names if devices.on_gpu or devices.collective else ["/cpu:0"] * devices.count

    def call_for_each_tower(self, tower_fn):
        others = [True] * (len(self.towers) - 1)
        return self.build_on_towers(self.towers, tower_fn, devices=self._names, use_vs=[False, *others])

    def build(self, grad_list, get_opt_fn):
        """(the training op, the op that gives every replica the first one's variables or None)."""
        self._check_grad_list(grad_list)
        gradients, variables = split_grad_list(grad_list)
        self.gradients = [gradient for tower in gradients for gradient in tower]  # before they are averaged
        average = average_by_buckets if self._collective else average_on_cpu
        self.grads = merge_grad_list(average(gradients, self._names), variables)
        optimizer, updates = get_opt_fn(), []
        with tf.name_scope("apply_gradients"):
            for index, (name, pairs) in enumerate(zip(self._names, self.grads)):
                with tf.device(name), override_to_local_variable(enable=index > 0):
                    updates.append(optimizer.apply_gradients(pairs, name=f"apply_grad_{index}"))
        train_op = tf.group(*updates, name="train_op")
        if len(self._names) == 1:
            return train_op, None
        with tf.name_scope("sync_variables"):
            return train_op, self.get_post_init_ops()


def buckets(sizes, limit):
    """Consecutive indices of `sizes` in groups of at most `limit` bytes, one that is larger alone.

    The last come first: in the order in which gradients are ready.
    """
    groups, size = [], 0
    for index in reversed(range(len(sizes))):
        if not groups or size + sizes[index] > limit:
            groups.append([])
            size = 0
        groups[-1].append(index)
        size += sizes[index]
    return groups


def average_by_buckets(gradients, names):
    """Each tower's gradients [towers][variables] averaged over all of them, on every tower's own device.

    A bucket is one tensor on its way: fewer, longer messages. Its all-reduce starts when its last gradient is computed,
    while the layers before are still at work.
    """
    hint = "nccl" if "gpu" in names[0] else "ring"
    sizes = [gradient.dtype.size * gradient.shape.num_elements() for gradient in gradients[0]]
    averaged = [[None] * len(sizes) for _ in names]
    for number, bucket in enumerate(buckets(sizes, BUCKET_BYTES[hint])):
        for tower, name in enumerate(names):
            mine = [gradients[tower][index] for index in bucket]
            with tf.name_scope("AllReduceGrads"), tf.device(name):
                for index, gradient in zip(bucket, _average(mine, len(names), FIRST_INSTANCE + number, hint)):
                    averaged[tower][index] = gradient
    return averaged


def _average(tensors, towers, instance, hint):
    flat = tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)
    total = collective_ops.all_reduce(flat, towers, GROUP, instance, "Add", "Id", communication_hint=hint)
    parts = tf.split(total * (1.0 / towers), [tensor.shape.num_elements() for tensor in tensors])
    return [tf.reshape(part, tensor.shape) for part, tensor in zip(parts, tensors)]


def average_on_cpu(gradients, names):
    """The same, added up on the CPU, which all towers then read."""
    if len(names) == 1:
        return gradients
    with tf.name_scope("AllReduceNaive"), tf.device("/cpu:0"):
        averaged = [tf.add_n(same) * (1.0 / len(names)) for same in zip(*gradients)]
    return [averaged] * len(names)
