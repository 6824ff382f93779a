"""What networks are made of: tensorpack's layers, and ours where another padding, groups, or a dropout that repeats
itself in a resumed run is needed.

Two things differ between where weights come from, and belong to a network as its widths do:

- `padding` of what strides. 'same' is TensorFlow's: on an even side the smaller half comes first, so a 3x3 window pads
  (0, 1). 'symmetric' is PyTorch's: (kernel - 1) // 2 on both sides. Mixed up, logits are off by 4 to 8 % of the range.
  'caffe' is Caffe's: convolutions as PyTorch's, pooling as TensorFlow's.
- `epsilon` of batch norm.

Both, and the memory layout, are set by `style(...)` around a whole network.
"""

import contextlib
import zlib
from typing import NamedTuple

from webvision.compat import tf, tfv1

from tensorpack.models import AvgPooling, BatchNorm, FullyConnected, GlobalAvgPooling, layer_register
from tensorpack.tfutils.argscope import argscope, get_arg_scope
from tensorpack.tfutils.common import get_global_step_var
from tensorpack.tfutils.tower import get_current_tower_context

PADDINGS = {  # of convolutions, of pooling
    "same": ("same", "same"),
    "symmetric": ("symmetric", "symmetric"),
    "caffe": ("symmetric", "same"),
}


class Endpoints(NamedTuple):
    """What a network knows about a batch, by name."""

    map: tf.Tensor  # the last feature map, [batch, h, w, c] or [batch, c, h, w]: which region mattered
    features: tf.Tensor  # [batch, n]: what the last layer sees, before any dropout
    logits: tf.Tensor  # [batch, classes]


@contextlib.contextmanager
def style(*, data_format, padding="same", epsilon=1e-5):
    """Every layer within has this layout, padding and epsilon."""
    if padding not in PADDINGS:
        raise ValueError(f"padding {padding!r} is none of {', '.join(PADDINGS)}")
    of_conv, of_pool = PADDINGS[padding]
    with (
        argscope([Conv, DepthwiseConv], data_format=data_format, padding=of_conv),
        argscope(MaxPool, data_format=data_format, padding=of_pool),
        argscope([AvgPooling, GlobalAvgPooling, BatchNorm, ChannelNorm], data_format=data_format),
        argscope(BatchNorm, epsilon=epsilon),
    ):
        yield


def drops_seeded(seed):
    """Whatever is dropped within is drawn from `seed`."""
    return argscope([DropUnits, DropPath], seed=seed)


def data_format():
    """The layout of the enclosing style."""
    return get_arg_scope()["Conv"]["data_format"]


def channels_of(l):
    """How many channels `l` has."""
    return l.shape[3 if data_format() == "NHWC" else 1]


def to_layout(image):
    """NHWC pictures in the layout of the enclosing style; released checkpoints were trained in NCHW."""
    return tf.transpose(image, [0, 3, 1, 2]) if data_format() == "NCHW" else image


