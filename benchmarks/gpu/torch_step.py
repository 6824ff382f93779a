"""The same step in PyTorch: ResNet-50, channels_last, bfloat16, compiled; and our loader onto the GPU by it.

TensorFlow is not needed.
"""

import contextlib
import time

import torch
from torch import nn

from benchmarks.gpu.peak import told
from benchmarks.pictures import make_set
from webvision.data.data_set import DataSet
from webvision.data.loader.batches import TrainBatches
from webvision.data.loader.spec import BatchSpec
from webvision.data.views.augment import Augmentation
from webvision.devices import cpu_cores

STEPS, WARM = 50, 10


class Bottleneck(nn.Module):
    """He et al. 2015, with the stride on the 3x3 convolution, as our network has it."""

    def __init__(self, inside, width, stride):
        super().__init__()
        outside = 4 * width
        self.residual = nn.Sequential(
            *convolution(inside, width, 1),
            nn.ReLU(True),
            *convolution(width, width, 3, stride),
            nn.ReLU(True),
            *convolution(width, outside, 1),
        )
        same = inside == outside and stride == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(*convolution(inside, outside, 1, stride))

    def forward(self, x):
        return torch.relu(self.residual(x) + self.shortcut(x))


def convolution(inside, outside, size, stride=1):
    return nn.Conv2d(inside, outside, size, stride, size // 2, bias=False), nn.BatchNorm2d(outside)


def resnet50(classes=1000):
    layers = [*convolution(3, 64, 7, 2), nn.ReLU(True), nn.MaxPool2d(3, 2, 1)]
    inside = 64
    for width, blocks, first in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            layers.append(Bottleneck(inside, width, first if block == 0 else 1))
            inside = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inside, classes))


def step_of(device, batch, *, size=224, compiled=True):
    """A function that takes one training step on `batch` made-up pictures, and returns its loss."""
    model = resnet50().to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-4, nesterov=True)
    forward = torch.compile(model) if compiled else model
    images = torch.randn(batch, 3, size, size, device=device).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 1000, (batch,), device=device)

    def step():
        with torch.autocast(device, torch.bfloat16):
            loss = nn.functional.cross_entropy(forward(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss

    return step


def rate(place, batch):
    """Pictures a second on one GPU."""
    step = step_of("cuda", batch)
    for _ in range(WARM):
        step()
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(STEPS):
        step()
    torch.cuda.synchronize()
    answer = told(place.card, "bfloat16", batch * STEPS / (time.perf_counter() - began))
    return answer | {"words": f"{answer['words']} (PyTorch {torch.__version__}, bfloat16, channels_last, compiled)"}


def loader(place, *, device="cuda", batch=256, pictures=2048, batches=40):
    """Pictures a second that our loader brings onto the GPU as JPEGs decoded and augmented, by all cores."""
    split = DataSet.open(make_set(place.folder, "resized", pictures)).split("train")
    spec = BatchSpec(Augmentation(image_size=224), batch)
    order = split.order("upsample", seed=0)
    with contextlib.closing(TrainBatches(split, order, spec, workers=cpu_cores(), start=0)) as source:
        arrived = iter(source)
        for number in range(4 + batches):
            if number == 4:  # what was built ahead is taken
                began = time.perf_counter()
            there = torch.from_numpy(next(arrived).images).to(device, non_blocking=False)
            assert there.shape == (batch, 224, 224, 3)
        rate = batch * batches / (time.perf_counter() - began)
    words = f"{rate:.0f} pictures/s by {cpu_cores()} workers"
    return {"held": None, "words": words, "pictures_per_second": rate}
