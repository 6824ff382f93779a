"""ConvNeXt (Liu et al. 2022): a ResNet with what transformers brought: patches, layer norm, GELU, 7x7 depthwise."""

import math

from webvision.compat import tf, tfv1
from webvision.model.networks.layers import (
    ChannelNorm,
    Conv,
    DepthwiseConv,
    DropPath,
    channels_of,
    data_format,
    head,
    to_layout,
)


def convnext(image, *, num_classes, widths, depths, drop_path=0.1):
    """ConvNeXt with `depths` blocks of `widths` channels in its four stages."""
    l = ChannelNorm("norm0", _conv("conv0", to_layout(image), widths[0], 4, stride=4))
    number = 0
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        with tfv1.variable_scope(f"group{stage}"):
            if stage:
                l = _conv("down", ChannelNorm("down_norm", l), width, 2, stride=2)
            for index in range(depth):
                with tfv1.variable_scope(f"block{index}"):
                    l = _block(l, drop_path * number / (sum(depths) - 1))
                number += 1
    return head(l, num_classes, between=lambda features: ChannelNorm("norm", features))


def _conv(name, l, filters, kernel, *, stride=1):
    # Weights as the authors begin: a residual branch is small by its scale, not by its weights.
    initializer = tfv1.truncated_normal_initializer(stddev=0.02)
    return Conv(name, l, filters, kernel, strides=stride, use_bias=True, kernel_initializer=initializer)


def _gelu(l):
    # Not tf.nn.gelu, which is written with erfc: ONNX and TFLite know erf alone.
    return l * (tf.math.erf(l * math.sqrt(0.5)) + 1.0) * 0.5


def _block(l, drop_path):
    shortcut, width = l, channels_of(l)
    l = ChannelNorm("norm", DepthwiseConv("dw", l, 7, use_bias=True))
    l = _gelu(_conv("expand", l, 4 * width, 1))
    l = _conv("project", l, width, 1)
    scale = tfv1.get_variable("scale", [width], l.dtype, initializer=tfv1.constant_initializer(1e-6))
    l = l * tf.reshape(scale, [1, width, 1, 1] if data_format() == "NCHW" else [1, 1, 1, width])
    return shortcut + DropPath("path", l, drop_path)
