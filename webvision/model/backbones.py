"""The table of backbones: which networks there are, and which settings of theirs exist.

Nothing here loads TensorFlow until a network is built, so that a wrong --mode or --depth is refused at once.
"""

import re
from dataclasses import dataclass

DEPTHS = (18, 34, 50, 101, 152)
MODES = {  # mode -> the depths it exists in
    "resnet": DEPTHS,
    "preact": DEPTHS,
    "se": (50, 101, 152),  # squeeze-and-excitation was published for bottleneck blocks only
}
_NAME = re.compile(rf"({'|'.join(MODES)})-?d?(\d+)")


def named_network(name):
    """(mode, depth) of a name such as resnet50, se101 or preact-d18; ValueError names those that there are."""
    match = _NAME.fullmatch(name)
    if not match:
        known = ", ".join(f"{mode}{depth}" for mode, depths in MODES.items() for depth in depths)
        raise ValueError(f"{name}: neither a Python file nor a network of this project; those are {known}")
    check_exists(match[1], int(match[2]))
    return match[1], int(match[2])


def check_exists(mode, depth):
    """ValueError unless there is a network of `mode` with `depth`."""
    if mode not in MODES:
        raise ValueError(f"unknown network mode {mode!r}; there are {', '.join(MODES)}")
    if depth not in MODES[mode]:
        depths = ", ".join(map(str, MODES[mode]))
        raise ValueError(f"mode {mode} has no depth {depth}; it exists with {depths}")


@dataclass(frozen=True)
class Network:
    """Which function of a picture is meant; a checkpoint belongs to exactly one."""

    mode: str
    depth: int
    num_classes: int
    image_size: int = 224

    batch_norm_epsilon = 1e-5  # these two as in resnet_model.py
    padding = "same"

    def __post_init__(self):
        check_exists(self.mode, self.depth)
        if self.num_classes < 1:
            raise ValueError("a network needs at least one class")
        if self.image_size < 32:
            raise ValueError(f"image size {self.image_size} is below 32, what five halvings leave one pixel of")

    @property
    def name(self):
        return f"{self.mode}-d{self.depth}"

    def logits(self, image, *, data_format):
        """Logits [batch, num_classes] of a normalised image batch [batch, size, size, 3]."""
        import resnet_model

        return resnet_model.resnet_logits(
            image, depth=self.depth, mode=self.mode, num_classes=self.num_classes, data_format=data_format
        )
