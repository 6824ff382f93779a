"""A ResNet small enough for 40 passes on one core and large enough to learn labels by heart: 0.3 M weights, 3 MMAC."""

import importlib.util
import os
from dataclasses import dataclass

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@dataclass(frozen=True)
class Small:
    """Three groups of one basic block, 32 to 128 channels, on pictures of 28 to 40 px."""

    mode: str
    depth: int
    num_classes: int
    image_size: int = 32
    name = "small"
    batch_norm_epsilon = 1e-5
    padding = "same"

    def logits(self, image, *, data_format):
        """Logits [batch, num_classes] of a normalised image batch."""
        from resnet_model import resnet_basicblock, resnet_group
        from webvision.compat import tfv1 as tf

        from tensorpack.models import BatchNorm, BNReLU, Conv2D, FullyConnected, GlobalAvgPooling
        from tensorpack.tfutils.argscope import argscope

        with (
            argscope([Conv2D, GlobalAvgPooling, BatchNorm], data_format=data_format),
            argscope(Conv2D, use_bias=False, kernel_initializer=tf.variance_scaling_initializer(2.0, mode="fan_out")),
        ):
            l = Conv2D("conv0", image, 16, 3, strides=2, activation=BNReLU)
            for i, channels in enumerate((32, 64, 128)):
                with tf.variable_scope(f"group{i}"):
                    l = resnet_group(l, resnet_basicblock, channels, count=1, stride=2)
            return FullyConnected("linear", GlobalAvgPooling("gap", l), self.num_classes)


def load_command():
    """imagenet-resnet.py as a module, whose networks are all Small."""
    spec = importlib.util.spec_from_file_location("imagenet_resnet", os.path.join(ROOT, "imagenet-resnet.py"))
    command = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(command)
    command.Network = Small
    return command
