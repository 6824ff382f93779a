"""The model that a challenge evaluates: one of this project's networks by name, or the user's own, which is one file.

The user's file is Python. It has

    PRESET = "objectnet"              a name of webvision.data.views.presets.PRESETS, or a Preset
    def logits(images): ...           from a batch of prepared images to logits [images, classes]

and, where the defaults do not fit, IMAGE_SIZE (the preset's) and NUM_CLASSES (1000). `images` is a float32 TensorFlow
tensor [n, size, size, 3], normalised as the preset says; the variables that `logits` makes are filled from the
checkpoint by name. A model that is no TensorFlow graph also has

    def load(checkpoint): ...         called once; `logits` then gets NumPy batches and returns NumPy logits

The file runs with the rights of whoever starts the command, as any program does: do not run a stranger's.
"""

import dataclasses
import hashlib
import importlib.util
import os
import sys

import numpy as np

from webvision.data.views.presets import PRESETS, Preset
from webvision.devices import Devices
from webvision.errors import CheckpointError, UsageError, printable
from webvision.files import file_sha256
from webvision.inference.provenance import known_card, settle_size
from webvision.model.backbones import Network, named_backbone
from webvision.model.weights import files_of

NORMALISATION = ("colour_order", "scale", "mean", "std")


@dataclasses.dataclass(frozen=True)
class OwnNetwork:
    """The user's function in the shape of a `Network`."""

    name: str
    function: object
    num_classes: int
    image_size: int

    def logits(self, image, *, data_format):
        """Logits of a normalised batch; the layout inside is the user's own affair."""
        return self.function(image)


@dataclasses.dataclass(frozen=True)
class OwnModel:
    """What MODEL names: how its images are prepared, and how it becomes a function. Nothing is loaded yet."""

    name: str
    preset: Preset
    network: object = None  # of built-in models and TensorFlow files; None for files with load()
    module: object = None  # of files

    def contents_sha256(self, checkpoint):
        """SHA-256 of what predicts: the network's name, or the user's file, and all files of `checkpoint`."""
        paths = files_of(checkpoint) + ([self.module.__file__] if self.module else [])
        parts = [self.name, *map(file_sha256, paths)]
        return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()

    def open(self, checkpoint, *, gpus=0):
        """A context manager that yields predict(uint8 BGR batch) -> float32 logits, on that many GPUs or the CPU."""
        if self.network is None:
            return _NumpyModel(self.module, checkpoint, self.preset)
        return _GraphModel(self, checkpoint, gpus)


def find_model(name, checkpoint, *, preset):
    """The OwnModel that `name` means: a Python file, or a built-in network such as resnet50, preact18, se101.

    A built-in network's images get the geometry of PRESETS[`preset`], in the size and the colours it was trained with
    here.
    """
    if name.endswith(".py") or os.sep in name:
        return _from_file(name)
    try:
        backbone = named_backbone(name)
    except ValueError as error:
        raise UsageError(f"{printable(name)}: neither a Python file nor a network of this project: {error}") from None
    card = known_card(checkpoint)
    size = settle_size(checkpoint, card, remark=_remark, otherwise="a model file with IMAGE_SIZE")
    network = Network(backbone, _classes_in(checkpoint), size)
    if card:
        card.check_network(network, checkpoint)
    trained = card.preset if card else PRESETS["webvision"]
    colours = {field: getattr(trained, field) for field in NORMALISATION}
    return OwnModel(name, dataclasses.replace(PRESETS[preset].scaled(size), **colours), network)


def _remark(text):
    print(text, file=sys.stderr)


def _classes_in(checkpoint):
    """How many classes a checkpoint of this project has."""
    from webvision.model.weights import open_weights

    shape = open_weights(checkpoint).shapes.get("linear/b")
    if not shape:
        raise CheckpointError(
            f"{printable(checkpoint)}: no variable linear/b in it; is it a checkpoint of this project?"
        )
    return shape[0]


def _from_file(path):
    if not os.path.isfile(path):
        raise UsageError(f"{printable(path)}: no such file; MODEL is a Python file with logits(images) and PRESET")
    spec = importlib.util.spec_from_file_location("own_model_file", path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise UsageError(f"{printable(path)}:{error.lineno}: {error.msg}") from None
    if not callable(getattr(module, "logits", None)):
        raise UsageError(f"{printable(path)}: no function logits(images) in it")
    preset = getattr(module, "PRESET", None)
    if not isinstance(preset, Preset):
        if preset not in PRESETS:
            raise UsageError(
                f"{printable(path)}: PRESET is {printable(preset)!r}; it must be one of {', '.join(PRESETS)}"
            )
        preset = PRESETS[preset]
    size, classes = getattr(module, "IMAGE_SIZE", preset.image_size), getattr(module, "NUM_CLASSES", 1000)
    for name, value in (("IMAGE_SIZE", size), ("NUM_CLASSES", classes)):
        if type(value) is not int or value < 1:
            raise UsageError(f"{printable(path)}: {name} is {printable(value)!r}, not a positive whole number")
    preset = preset if size == preset.image_size else preset.scaled(size)
    name = os.path.basename(path)
    if callable(getattr(module, "load", None)):
        return OwnModel(name, preset, module=module)
    return OwnModel(name, preset, OwnNetwork(name, module.logits, classes, size), module)


class _GraphModel:
    """A TensorFlow network in a session; the predictor cuts each batch over the GPUs."""

    def __init__(self, model, checkpoint, gpus):
        self._model, self._checkpoint, self._gpus = model, checkpoint, gpus

    def __enter__(self):
        from webvision.inference.predictor import Predictor
        from webvision.model.forward import choose_arithmetic

        self._predictor = Predictor(
            self._model.network,
            choose_arithmetic(on_gpu=self._gpus > 0),
            self._checkpoint,
            preset=self._model.preset,
            devices=Devices(self._gpus > 0, max(1, self._gpus)),
        )
        self._predictor.__enter__()
        return lambda images: self._predictor(images, ("logits",))[0]

    def __exit__(self, *error):
        self._predictor.__exit__(*error)


class _NumpyModel:
    """A file with load(): its logits get NumPy batches, prepared as the TensorFlow graph would."""

    def __init__(self, module, checkpoint, preset):
        self._module, self._checkpoint, self._preset = module, checkpoint, preset

    def __enter__(self):
        if not os.path.exists(self._checkpoint):
            raise CheckpointError(f"{printable(self._checkpoint)}: no such checkpoint")
        self._module.load(self._checkpoint)
        return lambda images: np.asarray(self._module.logits(self._preset.normalised(images)))

    def __exit__(self, *_):
        close = getattr(self._module, "close", None)
        if callable(close):
            close()
