"""What training begins with: a network, how pictures are prepared for it, and weights or none."""

import os
from dataclasses import dataclass

from webvision.data.views.presets import PRESETS, Preset
from webvision.errors import CheckpointError, UsageError, printable
from webvision.model.backbones import STYLE, Network, described_network, find_backbone, named_backbone
from webvision.model.card import VARIABLE

DEFAULT = "efficientnet-lite0"
BROUGHT = "pretrained.npz"  # in the run's folder: another maker's weights


@dataclass(frozen=True)
class Start:
    """A network for the classes at hand, and where its weights come from."""

    network: Network
    preset: Preset
    weights: object = None  # model.weights.Weights of the same backbone, whatever its classes; None: from scratch
    words: str = "from scratch: no weights were given, and none are installed for this backbone"

    @property
    def weights_classes(self):
        """How many classes the weights' own last layer has."""
        return self.weights.shapes["linear/b"][0]

    def arrays(self):
        """{variable: array} of the weights without their last layer."""
        names = [name for name in self.weights.shapes if name != VARIABLE and not name.startswith("linear/")]
        return {name: self.weights[name] for name in names}


def known_backbone(backbone):
    """The row of the table that a person's `backbone` means, the default's for None; UsageError if there is none."""
    try:
        return named_backbone(backbone or DEFAULT)
    except ValueError as error:
        raise UsageError(f"--backbone: {printable(error)}") from None


def find_start(backbone, num_classes, *, folder, snapshot=None):
    """The Start for a person's `backbone` and `snapshot`: a run of ours, a checkpoint, or another maker's file.

    Without a snapshot, the weights that are installed for this backbone, else none. UsageError for an unknown backbone,
    CheckpointError for a file that cannot be read or does not fit.
    """
    name = known_backbone(backbone)
    if snapshot is None:
        return _from_package(name, num_classes, folder) or _from_scratch(name, num_classes)
    from webvision.inference.provenance import known_card
    from webvision.inference.snapshot import best_weights
    from webvision.model.foreign.pretrained import open_pretrained
    from webvision.model.weights import open_weights

    path = best_weights(snapshot)
    if os.path.isfile(path) and (found := open_pretrained(path, name)):
        return _from_elsewhere(found, num_classes, folder)
    card = known_card(path)
    if card is None:
        raise CheckpointError(
            f"{printable(path)}: nothing says what network it is of (no card in it, no run.json beside it)"
        )
    style = {name: getattr(card, name) for name in STYLE}
    network = described_network({**card.network, "num_classes": num_classes, **style})
    if backbone and network.backbone != name:
        raise UsageError(f"--backbone {printable(backbone)}: {printable(path)} is of {network.backbone}")
    return Start(network, card.preset, open_weights(path), f"weights of {printable(path)}")


def _from_scratch(name, num_classes):
    row = find_backbone(name)
    network = Network(name, num_classes)
    return Start(network, PRESETS[row.preset].scaled(network.image_size))


def _from_package(name, num_classes, folder):
    from webvision.model.foreign.pretrained import open_pretrained, packaged_weights

    path = packaged_weights(name)
    return path and _from_elsewhere(open_pretrained(path, name), num_classes, folder)


def _from_elsewhere(found, num_classes, folder):
    """Another maker's weights, under our names in the run's `folder` from here on."""
    from webvision.model.weights import open_weights, write_npz

    theirs = found.weights(found.network())
    path = os.path.join(folder, BROUGHT)
    write_npz(path, {name: theirs[name] for name in theirs.shapes})
    return Start(found.network(num_classes), found.preset, open_weights(path), str(found))
