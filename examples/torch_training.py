#!/usr/bin/env python3
"""Train a ResNet-18 in PyTorch from this project's loader; neither torchvision nor TensorFlow is needed.

    python3 examples/torch_training.py --data DIR --epochs 90 --out model.pth

DIR is in the ILSVRC layout (docs/reference/formats.md). torch: the extra `torch` in pyproject.toml. The state dict that
it writes is what objectnet/objectnet_eval.py takes, with `resnet18` copied to objectnet/model/model_description.py.
"""

import argparse
import math
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from webvision.environment import use_project_environment

use_project_environment("numpy", "cv2")

try:
    import torch
except ModuleNotFoundError:
    print(f"torch is not installed here: {sys.executable} -m pip install torch", file=sys.stderr)
    sys.exit(2)
from torch import nn  # noqa: E402

from webvision.data import DataSet, batches  # noqa: E402
from webvision.data.views.augment import Augmentation  # noqa: E402
from webvision.data.views.presets import PRESETS  # noqa: E402
from webvision.devices import cpu_cores  # noqa: E402
from webvision.errors import run_command  # noqa: E402

MEAN, STD = (torch.tensor(PRESETS["webvision"].mean), torch.tensor(PRESETS["webvision"].std))  # BGR


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, channels, width, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        nn.init.zeros_(self.bn2.weight)  # the block starts as the identity: Goyal et al. 2017, sec. 5.1
        self.shortcut = nn.Identity()
        if stride != 1 or channels != width:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        y = self.bn1(self.conv1(x)).relu()
        return (self.bn2(self.conv2(y)) + self.shortcut(x)).relu()


def resnet18(num_classes=1000):
    """ResNet-18 (He et al. 2015)."""
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for stage, width in enumerate((64, 128, 256, 512)):
        for block in range(2):
            layers.append(Block(channels, width, 2 if stage and not block else 1))
            channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes))


def to_device(batch, device):
    """(images, labels): what the loader gives, uint8 and NHWC, as floats on the device, NCHW."""
    images = torch.from_numpy(batch.images).to(device, non_blocking=True).permute(0, 3, 1, 2).float() / 255
    images = (images - MEAN.to(device)[:, None, None]) / STD.to(device)[:, None, None]
    return images, torch.from_numpy(batch.labels).to(device, torch.long)


def errors(model, split, size, *, batch, workers, device):
    """Top-1 error over a split."""
    wrong = seen = 0
    model.eval()
    with batches(split, batch, PRESETS["webvision"].scaled(size), workers=workers) as loader, torch.inference_mode():
        for part in loader:
            images, labels = to_device(part, device)
            wrong += int((model(images).argmax(1) != labels).sum())
            seen += len(labels)
    return wrong / seen


def train(args):
    """Train, validate after each epoch, write the weights."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data = DataSet.open(args.data)
    split = data.split("train")
    torch.manual_seed(args.seed)
    model = resnet18(len(data.classes)).to(device)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.1 * args.batch / 256, momentum=0.9, nesterov=True, weight_decay=1e-4
    )
    view = Augmentation(image_size=args.size)
    steps = max(1, len(split.order(args.balance)) // args.batch)
    with batches(split, args.batch, view, balance=args.balance, seed=args.seed, workers=args.workers) as loader:
        feed = iter(loader)
        for epoch in range(args.epochs):
            model.train()
            started, waited = time.perf_counter(), loader.wait_seconds
            for step in range(steps):
                share = (epoch * steps + step) / (args.epochs * steps)
                for group in optimizer.param_groups:
                    group["lr"] = 0.1 * args.batch / 256 * (1 + math.cos(math.pi * share)) / 2
                images, labels = to_device(next(feed), device)
                loss = nn.functional.cross_entropy(model(images), labels)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
            seconds = time.perf_counter() - started
            error = errors(model, data.split("val"), args.size, batch=args.batch, workers=args.workers, device=device)
            print(
                f"epoch {epoch + 1}/{args.epochs}: loss {loss.item():.4f}, val error {error:.4f}, "
                f"{steps * args.batch / seconds:.0f} images/s, waiting for data "
                f"{(loader.wait_seconds - waited) / seconds:.1%}"
            )
    torch.save(model.state_dict(), args.out)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, metavar="DIR")
    parser.add_argument("--epochs", type=int, default=90, metavar="N")
    parser.add_argument("--batch", type=int, default=256, metavar="N")
    parser.add_argument("--size", type=int, default=224, metavar="PX", help="side of the pictures")
    parser.add_argument("--balance", default="upsample", metavar="HOW", help="upsample, sqrt, cap:N or none")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--workers", type=int, default=cpu_cores(), metavar="N", help="loader processes")
    parser.add_argument("--out", default="model.pth", metavar="FILE")
    train(parser.parse_args(argv))


if __name__ == "__main__":
    run_command(main)
