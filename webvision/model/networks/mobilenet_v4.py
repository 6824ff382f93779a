"""MobileNetV4, convolutional, small and medium (Qin et al. 2024): ReLU only, nothing squeezed; what NPUs do best.

Its universal block is an inverted residual in which both depthwise convolutions, the one before it widens and the one
in its middle, may be there or not.
"""

from typing import NamedTuple

from webvision.compat import tf, tfv1
from webvision.model.networks.layers import (
    Conv,
    DepthwiseConv,
    DropPath,
    bn,
    bn_then,
    channels_of,
    data_format,
    head,
    to_layout,
)


class Dense(NamedTuple):
    """A convolution over all channels."""

    kernel: int
    stride: int
    out: int


class Fused(NamedTuple):
    """A dense convolution that widens, and one that narrows."""

    kernel: int
    stride: int
    expansion: int
    out: int


class Universal(NamedTuple):
    """The universal block; a kernel of 0 is a depthwise convolution that is left out. The stride is the middle one's
    where it exists."""

    start: int
    middle: int
    stride: int
    expansion: int
    out: int


U = Universal
SMALL = (
    (Dense(3, 2, 32), Dense(1, 1, 32)),
    (Dense(3, 2, 96), Dense(1, 1, 64)),
    (U(5, 5, 2, 3, 96), *[U(0, 3, 1, 2, 96)] * 4, U(3, 0, 1, 4, 96)),
    (U(3, 3, 2, 6, 128), U(5, 5, 1, 4, 128), U(0, 5, 1, 4, 128), U(0, 5, 1, 3, 128), *[U(0, 3, 1, 4, 128)] * 2),
    (Dense(1, 1, 960),),
)
MEDIUM = (
    (Fused(3, 2, 4, 48),),
    (U(3, 5, 2, 4, 80), U(3, 3, 1, 2, 80)),
    (
        U(3, 5, 2, 6, 160),
        *[U(3, 3, 1, 4, 160)] * 2,
        U(3, 5, 1, 4, 160),
        U(3, 3, 1, 4, 160),
        U(3, 0, 1, 4, 160),
        U(0, 0, 1, 2, 160),
        U(3, 0, 1, 4, 160),
    ),
    (
        U(5, 5, 2, 6, 256),
        U(5, 5, 1, 4, 256),
        *[U(3, 5, 1, 4, 256)] * 2,
        U(0, 0, 1, 4, 256),
        U(3, 0, 1, 4, 256),
        U(3, 5, 1, 2, 256),
        U(5, 5, 1, 4, 256),
        *[U(0, 0, 1, 4, 256)] * 2,
        U(5, 0, 1, 2, 256),
    ),
    (Dense(1, 1, 960),),
)
STAGES = {"small": SMALL, "medium": MEDIUM}


def mobilenet_v4(image, *, num_classes, size, dropout=0.2, drop_path=0.0):
    """MobileNetV4-Conv, 'small' or 'medium'."""
    activate = bn_then(tf.nn.relu)
    l = Conv("conv0", to_layout(image), 32, 3, strides=2, activation=activate)
    count = sum(map(len, STAGES[size]))
    number = 0
    for stage, blocks in enumerate(STAGES[size]):
        for index, block in enumerate(blocks):
            with tfv1.variable_scope(f"group{stage}/block{index}"):
                l = _BUILDERS[type(block)](l, block, drop_path * number / count)
            number += 1

    def between(features):
        # The last convolution sees the mean alone: as a layer of one place, so that it is batch normed as others are.
        shape = [-1, features.shape[1], 1, 1] if data_format() == "NCHW" else [-1, 1, 1, features.shape[1]]
        return tf.reshape(Conv("conv_last", tf.reshape(features, shape), 1280, 1, activation=activate), [-1, 1280])

    return head(l, num_classes, dropout=dropout, between=between)


def _dense(l, block, drop_path):
    return Conv("conv", l, block.out, block.kernel, strides=block.stride, activation=bn_then(tf.nn.relu))


def _fused(l, block, drop_path):
    hidden = channels_of(l) * block.expansion
    shortcut = l
    l = Conv("expand", l, hidden, block.kernel, strides=block.stride, activation=bn_then(tf.nn.relu))
    l = Conv("project", l, block.out, 1, activation=bn)
    return _joined(l, shortcut, block.stride, drop_path)


def _universal(l, block, drop_path):
    shortcut, activate = l, bn_then(tf.nn.relu)
    hidden = channels_of(l) * block.expansion
    if block.start:
        l = DepthwiseConv("start", l, block.start, strides=1 if block.middle else block.stride, activation=bn)
    l = Conv("expand", l, hidden, 1, activation=activate)
    if block.middle:
        l = DepthwiseConv("dw", l, block.middle, strides=block.stride, activation=activate)
    l = Conv("project", l, block.out, 1, activation=bn)
    return _joined(l, shortcut, block.stride, drop_path)


def _joined(l, shortcut, stride, drop_path):
    if stride == 1 and channels_of(l) == channels_of(shortcut):
        return DropPath("path", l, drop_path) + shortcut
    return l


_BUILDERS = {Dense: _dense, Fused: _fused, Universal: _universal}
