"""The table of backbones: which networks there are, and how each is built.

A backbone is a function of a tensor in a file of webvision/model/networks (or resnet_model.py), and a row here. The
tests go through the rows: forward, gradient, shape, save, reload, parameters and multiplications as the reference has.
Nothing here loads TensorFlow until a network is built, so that a wrong name is refused at once.
"""

import difflib
import importlib
import re
from dataclasses import dataclass, field

DEPTHS = (18, 34, 50, 101, 152)
MODES = {  # --mode, and the depths it exists in: how the card spells its rows
    "resnet": DEPTHS,
    "preact": DEPTHS,
    "se": (50, 101, 152),  # squeeze-and-excitation was published for bottleneck blocks only
}
STYLE = ("padding", "batch_norm_epsilon")  # what weights from elsewhere change in a network; layers.py tells more
HEAD = "linear"  # the last layer of every backbone: what --finetune starts anew, and where the class count is read


@dataclass(frozen=True)
class Backbone:
    """How one network is built, and what it is by default."""

    build: str  # "module:function": (image, *, num_classes, **settings) -> Endpoints; imported when a graph is made
    parameters: int  # with 1000 classes (FP_classifier: 2), trainable; as the reference has them
    mmac: float  # million multiplications for one picture of `image_size`; as the reference counts them
    settings: dict = field(default_factory=dict)
    image_size: int | tuple = 224  # of a square, or (height, width)
    padding: str = "same"  # of what strides: layers.py says what there is
    batch_norm_epsilon: float = 1e-5
    preset: str = "webvision"  # how pictures are prepared for it, where its weights do not say otherwise


def _resnet(mode, depth, parameters, mmac, **row):
    return Backbone("resnet_model:resnet", parameters, mmac, {"mode": mode, "depth": depth}, **row)


def _efficientnet(width, depth, image_size, dropout, parameters, mmac, **settings):
    settings = {"width": width, "depth": depth, "dropout": dropout, **settings}
    return Backbone(
        "webvision.model.networks.mobile:efficientnet", parameters, mmac, settings, image_size, batch_norm_epsilon=1e-3
    )


# Kneron's: nothing squeezed, ReLU for swish, all at 224 px; sizes equal to its published table.
_KNERON = {"squeeze": False, "activation": "relu"}
_LITE = {"squeeze": False, "activation": "relu6", "fixed_ends": True}
_MOBILE = "webvision.model.networks.mobile:"
_V4 = "webvision.model.networks.mobilenet_v4:mobilenet_v4"

