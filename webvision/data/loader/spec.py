"""What a batch is: how many pictures, seen how, and which of its arrays are fed to the network."""

import dataclasses

import numpy as np

from webvision.data.views.augment import Augmentation
from webvision.data.views.presets import Preset
from webvision.errors import UsageError

FIELDS = {  # of a Batch: (shape of a row, type); `size` stands for the side of an image
    "images": (("size", "size", 3), np.uint8),
    "labels": ((), np.int32),
    "matrices": ((3, 4), np.float32),
    "rows": ((), np.int64),
    "shown": ((), np.int64),
}
_VIEWS = {"augmentation": Augmentation, "preset": Preset}


@dataclasses.dataclass(frozen=True)
class BatchSpec:
    """`size` pictures seen through `view`; a network is fed the arrays named in `fed`.

    With 'matrices' among them the workers leave the colours to the device: it applies the matrix of each picture.
    """

    view: Augmentation | Preset
    size: int
    fed: tuple = ("images", "labels")

    def __post_init__(self):
        if self.size < 1:
            raise UsageError(f"a batch of {self.size} pictures")
        if unknown := [name for name in self.fed if name not in FIELDS]:
            raise ValueError(f"{unknown[0]} is nothing that a batch has: {', '.join(FIELDS)}")

    @property
    def colours_on_device(self):
        """Whether the loader leaves colours to the graph."""
        return "matrices" in self.fed

    @property
    def images(self):
        """How many images a batch has: a preset may show a picture several times."""
        return self.size * getattr(self.view, "views", 1)

    def shapes(self):
        """[(name, shape of a batch's array, type)] of what is fed."""
        sizes = {"size": self.view.image_size}
        return [(name, (self.size, *(sizes.get(n, n) for n in FIELDS[name][0])), FIELDS[name][1]) for name in self.fed]

    def to_json(self):
        """As what json.dumps takes, for worker processes."""
        kind = next(name for name, cls in _VIEWS.items() if type(self.view) is cls)
        return {"view": {"kind": kind, **dataclasses.asdict(self.view)}, "size": int(self.size), "fed": list(self.fed)}

    @classmethod
    def from_json(cls, fields):
        """The BatchSpec that `to_json` described."""
        view = {name: tuple(value) if isinstance(value, list) else value for name, value in fields["view"].items()}
        return cls(_VIEWS[view.pop("kind")](**view), fields["size"], tuple(fields["fed"]))
