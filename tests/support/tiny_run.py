"""imagenet-resnet.py with a network of three layers: the whole command, in a second after TensorFlow is there."""

import os
import sys
from unittest import mock

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

from webvision.commands import card  # noqa: E402
from webvision.errors import run_command  # noqa: E402
from webvision.model import backbones  # noqa: E402
from webvision.model.backbones import Network  # noqa: E402

SMALL = [
    "--image-size",
    "32",
    "--batch",
    "6",
    "--epochs",
    "2",
    "--epoch-size",
    "24",
    "--lr",
    "0.05",
    "--workers",
    "0",
    "--log-every",
    "2",
]  # 2 epochs of 4 steps
ARGS = [*SMALL, "--name", "run"]


class Tiny(Network):
    """Has what a ResNet's checkpoint has: convolution, batch norm with its averages (not with mode 'preact'), a linear
    layer."""

    name = "tiny"

    def endpoints(self, image, *, data_format):
        from webvision.compat import tf
        from webvision.model.networks.layers import head, style

        from tensorpack.models import BatchNorm, Conv2D

        normalise = (lambda x: x) if self.mode == "preact" else (lambda x: BatchNorm("bn", x))
        l = Conv2D("conv", image, 6, 3, strides=2, use_bias=False, activation=lambda x: tf.nn.relu(normalise(x)))
        with style(data_format="NHWC"):
            return head(l, self.num_classes)


def main(argv=None):
    """imagenet-resnet.py with Tiny in place of every network."""
    with mock.patch.object(backbones, "Network", Tiny):
        return card.main(argv)


if __name__ == "__main__":
    run_command(main)
