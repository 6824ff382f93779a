"""A ResNet small enough for 40 passes on one core and large enough to learn labels by heart: 0.3 M weights, 3 MMAC."""

from unittest import mock

from webvision.commands import train
from webvision.model import backbones


class Small(backbones.Network):
    """Three groups of one basic block, 32 to 128 channels, on pictures of 28 to 40 px; whatever depth is asked for."""

    name = "small"

    def endpoints(self, image, *, data_format):
        """The Endpoints of a normalised image batch."""
        from resnet_model import resnet_basicblock, resnet_group
        from webvision.compat import tfv1 as tf
        from webvision.model.networks.layers import head, style

        from tensorpack.models import BatchNorm, BNReLU, Conv2D
        from tensorpack.tfutils.argscope import argscope

        with (
            style(data_format=data_format),
            argscope([Conv2D, BatchNorm], data_format=data_format),
            argscope(Conv2D, use_bias=False, kernel_initializer=tf.variance_scaling_initializer(2.0, mode="fan_out")),
        ):
            l = Conv2D("conv0", image, 16, 3, strides=2, activation=BNReLU)
            for i, channels in enumerate((32, 64, 128)):
                with tf.variable_scope(f"group{i}"):
                    l = resnet_group(l, resnet_basicblock, channels, count=1, stride=2)
            return head(l, self.num_classes)


def train_small(flags):
    """`webvision train FLAGS` with Small in place of every network."""
    with mock.patch.object(backbones, "Network", Small):
        train.main(flags)