BACKBONES = {
    "resnet18": _resnet("resnet", 18, 11_689_512, 1814.07),
    "resnet34": _resnet("resnet", 34, 21_797_672, 3663.76),
    "resnet50": _resnet("resnet", 50, 25_557_032, 4089.18),
    "resnet101": _resnet("resnet", 101, 44_549_160, 7801.41),
    "resnet152": _resnet("resnet", 152, 60_192_808, 11513.63),
    "preact18": _resnet("preact", 18, 11_687_720, 1814.07),
    "preact34": _resnet("preact", 34, 21_795_880, 3663.76),
    "preact50": _resnet("preact", 50, 25_549_352, 4089.18),
    "preact101": _resnet("preact", 101, 44_541_480, 7801.41),
    "preact152": _resnet("preact", 152, 60_185_128, 11513.63),
    "se50": _resnet("se", 50, 28_088_024, 4091.7),
    "se101": _resnet("se", 101, 49_326_872, 7806.15),
    "se152": _resnet("se", 152, 66_821_848, 11520.2),
    "resnet50-v1": _resnet("v1", 50, 25_557_032, 3857.97, padding="symmetric"),
    "resnet101-v1": _resnet("v1", 101, 44_549_160, 7570.19, padding="symmetric"),
    "resnet152-v1": _resnet("v1", 152, 60_192_808, 11282.42, padding="symmetric"),
    "resnet18d": _resnet("d", 18, 11_708_744, 2053.71, padding="symmetric"),
    "resnet50d": _resnet("d", 50, 25_576_264, 4328.82, padding="symmetric"),
    "mobilenetv2": Backbone(_MOBILE + "mobilenet_v2", 3_504_872, 300.77),
    "FP_classifier": Backbone(_MOBILE + "fp_classifier", 1_266_938, 6.65, image_size=(56, 32), preset="kneron"),
    "efficientnet-lite0": _efficientnet(1.0, 1.0, 224, 0.2, 4_652_008, 385.19, **_LITE),
    "efficientnet-lite1": _efficientnet(1.0, 1.1, 240, 0.2, 5_416_680, 600.19, **_LITE),
    "efficientnet-lite2": _efficientnet(1.1, 1.2, 260, 0.3, 6_092_072, 859.74, **_LITE),
    "efficientnet-lite3": _efficientnet(1.2, 1.4, 280, 0.3, 8_197_096, 1383.32, **_LITE),
    "efficientnet-lite4": _efficientnet(1.4, 1.8, 300, 0.3, 13_006_568, 2553.03, **_LITE),
    "efficientnet-b0": _efficientnet(1.0, 1.0, 224, 0.2, 4_652_008, 385.19, **_KNERON),
    "efficientnet-b1": _efficientnet(1.0, 1.1, 224, 0.2, 6_671_544, 568.54, **_KNERON),
    "efficientnet-b2": _efficientnet(1.1, 1.2, 224, 0.3, 7_780_856, 657.65, **_KNERON),
    "efficientnet-b3": _efficientnet(1.2, 1.4, 224, 0.3, 10_353_504, 960.85, **_KNERON),
    "efficientnet-b4": _efficientnet(1.4, 1.8, 224, 0.4, 16_195_168, 1500.59, **_KNERON),
    "efficientnet-b5": _efficientnet(1.6, 2.2, 224, 0.4, 25_197_912, 2351.34, **_KNERON),
    "efficientnet-b6": _efficientnet(1.8, 2.6, 224, 0.5, 35_506_920, 3352.69, **_KNERON),
    "efficientnet-b7": _efficientnet(2.0, 3.1, 224, 0.5, 54_374_856, 5157.97, **_KNERON),
    "efficientnet-b0-se": _efficientnet(1.0, 1.0, 224, 0.2, 5_288_548, 385.81),
    "efficientnet-b1-se": _efficientnet(1.0, 1.1, 240, 0.2, 7_794_184, 686.8),
    "efficientnet-b2-se": _efficientnet(1.1, 1.2, 260, 0.3, 9_109_994, 993.56),
    "efficientnet-b3-se": _efficientnet(1.2, 1.4, 300, 0.3, 12_233_232, 1827.14),
    "efficientnet-b4-se": _efficientnet(1.4, 1.8, 380, 0.4, 19_341_616, 4393.77),
    "efficientnet-b5-se": _efficientnet(1.6, 2.2, 456, 0.4, 30_389_784, 10266.38),
    "efficientnet-b6-se": _efficientnet(1.8, 2.6, 528, 0.5, 43_040_704, 19067.59),
    "efficientnet-b7-se": _efficientnet(2.0, 3.1, 600, 0.5, 66_347_960, 37745.88),
    "mobilenetv4-conv-small": Backbone(_V4, 3_774_024, 186.01, {"size": "small"}, padding="symmetric"),
    "mobilenetv4-conv-medium": Backbone(_V4, 9_715_512, 827.65, {"size": "medium"}, padding="symmetric"),
    "regnetx-400mf": Backbone(
        "webvision.model.networks.regnet:regnet_x",
        5_157_512,
        397.68,
        {"widths": (32, 64, 160, 384), "depths": (1, 2, 7, 12), "group_width": 16},
        padding="symmetric",
    ),
    "convnext-tiny": Backbone(
        "webvision.model.networks.convnext:convnext",
        28_589_128,
        4455.53,
        {"widths": (96, 192, 384, 768), "depths": (3, 3, 9, 3)},
        padding="symmetric",
    ),
}


_BY_DEPTH = re.compile(rf"({'|'.join(MODES)})-?d?(\d+)")


