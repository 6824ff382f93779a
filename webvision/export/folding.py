"""What is read off a frozen graph before any of it is written: constants, padding in pixels, and what is folded into a
convolution or a linear layer."""

from dataclasses import dataclass

import numpy as np

from webvision.compat import tf


@dataclass
class Affine:
    """A convolution or linear layer, and what is folded into it: x -> scale * layer(x) + shift for each output."""

    operation: tf.Operation
    scale: np.ndarray
    shift: np.ndarray


def source(tensor):
    """The operation behind a tensor, where those that change nothing are passed over."""
    operation = tensor.op
    while operation.type in ("Identity", "StopGradient", "CheckNumerics"):
        operation = operation.inputs[0].op
    return operation


def ancestors(tensor):
    """The names of all operations that `tensor` is made of."""
    found, waiting = set(), [tensor.op]
    while waiting:
        operation = waiting.pop()
        if operation.name not in found:
            found.add(operation.name)
            waiting += [value.op for value in operation.inputs]
    return found


def constant_of(tensor):
    """The value of a constant tensor, else None."""
    operation = source(tensor)
    if operation.type == "Reshape" and (array := constant_of(operation.inputs[0])) is not None:
        return array.reshape(operation.outputs[0].shape.as_list())
    return tf.make_ndarray(operation.get_attr("value")) if operation.type == "Const" else None


def folded(tensor):
    """The Affine that ends in `tensor`, or None."""
    operation = source(tensor)
    if operation.type in ("Conv2D", "DepthwiseConv2dNative", "MatMul"):
        if constant_of(operation.inputs[1]) is None:
            return None
        count = operation.outputs[0].shape[-1]
        return Affine(operation, np.ones(count), np.zeros(count))
    if operation.type == "BiasAdd" and (inner := folded(operation.inputs[0])):
        return Affine(inner.operation, inner.scale, inner.shift + constant_of(operation.inputs[1]).astype(np.float64))
    if operation.type.startswith("FusedBatchNorm") and (inner := folded(operation.inputs[0])):
        scale, shift = batch_norm(operation)
        return Affine(inner.operation, inner.scale * scale, inner.shift * scale + shift)
    return None


def batch_norm(operation):
    """(scale, shift) of a batch norm in prediction, in float64."""
    gamma, beta, mean, variance = (constant_of(tensor).astype(np.float64) for tensor in operation.inputs[1:5])
    scale = gamma / np.sqrt(variance + operation.get_attr("epsilon"))
    return scale, beta - mean * scale


def pads(operation, window, strides):
    """[top, left, bottom, right] in pixels: SAME, which depends on the size of the picture, becomes numbers."""
    padding = operation.get_attr("padding")
    if padding == b"VALID":
        return [0, 0, 0, 0]
    if padding == b"EXPLICIT":
        explicit = list(operation.get_attr("explicit_paddings"))
        return [explicit[2], explicit[4], explicit[3], explicit[5]]
    before, after = [], []
    for side, length, stride in zip(operation.inputs[0].shape[1:3], window, strides):
        total = max((-(-side // stride) - 1) * stride + length - side, 0)
        before.append(total // 2)
        after.append(total - total // 2)
    return before + after


def padded_image(operation):
    """What a convolution sees, and the [top, left, bottom, right] zeros that a Pad before it has put around that."""
    before = source(operation.inputs[0])
    if before.type not in ("Pad", "PadV2") or (before.type == "PadV2" and constant_of(before.inputs[2]) != 0):
        return operation.inputs[0], [0, 0, 0, 0]
    (_, (top, bottom), (left, right), _) = constant_of(before.inputs[1]).tolist()
    return before.inputs[0], [top, left, bottom, right]


def is_global(operation):
    axes = constant_of(operation.inputs[1])
    return axes is not None and sorted(np.ravel(axes).tolist()) == [1, 2] and operation.inputs[0].shape.rank == 4
