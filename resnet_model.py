"""The networks: ResNet 18 to 152, plain, pre-activation and squeeze-and-excitation, as functions of a tensor.

Variable names, shapes, padding and strides are those of tensorpack's ResNet of 2018, which the released WebVision
checkpoints were trained with. A block's stride sits on its 3x3 convolution (fb.resnet.torch), its shortcut is a 1x1
convolution exactly where the number of channels changes, and batch norm has momentum 0.9 and epsilon 1e-5.

A variant is a sibling function. `l` is the running tensor, NHWC or NCHW as the enclosing style says.
"""

from webvision.compat import tfv1 as tf
from webvision.model.networks.layers import Conv, MaxPool, bn, bn_zero, channels_of, head, squeeze_and_excite, to_layout

from tensorpack.models import AvgPooling, BNReLU

BLOCKS_PER_GROUP = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
BOTTLENECK_FROM_DEPTH = 50


def resnet(image, *, depth, mode, num_classes):
    """The Endpoints of a normalised float image batch [batch, 224, 224, 3], whatever the data format."""
    group, block = _choose_blocks(depth, mode)
    l = deep_stem(to_layout(image)) if mode == "d" else to_layout(image)
    l = Conv("conv0", l, 64, 3 if mode == "d" else 7, strides=1 if mode == "d" else 2, activation=BNReLU)
    l = MaxPool("pool0", l, 3, 2)
    for i, count in enumerate(BLOCKS_PER_GROUP[depth]):
        with tf.variable_scope(f"group{i}"):
            l = group(l, block, 64 * 2**i, count=count, stride=1 if i == 0 else 2)
    return head(l, num_classes)


def deep_stem(l):
    """The first two of three 3x3 convolutions in place of one 7x7 (He et al. 2019, ResNet-C)."""
    l = Conv("stem0", l, 32, 3, strides=2, activation=BNReLU)
    return Conv("stem1", l, 32, 3, activation=BNReLU)


def _choose_blocks(depth, mode):
    deep = depth >= BOTTLENECK_FROM_DEPTH
    if mode in ("resnet", "d"):
        pooled = mode == "d"
        block = resnet_bottleneck if deep else resnet_basicblock
        return resnet_group, lambda l, channels, stride: block(l, channels, stride, _pooled if pooled else _shortcut)
    if mode == "v1" and deep:
        return resnet_group, v1_bottleneck
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


def resnet_basicblock(l, channels, stride, shortcut=None):
    joined = (shortcut or _shortcut)(l, channels, stride, activation=bn)
    l = Conv("conv1", l, channels, 3, strides=stride, activation=BNReLU)
    l = Conv("conv2", l, channels, 3, activation=bn_zero)
    return l + joined


def resnet_bottleneck(l, channels, stride, shortcut=None):
    return _bottleneck(l, channels, stride) + (shortcut or _shortcut)(l, channels * 4, stride, activation=bn)


def v1_bottleneck(l, channels, stride):
    """A bottleneck as first published, whose first 1x1 convolution strides (He et al. 2015; Caffe's, Keras's)."""
    shortcut = _shortcut(l, channels * 4, stride, activation=bn)
    l = Conv("conv1", l, channels, 1, strides=stride, activation=BNReLU)
    l = Conv("conv2", l, channels, 3, activation=BNReLU)
    return Conv("conv3", l, channels * 4, 1, activation=bn_zero) + shortcut


def se_bottleneck(l, channels, stride):
    """A bottleneck whose output channels are weighed by what the picture as a whole holds (Hu et al. 2018)."""
    shortcut = _shortcut(l, channels * 4, stride, activation=bn)
    l = _bottleneck(l, channels, stride)
    return squeeze_and_excite(l, "fc1", channels // 4, "fc2", tf.nn.relu) + shortcut


def preact_basicblock(activated, l, channels, stride):
    shortcut = _shortcut(l, channels, stride)
    l = Conv("conv1", activated, channels, 3, strides=stride, activation=BNReLU)
    l = Conv("conv2", l, channels, 3)
    return l + shortcut


def preact_bottleneck(activated, l, channels, stride):
    shortcut = _shortcut(l, channels * 4, stride)
    l = Conv("conv1", activated, channels, 1, activation=BNReLU)
    l = Conv("conv2", l, channels, 3, strides=stride, activation=BNReLU)
    l = Conv("conv3", l, channels * 4, 1)
    return l + shortcut


def _bottleneck(l, channels, stride):
    l = Conv("conv1", l, channels, 1, activation=BNReLU)
    l = Conv("conv2", l, channels, 3, strides=stride, activation=BNReLU)
    return Conv("conv3", l, channels * 4, 1, activation=bn_zero)


def _shortcut(l, count, stride, *, activation=None):
    if channels_of(l) == count:
        return l
    return Conv("convshortcut", l, count, 1, strides=stride, activation=activation)


def _pooled(l, count, stride, *, activation):
    """A shortcut that averages what it strides over, where `_shortcut` drops it (He et al. 2019, ResNet-D)."""
    if channels_of(l) == count:
        return l
    l = AvgPooling("pool", l, 2, strides=2, padding="same") if stride == 2 else l
    return Conv("convshortcut", l, count, 1, activation=activation)
