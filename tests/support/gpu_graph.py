"""The graph of a training step as GPUs get it, built where there are none: devices stand in it by name only.

Which device has a kernel for an operation is known to every TensorFlow that is built with CUDA; so where TensorFlow
would place each operation, given the GPUs, can be told without them.
"""

import functools

from webvision.compat import tf, tfv1
from webvision.model.sync_batch_norm import synchronised_batch_norm
from webvision.training.graph.input import TotalBatchInput, staged
from webvision.training.graph.objective import Classifier
from webvision.training.graph.trainer import ReplicatedTrainer
from webvision.training.recipes import CARD, Task

from tensorflow.python.framework import kernels
from tensorpack.dataflow import FakeData


def training_graph(network, arithmetic, devices, *, sync_bn=False, colour=False, recipe=CARD, task=Task()):
    """(graph, training op) of a step of `network` on `devices`."""
    scope = (lambda: synchronised_batch_norm(devices)) if sync_bn else None
    with tf.Graph().as_default() as graph:
        model = Classifier(
            network, arithmetic, recipe=recipe, task=task, batch_norm_scope=scope, colour_on_device=colour
        )
        inputs = model.get_input_signature()
        shapes = [[devices.count, *spec.shape[1:].as_list()] for spec in inputs]
        flow = FakeData(shapes, dtype=[spec.dtype.as_numpy_dtype for spec in inputs])
        trainer = ReplicatedTrainer(devices)
        trainer.setup_graph(
            inputs, staged(TotalBatchInput(flow, devices.count), devices), model.build_graph, model.get_optimizer
        )
    return graph, trainer.train_op


def needed_for(operation):
    """Every operation that has to run for `operation` to run."""
    found, waiting = set(), [operation]
    while waiting:
        op = waiting.pop()
        if op not in found:
            found.add(op)
            waiting += [tensor.op for tensor in op.inputs] + list(op.control_inputs)
    return found


def placed(graph):
    """GraphDef of `graph` with a device for each operation, as TensorFlow's placer chooses: the one that was asked for
    where that has a kernel for these types; else the CPU, without a word. Who reads a variable is where it is."""
    definition, devices = graph.as_graph_def(), {}
    for node in definition.node:
        wanted = tfv1.DeviceSpec.from_string(node.device)
        if not node.device and node.op == "ReadVariableOp":
            node.device = devices[node.input[0]]
        elif wanted.device_type == "GPU" and has_gpu_kernel(node):
            node.device = f"/job:localhost/replica:0/task:0/device:GPU:{wanted.device_index}"
        else:
            node.device = "/job:localhost/replica:0/task:0/device:CPU:0"
        devices[node.name] = node.device
    return definition


def has_gpu_kernel(node):
    return any(
        all(
            constraint.name not in node.attr or node.attr[constraint.name].type in constraint.allowed_values.list.type
            for constraint in kernel.constraint
        )
        for kernel in _gpu_kernels(node.op)
    )


@functools.cache
def _gpu_kernels(operation):
    registered = kernels.get_registered_kernels_for_op(operation).kernel
    return [kernel for kernel in registered if kernel.device_type in ("GPU", "DEFAULT")]
