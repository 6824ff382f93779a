"""The probe's stage: features of the frozen network, computed once and kept, and the last layer that they give."""

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass, replace

import numpy as np

from webvision import faults
from webvision.data.loader.batches import EvalBatches
from webvision.data.loader.spec import BatchSpec
from webvision.data.views.augment import Augmentation
from webvision.errors import printable
from webvision.files import read_json, write_json
from webvision.inference.predictor import Predictor
from webvision.model.card import VARIABLE
from webvision.model.weights import write_npz
from webvision.progress import Progress
from webvision.training.small_sets.probe import fit_probe

CROPS = 2  # random views of a training picture, besides its centre and that mirrored
AREA = (0.35, 1.0)  # of a crop: what the thing is must be on it
WEIGHTS, FIGURES = "probe.npz", "probe.json"


@dataclass(frozen=True)
class Probed:
    """What the probe's stage left behind."""

    weights: str  # path of an .npz: the frozen network with the new last layer
    accuracy: float  # on val
    l2: float


def probe(start, sets, folder, *, card, computing, batch, workers, log):
    """The Probed of a Start, in the run's `folder`; nothing is computed again that is there.

    `sets`: {'train': Split, 'val': Split}; `card`: what the new weights mean.
    """
    identity = _identity(start, sets, card)
    try:
        done = read_json(os.path.join(folder, FIGURES))
        if done["identity"] == identity and os.path.exists(os.path.join(folder, WEIGHTS)):
            return Probed(os.path.join(folder, WEIGHTS), done["val_accuracy"], done["l2"])
    except (FileNotFoundError, ValueError, KeyError):
        pass
    features = _features(start, sets, folder, identity, computing=computing, batch=batch, workers=workers)
    labels = {name: np.asarray(split.index.labels, np.int64) for name, split in sets.items()}
    found = fit_probe(features["train"], labels["train"], card.num_classes)
    accuracy = float((found.head.logits(features["val"][:, 0]).argmax(axis=1) == labels["val"]).mean())
    path = os.path.join(folder, WEIGHTS)
    arrays = {**start.arrays(), "linear/W": found.head.weights, "linear/b": found.head.biases}
    write_npz(path, {**arrays, VARIABLE: np.frombuffer(card.to_bytes(), np.uint8)})
    faults.point("own-stage")
    write_json(
        os.path.join(folder, FIGURES),
        {
            "identity": identity,
            "val_accuracy": accuracy,
            "l2": found.l2,
            "fold_accuracies": {f"{l2:g}": share for l2, share in found.fold_accuracies.items()},
        },
    )
    log(f"probe: {100 * accuracy:.1f} % of {len(labels['val'])} val pictures right (l2 {found.l2:g})")
    return Probed(path, accuracy, found.l2)


def _identity(start, sets, card):
    """A hash of all that the probe follows from."""
    facts = {
        "weights": _hash_of(start),
        "card": hashlib.sha256(card.to_bytes()).hexdigest(),
        "lists": {name: split.index.hash for name, split in sets.items()},
        "views": [CROPS, AREA],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _hash_of(start):
    digest = hashlib.sha256()
    for name, array in sorted(start.arrays().items()):
        digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _features(start, sets, folder, identity, **how):
    """{'train': [pictures, 2 + CROPS, d], 'val': [pictures, 1, d]} in float16, kept in the folder."""
    names = {name: os.path.join(folder, "features", f"{name}-{identity[:16]}.npy") for name in sets}
    if not all(map(os.path.exists, names.values())):
        os.makedirs(os.path.join(folder, "features"), exist_ok=True)
        for name, features in _compute(start, sets, **how):
            temporary = f"{names[name]}.{os.getpid()}.npy"
            np.save(temporary, features)
            os.replace(temporary, names[name])
            faults.point("own-stage")
    return {name: np.load(path) for name, path in names.items()}


def _compute(start, sets, *, computing, batch, workers):
    network = replace(start.network, num_classes=start.weights_classes)
    weights, devices = start.weights.path, computing.devices
    with Predictor(network, computing.arithmetic, weights, preset=start.preset, devices=devices) as predictor:
        for name, split in sets.items():
            rows = np.arange(len(split.index))
            mirrored = replace(start.preset, flip=name == "train")
            parts = [_one_pass(predictor, split, mirrored, rows, name=name, batch=batch, workers=workers)]
            if name == "train":
                crops = Augmentation(start.preset.image_size, area=AREA, colours=False)
                repeated = np.repeat(rows, CROPS)
                parts.append(_one_pass(predictor, split, crops, repeated, name=name, batch=batch, workers=workers))
            yield name, np.concatenate([part.reshape(len(rows), -1, part.shape[-1]) for part in parts], axis=1)


def _one_pass(predictor, split, view, rows, *, name, batch, workers):
    """float16 [rows * views, d]: the features of each view of each row."""
    size = max(1, batch // view.views)
    loader = EvalBatches(split, BatchSpec(view, size), workers=workers, rows=rows)
    found = []
    with contextlib.closing(loader), Progress(f"features of {printable(name)}", len(rows), "pictures") as progress:
        for shown in loader:
            (features,) = predictor(shown.images, ("features",))
            found.append(features.astype(np.float16))
            progress.update(min(len(rows), len(found) * size))
    return np.concatenate(found)
