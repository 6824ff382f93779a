"""The networks: ResNet 18 to 152, plain, pre-activation and squeeze-and-excitation, as functions of a tensor.

Variable names, shapes, padding and strides are those of tensorpack's ResNet of 2018, which the released WebVision
checkpoints were trained with. A block's stride sits on its 3x3 convolution (fb.resnet.torch), its shortcut is a 1x1
convolution exactly where the number of channels changes, and batch norm has momentum 0.9 and epsilon 1e-5.

A variant is a sibling function. `l` is the running tensor, NHWC or NCHW as the enclosing argscope says.
"""

from webvision.compat import tfv1 as tf

from tensorpack.models import BatchNorm, BNReLU, Conv2D, FullyConnected, GlobalAvgPooling, MaxPooling
from tensorpack.tfutils.argscope import argscope, get_arg_scope

BLOCKS_PER_GROUP = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
BOTTLENECK_FROM_DEPTH = 50


def resnet_logits(image, *, depth, mode, num_classes, data_format):
    """Logits [batch, num_classes] of a normalised float image batch [batch, 224, 224, 3], whatever the data format."""
    group, block = _choose_blocks(depth, mode)
    if data_format == "NCHW":
        image = tf.transpose(image, [0, 3, 1, 2])  # NHWC -> NCHW, the layout released checkpoints were trained in
    with (
        argscope([Conv2D, MaxPooling, GlobalAvgPooling, BatchNorm], data_format=data_format),
        argscope(Conv2D, use_bias=False, kernel_initializer=tf.variance_scaling_initializer(2.0, mode="fan_out")),
    ):
        l = Conv2D("conv0", image, 64, 7, strides=2, activation=BNReLU)
        l = MaxPooling("pool0", l, 3, strides=2, padding="SAME")
        for i, count in enumerate(BLOCKS_PER_GROUP[depth]):
            with tf.variable_scope(f"group{i}"):
                l = group(l, block, 64 * 2**i, count=count, stride=1 if i == 0 else 2)
        l = GlobalAvgPooling("gap", l)
        return FullyConnected("linear", l, num_classes)


def _choose_blocks(depth, mode):
    deep = depth >= BOTTLENECK_FROM_DEPTH
    if mode == "resnet":
        return resnet_group, resnet_bottleneck if deep else resnet_basicblock
    if mode == "preact":
        return preact_group, preact_bottleneck if deep else preact_basicblock
    if mode == "se" and deep:
        return resnet_group, se_bottleneck
    raise ValueError(f"no network of mode {mode!r} and depth {depth}")


def resnet_group(l, block, channels, *, count, stride):
    """`count` blocks, each followed by a ReLU; the first one strides."""
    for i in range(count):
        with tf.variable_scope(f"block{i}"):
            l = tf.nn.relu(block(l, channels, stride if i == 0 else 1))
    return l


def preact_group(l, block, channels, *, count, stride):
    """`count` pre-activation blocks (He et al. 2016b); the group ends with the activation its last block lacks."""
    for i in range(count):
        with tf.variable_scope(f"block{i}"):
            # The first block's input is activated already: by conv0 or by the group before.
            activated = l if i == 0 else BNReLU("preact", l)
            l = block(activated, l, channels, stride if i == 0 else 1)
    return BNReLU("bnlast", l)


def resnet_basicblock(l, channels, stride):
    shortcut = _shortcut(l, channels, stride, activation=_bn)
    l = Conv2D("conv1", l, channels, 3, strides=stride, activation=BNReLU)
    l = Conv2D("conv2", l, channels, 3, activation=_bn_zero)
    return l + shortcut


def resnet_bottleneck(l, channels, stride):
    return _bottleneck(l, channels, stride) + _shortcut(l, channels * 4, stride, activation=_bn)


def se_bottleneck(l, channels, stride):
    """A bottleneck whose output channels are weighed by what the picture as a whole holds (Hu et al. 2018)."""
    shortcut = _shortcut(l, channels * 4, stride, activation=_bn)
    l = _bottleneck(l, channels, stride)
    squeeze = GlobalAvgPooling("gap", l)
    squeeze = FullyConnected("fc1", squeeze, channels // 4, activation=tf.nn.relu)
    squeeze = FullyConnected("fc2", squeeze, channels * 4, activation=tf.nn.sigmoid)
    shape = [-1, channels * 4, 1, 1] if _data_format() == "NCHW" else [-1, 1, 1, channels * 4]
    return l * tf.reshape(squeeze, shape) + shortcut


def preact_basicblock(activated, l, channels, stride):
    shortcut = _shortcut(l, channels, stride)
    l = Conv2D("conv1", activated, channels, 3, strides=stride, activation=BNReLU)
    l = Conv2D("conv2", l, channels, 3)
    return l + shortcut


def preact_bottleneck(activated, l, channels, stride):
    shortcut = _shortcut(l, channels * 4, stride)
    l = Conv2D("conv1", activated, channels, 1, activation=BNReLU)
    l = Conv2D("conv2", l, channels, 3, strides=stride, activation=BNReLU)
    l = Conv2D("conv3", l, channels * 4, 1)
    return l + shortcut


def _bottleneck(l, channels, stride):
    l = Conv2D("conv1", l, channels, 1, activation=BNReLU)
    l = Conv2D("conv2", l, channels, 3, strides=stride, activation=BNReLU)
    return Conv2D("conv3", l, channels * 4, 1, activation=_bn_zero)


def _shortcut(l, channels, stride, *, activation=None):
    channel_axis = 1 if _data_format() == "NCHW" else 3
    if l.shape[channel_axis] == channels:
        return l
    return Conv2D("convshortcut", l, channels, 1, strides=stride, activation=activation)


def _bn(l):
    return BatchNorm("bn", l)


def _bn_zero(l):
    # The block starts as the identity: Goyal et al. 2017, sec. 5.1.
    return BatchNorm("bn", l, gamma_initializer=tf.zeros_initializer())


def _data_format():
    return get_arg_scope()["Conv2D"]["data_format"]
