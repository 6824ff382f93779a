"""What a checkpoint means: its card, which lies in the checkpoint itself and so goes wherever its weights go.

Weights say nothing of how big a picture was, how its pixels were scaled and what class 7 is; with another answer to
any of these they load, and every prediction is wrong. The card is one JSON document (ASCII), kept as a vector of bytes
under the name `webvision/card` among the variables, in TensorFlow checkpoints and .npz archives alike:

    {"format": "webvision-card", "version": 1,
     "network": {"mode": "resnet", "depth": 50, "num_classes": 1000, "image_size": 224},
     "batch_norm_epsilon": 1e-05, "padding": "same", "data_format": "NHWC",
     "preset": {"name": "webvision", "image_size": 224, "short_side": 256, ...},
     "classes": ["n01440764", ...], "words": ["tench, Tinca tinca", ...], "train_counts": [1300, ...]}

Everything in it follows from the run's settings and its data set, nothing from the clock or the machine: the same run
gives the same bytes.
"""

import json
from dataclasses import asdict, dataclass

import numpy as np

from webvision.data.views.presets import Preset
from webvision.errors import CheckpointError, printable
from webvision.model.backbones import STYLE

VARIABLE = "webvision/card"
FORMAT, VERSION = "webvision-card", 1
MAX_BYTES = 1 << 23  # 5,000 classes with words and counts are 0.3 MB; json.loads takes up to 25 bytes for one of these
MIN_IMAGE_SIZE = 32
PADDINGS = ("same", "symmetric", "caffe")  # of networks/layers.py, which tells them apart
DATA_FORMATS = ("NHWC", "NCHW")


@dataclass(frozen=True)
class Card:
    """See the module."""

    network: dict  # as Network.described() has it: mode and depth or backbone, num_classes, image_size
    preset: Preset  # how a picture is prepared for it, in evaluation
    classes: tuple | None = None  # names in the order of the logits
    words: tuple | None = None  # what each name means, for a person; "" where nobody said
    train_counts: tuple | None = None  # pictures of each class that it was trained on
    batch_norm_epsilon: float = 1e-5
    padding: str = "same"  # of PADDINGS
    data_format: str = "NHWC"  # of DATA_FORMATS, in which it was trained; the weights are those of either

    @property
    def image_size(self):
        return self.network["image_size"]

    @property
    def num_classes(self):
        return self.network["num_classes"]

    def to_bytes(self):
        fields = {"format": FORMAT, "version": VERSION, **asdict(self)}
        return json.dumps({name: value for name, value in fields.items() if value is not None}).encode("ascii")

    def check_network(self, network, checkpoint):
        """CheckpointError unless `network` is the one that the weights belong to; its image size may be another."""
        asked = _of_network(network)
        differing = [
            f"{name} {printable(self.network[name])}, not {printable(asked['network'][name])}"
            for name in asked["network"]
            if name != "image_size" and name in self.network and self.network[name] != asked["network"][name]
        ] + [f"{name} {getattr(self, name)}, not {asked[name]}" for name in STYLE if getattr(self, name) != asked[name]]
        if differing:
            raise CheckpointError(f"{printable(checkpoint)}: its card says {', '.join(differing)}")


def card_of(network, preset, **known):
    """The Card of checkpoints of `network`, for pictures as `preset` prepares them; `known`: Card's other fields."""
    return Card(**_of_network(network), preset=preset.scaled(network.image_size), **known)


def _of_network(network):
    return {
        "network": {name: value for name, value in network.described().items() if name not in STYLE},
        **{name: getattr(network, name) for name in STYLE},
    }


