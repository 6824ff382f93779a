"""RegNetX (Radosavovic et al. 2020): bottlenecks that narrow nothing, whose 3x3 convolution is in groups of a fixed
width; ReLU only."""

from webvision.compat import tf, tfv1
from webvision.model.networks.layers import Conv, bn, bn_then, bn_zero, channels_of, head, to_layout


def regnet_x(image, *, num_classes, widths, depths, group_width):
    """RegNetX with `depths` blocks of `widths` channels in its four stages."""
    l = Conv("conv0", to_layout(image), 32, 3, strides=2, activation=bn_then(tf.nn.relu))
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        for number in range(depth):
            with tfv1.variable_scope(f"group{stage}/block{number}"):
                l = tf.nn.relu(_block(l, width, group_width, 2 if number == 0 else 1))
    return head(l, num_classes)


def _block(l, width, group_width, stride):
    shortcut = l
    if stride != 1 or channels_of(l) != width:
        shortcut = Conv("convshortcut", l, width, 1, strides=stride, activation=bn)
    l = Conv("conv1", l, width, 1, activation=bn_then(tf.nn.relu))
    l = Conv("conv2", l, width, 3, strides=stride, groups=width // group_width, activation=bn_then(tf.nn.relu))
    return Conv("conv3", l, width, 1, activation=bn_zero) + shortcut