@dataclass(frozen=True)
class Network:
    """Which function of a picture is meant; a checkpoint belongs to exactly one."""

    backbone: str  # a name in BACKBONES
    num_classes: int
    image_size: int | tuple | None = None  # None: the row's
    padding: str | None = None  # None: the row's; weights from elsewhere bring their own
    batch_norm_epsilon: float | None = None

    def __post_init__(self):
        row = find_backbone(self.backbone)
        for name in ("image_size", "padding", "batch_norm_epsilon"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, getattr(row, name))
        if self.num_classes < 1:
            raise ValueError("a network needs at least one class")
        if min(self.height, self.width) < 32:
            raise ValueError(f"image size {self.image_size} is below 32, what five halvings leave one pixel of")

    @property
    def height(self):
        return self.image_size if isinstance(self.image_size, int) else self.image_size[0]

    @property
    def width(self):
        return self.image_size if isinstance(self.image_size, int) else self.image_size[1]

    @property
    def name(self):
        """As run folders and reports have it: the card's networks by mode and depth, all others by their row."""
        mode, depth = self.mode, self.depth
        return f"{mode}-d{depth}" if mode else self.backbone

    @property
    def mode(self):
        """--mode of a row that the card spells so; None for others."""
        settings = BACKBONES[self.backbone].settings
        return settings["mode"] if settings.get("mode") in MODES else None

    @property
    def depth(self):
        return BACKBONES[self.backbone].settings["depth"] if self.mode else None

    def described(self):
        """What run.json and cards say of it: only what is not as its row has it, beside its name, classes and size."""
        row = BACKBONES[self.backbone]
        named = {"mode": self.mode, "depth": self.depth} if self.mode else {"backbone": self.backbone}
        size = self.image_size if isinstance(self.image_size, int) else list(self.image_size)
        style = {name: getattr(self, name) for name in STYLE if getattr(self, name) != getattr(row, name)}
        return {**named, "num_classes": self.num_classes, "image_size": size, **style}

    def endpoints(self, image, *, data_format):
        """The Endpoints (map, features, logits) of a normalised image batch [batch, height, width, 3]."""
        from webvision.model.networks import layers

        row = BACKBONES[self.backbone]
        module, _, function = row.build.partition(":")
        build = getattr(importlib.import_module(module), function)
        with layers.style(data_format=data_format, padding=self.padding, epsilon=self.batch_norm_epsilon):
            return build(image, num_classes=self.num_classes, **row.settings)

    def logits(self, image, *, data_format):
        """Logits [batch, num_classes] of a normalised image batch [batch, height, width, 3]."""
        return self.endpoints(image, data_format=data_format).logits


def find_backbone(name):
    """The row called `name`; ValueError that names the nearest if there is none."""
    if name not in BACKBONES:
        near = difflib.get_close_matches(name.lower(), BACKBONES, n=3, cutoff=0.5)
        there = f"; did you mean {' or '.join(near)}?" if near else f"; there are {', '.join(BACKBONES)}"
        raise ValueError(f"unknown backbone {name!r}{there}")
    return BACKBONES[name]


def named_backbone(name):
    """The row that a person's `name` means: also preact-d18 for preact18; ValueError if there is none."""
    match = _BY_DEPTH.fullmatch(name)
    name = backbone_of(match[1], int(match[2])) if match else name
    find_backbone(name)
    return name


def backbone_of(mode, depth):
    """The name of the row that `--mode MODE -d DEPTH` spells; ValueError if there is none."""
    if mode not in MODES:
        raise ValueError(f"unknown network mode {mode!r}; there are {', '.join(MODES)}")
    if depth not in MODES[mode]:
        raise ValueError(f"mode {mode} has no depth {depth}; it exists with {', '.join(map(str, MODES[mode]))}")
    return f"{mode}{depth}"


def described_network(entry):
    """The Network of a description that `Network.described` made."""
    name = entry["backbone"] if "backbone" in entry else backbone_of(entry["mode"], entry["depth"])
    size = entry["image_size"]
    size = size if isinstance(size, int) else tuple(size)
    return Network(name, entry["num_classes"], size, *(entry.get(field) for field in STYLE))
