"""imagenet-resnet.py with a network of three layers: the whole command, in a second after TensorFlow is there."""

import importlib.util
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

from webvision.errors import run_command  # noqa: E402
from webvision.model.backbones import Network  # noqa: E402

ARGS = [
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
    "--name",
    "run",
]  # 2 epochs of 4 steps


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


def load_command():
    """The command as a module, with Tiny in place of every network."""
    spec = importlib.util.spec_from_file_location("imagenet_resnet", os.path.join(ROOT, "imagenet-resnet.py"))
    command = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(command)
    command.Network = Tiny
    return command


if __name__ == "__main__":
    run_command(load_command().main)