def read_card(weights):
    """The Card in opened `weights` (model.weights.Weights), or None; CheckpointError if it can't be understood."""
    shape = weights.shapes.get(VARIABLE)
    if shape is None:
        return None
    if len(shape) != 1 or not 0 < shape[0] <= MAX_BYTES:
        raise CheckpointError(f"{printable(weights.path)}: {VARIABLE} has the shape {shape}; it is no card")
    value = np.asarray(weights[VARIABLE])
    if value.dtype != np.uint8:
        raise CheckpointError(f"{printable(weights.path)}: {VARIABLE} holds {value.dtype}, not bytes; it is no card")
    try:
        return parse_card(value.tobytes())
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{printable(weights.path)}: its card ({VARIABLE}) is damaged: {error}; use another checkpoint of the run"
        ) from None


def parse_card(data):
    """The Card in bytes that `to_bytes` gave; ValueError says what is wrong with others."""
    fields = json.loads(data.decode("ascii"))
    if type(fields) is not dict or fields.get("format") != FORMAT:
        raise ValueError(f"not a document of the format {FORMAT}")
    if fields.get("version") != VERSION:
        raise ValueError(f"version {printable(fields.get('version'))}, and this program reads version {VERSION}")
    network = fields.get("network")
    if (
        type(network) is not dict
        or type(network.get("mode", network.get("backbone"))) is not str
        or any(
            type(network.get(name)) is not int or network[name] < least
            for name, least in (("num_classes", 1), ("image_size", MIN_IMAGE_SIZE))
        )
    ):
        raise ValueError("network holds no mode or backbone, num_classes and image_size")
    preset = _preset(fields.get("preset"))
    if preset.image_size != network["image_size"]:
        raise ValueError(f"the network's pictures have {network['image_size']} px, the preset's {preset.image_size}")
    card = Card(
        network=network,
        preset=preset,
        classes=_column(fields, "classes", network["num_classes"], str),
        words=_column(fields, "words", network["num_classes"], str),
        train_counts=_column(fields, "train_counts", network["num_classes"], int),
        batch_norm_epsilon=fields.get("batch_norm_epsilon", 1e-5),
        padding=fields.get("padding", "same"),
        data_format=fields.get("data_format", "NHWC"),
    )
    if card.padding not in PADDINGS or card.data_format not in DATA_FORMATS or not _number(card.batch_norm_epsilon):
        raise ValueError("batch_norm_epsilon, padding or data_format is none that there is")
    return card


_PRESET_FIELDS = {  # name: whether a value of JSON may be one
    "name": lambda value: type(value) is str,
    "image_size": lambda value: type(value) is int,
    "short_side": lambda value: value is None or type(value) is int,
    "border": lambda value: type(value) is int and value >= 0,
    "resampling": lambda value: value in ("cubic", "pil-bilinear", "pil-bicubic"),
    "rounding": lambda value: value in ("tensorpack", "torchvision"),
    "colour_order": lambda value: value in ("rgb", "bgr"),
    "scale": lambda value: _number(value) and value > 0,
    "mean": lambda value: type(value) is list and len(value) == 3 and all(map(_number, value)),
    "std": lambda value: type(value) is list and len(value) == 3 and all(_number(x) and x > 0 for x in value),
    "crops": lambda value: type(value) is int,
    "flip": lambda value: type(value) is bool,
}


def _preset(fields):
    if type(fields) is not dict or fields.keys() != _PRESET_FIELDS.keys():
        raise ValueError(f"preset has not the fields {', '.join(_PRESET_FIELDS)}")
    if wrong := [name for name, allowed in _PRESET_FIELDS.items() if not allowed(fields[name])]:
        raise ValueError(f"preset: {wrong[0]} cannot be {printable(fields[wrong[0]])}")
    return Preset(**{name: tuple(value) if type(value) is list else value for name, value in fields.items()})


def _number(value):
    return type(value) in (int, float) and abs(value) < 1e300  # not isfinite: an int may be too large for a float


def _column(fields, name, rows, kind):
    """`fields[name]` as a tuple of `rows` values of one `kind`, or None where it is missing."""
    column = fields.get(name)
    if column is None:
        return None
    if type(column) is not list or len(column) != rows or any(type(value) is not kind for value in column):
        raise ValueError(f"{name} does not have one {kind.__name__} for each of {rows} classes")
    return tuple(column)