@layer_register()
def Conv(
    l,
    filters,
    kernel,
    strides=1,
    *,
    groups=1,
    use_bias=False,
    activation=None,
    padding="same",
    data_format="NHWC",
    kernel_initializer=None,
):
    """A convolution with weights W [kernel, kernel, channels / groups, filters], then `activation`."""
    shape = [kernel, kernel, l.shape[3 if data_format == "NHWC" else 1] // groups, filters]
    # fan_out, as ResNet's authors do it (He et al. 2015): the variance of gradients is kept, not that of activations
    initializer = kernel_initializer or tfv1.variance_scaling_initializer(2.0, mode="fan_out")
    weights = tfv1.get_variable("W", shape, l.dtype, initializer=initializer)
    pads = _pads(padding, kernel, strides, data_format)
    if groups > 1 and not isinstance(pads, str):  # TensorFlow's gradient of groups on the CPU fails with explicit pads
        l, pads = tf.pad(l, pads), "VALID"
    l = tf.nn.conv2d(l, weights, _strides(strides, data_format), pads, data_format)
    return _biased(l, filters, use_bias, activation, data_format)


@layer_register()
def DepthwiseConv(l, kernel, strides=1, *, use_bias=False, activation=None, padding="same", data_format="NHWC"):
    """A convolution of every channel by itself, with weights W [kernel, kernel, channels, 1], then `activation`."""
    filters = l.shape[3 if data_format == "NHWC" else 1]
    initializer = tfv1.variance_scaling_initializer(2.0, mode="fan_out")
    weights = tfv1.get_variable("W", [kernel, kernel, filters, 1], l.dtype, initializer=initializer)
    pads = _pads(padding, kernel, strides, data_format)
    l = tf.nn.depthwise_conv2d(l, weights, _strides(strides, data_format), pads, data_format)
    return _biased(l, filters, use_bias, activation, data_format)


@layer_register()
def MaxPool(l, window, strides, *, padding="same", data_format="NHWC"):
    """The largest value of each window, of values that a ReLU keeps from below zero: zeros are padded."""
    pads = _pads(padding, window, strides, data_format)
    if not isinstance(pads, str):  # TFLite has no explicit pads here; lowest() for zeros would ruin the ranges of int8
        l, pads = tf.pad(l, pads), "VALID"
    return tf.nn.max_pool2d(l, window, strides, pads, data_format)


def _strides(stride, data_format):
    return [1, stride, stride, 1] if data_format == "NHWC" else [1, 1, stride, stride]


def _pads(padding, kernel, stride, data_format):
    # With stride 1 and an odd kernel both are the same; a stride as wide as its window (patches) never overlaps.
    if padding == "same" or stride == 1 or kernel == 1:
        return "SAME"
    if kernel == stride:
        return "VALID"
    spatial = [[(kernel - 1) // 2] * 2] * 2
    return [[0, 0], *spatial, [0, 0]] if data_format == "NHWC" else [[0, 0], [0, 0], *spatial]


def _biased(l, filters, use_bias, activation, data_format):
    if use_bias:
        bias = tfv1.get_variable("b", [filters], l.dtype, initializer=tfv1.zeros_initializer())
        l = tf.nn.bias_add(l, bias, data_format)
    return activation(l) if activation else l


@layer_register()
def ChannelNorm(l, *, epsilon=1e-6, data_format="NHWC"):
    """Layer norm over the channels of each place (or of each row, where there are no places)."""
    axis = 1 if data_format == "NCHW" or l.shape.rank == 2 else 3
    shape = [-1 if i == axis else 1 for i in range(l.shape.rank)]
    count = l.shape[axis]
    gamma = tfv1.get_variable("gamma", [count], l.dtype, initializer=tfv1.ones_initializer())
    beta = tfv1.get_variable("beta", [count], l.dtype, initializer=tfv1.zeros_initializer())
    mean = tf.reduce_mean(l, axis, keepdims=True)
    centred = l - mean
    variance = tf.reduce_mean(tf.square(centred), axis, keepdims=True)
    return centred * tf.math.rsqrt(variance + epsilon) * tf.reshape(gamma, shape) + tf.reshape(beta, shape)


@layer_register()
def DropUnits(l, rate, *, seed=0):
    """In training, each value is dropped with probability `rate`, and the others grow (Srivastava et al. 2014)."""
    return _drop(l, rate, tf.shape(l), seed)


@layer_register()
def DropPath(l, rate, *, seed=0):
    """In training, the whole of a picture's `l` is dropped with probability `rate` (Huang et al. 2016)."""
    shape = tf.concat([tf.shape(l)[:1], tf.ones([l.shape.rank - 1], tf.int32)], axis=0)
    return _drop(l, rate, shape, seed)


def _drop(l, rate, shape, seed):
    # Drawn from the step's number, not from a generator's state, which no checkpoint holds: a resumed run draws alike.
    tower = get_current_tower_context()
    if not rate or not tower.is_training:
        return l
    name = tfv1.get_variable_scope().name.removeprefix(tower.vs_name).strip("/")
    key = zlib.crc32(f"{seed}:{name}:{tower.index}".encode()) & 0x7FFFFFFF
    draws = tf.random.stateless_uniform(shape, [key, tf.cast(get_global_step_var(), tf.int32)])
    return l * tf.cast(draws >= rate, l.dtype) * tf.cast(1 / (1 - rate), l.dtype)


def bn(l):
    """Batch norm under the name that checkpoints of ours have it."""
    return BatchNorm("bn", l)


def bn_zero(l):
    """Batch norm whose scale begins at zero, so that a block starts as the identity: Goyal et al. 2017, sec. 5.1."""
    return BatchNorm("bn", l, gamma_initializer=tfv1.zeros_initializer())


def bn_then(function):
    """Batch norm, then `function`."""
    return lambda l: function(BatchNorm("bn", l))


def squeeze_and_excite(l, first, hidden, second, activation):
    """Channels of `l` weighed by what the picture as a whole holds (Hu et al. 2018); `first` and `second` name the two
    layers in between, of which the first has `hidden` values."""
    count = channels_of(l)
    squeeze = GlobalAvgPooling("gap", l)
    squeeze = FullyConnected(first, squeeze, hidden, activation=activation)
    squeeze = FullyConnected(second, squeeze, count, activation=tf.nn.sigmoid)
    return l * tf.reshape(squeeze, [-1, count, 1, 1] if data_format() == "NCHW" else [-1, 1, 1, count])


def head(l, num_classes, *, dropout=0.0, between=None):
    """From the last map to the classes: its mean, `between` if there is any, dropout, one linear layer."""
    features = GlobalAvgPooling("gap", l)
    features = between(features) if between else features
    return Endpoints(l, features, FullyConnected("linear", DropUnits("dropout", features, dropout), num_classes))
