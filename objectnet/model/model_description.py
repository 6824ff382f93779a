"""Your PyTorch models for ObjectNet: each a class or a function that makes a torch.nn.Module, called without arguments.

`objectnet_eval.py IMAGES OUTPUT NAME CHECKPOINT` builds NAME from here and fills it with CHECKPOINT, which
`torch.save(model.state_dict(), FILE)` wrote. The file runs in a process of its own, with torch, and may import what
lies beside it.
"""

from torch import nn


def resnext101_32x48d_wsl():
    """The challenge's example, of Mahajan et al. 2018; its weights: ig_resnext101_32x48-3e41cc8a.pth."""
    return ResNeXt(blocks=(3, 4, 23, 3), groups=32, width_per_group=48)


class ResNeXt(nn.Module):
    """ResNeXt of Xie et al. 2017 for 1,000 classes; its variables have the names that torchvision's checkpoints use."""

    def __init__(self, blocks, groups, width_per_group):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = 64
        for stage, count in enumerate(blocks):
            inner, outer = groups * width_per_group << stage, 256 << stage
            layers = []
            for block in range(count):
                stride = 2 if stage and not block else 1
                layers.append(Bottleneck(channels, inner, outer, stride, groups))
                channels = outer
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
        self.fc = nn.Linear(channels, 1000)

    def forward(self, x):
        """Logits [images, 1000] of a normalised RGB batch, NCHW."""
        x = self.maxpool(self.bn1(self.conv1(x)).relu())
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


class Bottleneck(nn.Module):
    """1x1, grouped 3x3 (which strides), 1x1; the shortcut is projected where the shape changes."""

    def __init__(self, channels, inner, outer, stride, groups):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, inner, 1, bias=False), nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = nn.Conv2d(inner, outer, 1, bias=False), nn.BatchNorm2d(outer)
        self.downsample = nn.Identity()
        if channels != outer:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, outer, 1, stride=stride, bias=False), nn.BatchNorm2d(outer)
            )

    def forward(self, x):
        """The block's output, ReLU applied."""
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        return (self.bn3(self.conv3(y)) + self.downsample(x)).relu()
