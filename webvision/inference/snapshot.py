"""A trained model as it lies on disk: a run's folder, a checkpoint, an .npz, an ONNX file; and what its answers mean.

Of a run's folder the best weights are taken: those that `chosen.json` names, else the checkpoint with the lowest
validation error, else the newest.
"""

import contextlib
import dataclasses
import os
from dataclasses import dataclass

from webvision.data.views.presets import Preset
from webvision.devices import Devices
from webvision.environment import DOOR
from webvision.errors import CheckpointError, UsageError, printable
from webvision.files import read_json

CHOSEN = "chosen.json"  # {"weights": name of a file or a checkpoint in the folder, ...}


@dataclass(frozen=True)
class Snapshot:
    """A model and what it means; nothing is loaded yet."""

    weights: str  # path of the checkpoint or the ONNX file
    names: list  # of classes, as people write them
    preset: Preset  # how pictures are prepared for it
    network: object = None  # model.backbones.Network; None for an ONNX file

    @contextlib.contextmanager
    def open(self, devices=Devices()):
        """A function from a uint8 BGR batch to probabilities [pictures, classes]."""
        if self.network is None:
            from webvision.inference.onnx_model import OnnxModel

            yield OnnxModel(self.weights, self.preset).probabilities
            return
        from webvision.inference.predictor import Predictor
        from webvision.model.forward import choose_arithmetic

        arithmetic = choose_arithmetic(on_gpu=devices.on_gpu)
        with Predictor(self.network, arithmetic, self.weights, preset=self.preset, devices=devices) as predictor:
            yield lambda images: predictor(images, ("probabilities",))[0]


def open_snapshot(path, *, backbone=None, names=None, names_otherwise=None):
    """The Snapshot at `path`; UsageError if `backbone` or class `names` are given and it has others.

    `names_otherwise`: for one that does not say what its classes are called.
    """
    if path.lower().endswith(".onnx"):
        from webvision.inference.onnx_model import read_metadata

        found = read_metadata(path)
        snapshot = Snapshot(path, found.names, found.preset)
    else:
        snapshot = _from_checkpoint(best_weights(path), backbone)
    if snapshot.names is None:
        if names is None and names_otherwise is None:
            raise UsageError(
                f"{printable(path)}: it does not say what its classes are called; give --class_id_path FILE"
            )
        return dataclasses.replace(snapshot, names=names or names_otherwise)
    if names is not None and list(names) != list(snapshot.names):
        raise UsageError(
            f"{printable(path)} was trained on {len(snapshot.names)} classes ({_some(snapshot.names)}), the class map "
            f"given has {len(names)} ({_some(names)}); leave it out, and the model's own is used"
        )
    return snapshot


def _some(names):
    return ", ".join(map(printable, names[:3])) + (", ..." if len(names) > 3 else "")


def _from_checkpoint(weights, backbone):
    from webvision.inference.provenance import known_card
    from webvision.model.backbones import STYLE, described_network

    card = known_card(weights)
    if card is None:
        raise CheckpointError(
            f"{printable(weights)}: nothing says what network it is of (no card in it, no run.json beside it)"
        )
    network = described_network({**card.network, **{name: getattr(card, name) for name in STYLE}})
    if backbone and backbone.lower().replace("-", "") != network.name.lower().replace("-", ""):
        raise UsageError(
            f"--backbone {printable(backbone)}: {printable(weights)} is of {network.name}; leave --backbone out, or "
            "name another --snapshot"
        )
    names = [word or name for name, word in zip(card.classes, card.words or card.classes)] if card.classes else None
    return Snapshot(weights, names, card.preset, network)


def best_weights(path):
    """The path of the weights that a run's folder is known for; `path` itself if it is no folder."""
    if not os.path.exists(path) and not os.path.exists(f"{path}.index"):
        raise UsageError(
            f"{printable(path)}: no such snapshot; `{DOOR} train FOLDER` writes them into snapshots/<date>"
        )
    if not os.path.isdir(path):
        return path
    for file, name in ((CHOSEN, lambda found: found["weights"]), ("best.json", lambda found: f"model-{found['step']}")):
        try:
            return os.path.join(path, os.path.basename(name(read_json(os.path.join(path, file)))))
        except FileNotFoundError:
            continue
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{printable(os.path.join(path, file))}: damaged ({error}); name a checkpoint"
            ) from None
    return path  # the newest, as weights.open_weights finds it
