"""The table of backbones: which networks there are, and which settings of theirs exist.

Nothing here loads TensorFlow until a network is built, so that a wrong --mode or --depth is refused at once.
"""

from dataclasses import dataclass

DEPTHS = (18, 34, 50, 101, 152)
MODES = {  # mode -> the depths it exists in
    "resnet": DEPTHS,
    "preact": DEPTHS,
    "se": (50, 101, 152),  # squeeze-and-excitation was published for bottleneck blocks only
}


@dataclass(frozen=True)
class Network:
    """Which function of a picture is meant; a checkpoint belongs to exactly one."""

    mode: str
    depth: int
    num_classes: int
    image_size: int = 224

    def __post_init__(self):
        if self.mode not in MODES:
            raise ValueError(f"unknown network mode {self.mode!r}; there are {', '.join(MODES)}")
        if self.depth not in MODES[self.mode]:
            depths = ", ".join(map(str, MODES[self.mode]))
            raise ValueError(f"mode {self.mode} has no depth {self.depth}; it exists with {depths}")
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
