"""What is known of a checkpoint: the card in it, or run.json beside it for those of before the card, or nothing."""

import os

from webvision.data.lists.text import classes_hash
from webvision.data.views.presets import PRESETS
from webvision.errors import CheckpointError, printable
from webvision.files import read_json
from webvision.model.card import Card, parse_card, read_card
from webvision.model.weights import open_weights

DEFAULT_SIZE = 224  # of the released checkpoints, which say nothing


def known_card(checkpoint, *, classes=None):
    """The Card of a checkpoint path, or None; CheckpointError if it was trained on other `classes` or in another order.

    Two class lists of equal length fit the same network, and every prediction would be wrong without any error. Without
    `classes` nothing is compared: for who has no list of them.
    """
    card = read_card(open_weights(checkpoint)) or _from_run_folder(checkpoint)
    if card and card.classes and classes is not None and list(card.classes) != list(classes):
        row = next((i for i, (a, b) in enumerate(zip(card.classes, classes)) if a != b), None)
        row = min(len(card.classes), len(classes)) if row is None else row
        raise CheckpointError(
            f"{printable(checkpoint)} was trained on {len(card.classes)} classes, meta/synsets.txt has {len(classes)}, "
            "and they "
            f"differ from line {row + 1} on: every label would mean something else. Is --data another data set?"
        )
    return card


def _from_run_folder(checkpoint):
    folder = checkpoint if os.path.isdir(checkpoint) else os.path.dirname(checkpoint)
    try:
        run = read_json(os.path.join(folder, "run.json"))
        network = {"num_classes": len(run["classes"]), **run["network"]}
        counts = run.get("class_counts")
        card = Card(
            network=network,
            preset=PRESETS["webvision"].scaled(network["image_size"]),
            classes=run["classes"],
            train_counts=counts or None,
        )
        return parse_card(card.to_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise CheckpointError(f"{printable(folder)}/run.json is damaged ({error}); repair or remove it") from None


def settle_size(checkpoint, card, *, asked=None, remark, otherwise):
    """The image size to evaluate a checkpoint at, which is said through `remark`, with `otherwise` to choose another.

    It is the one `asked` for, else its card's, else that of the released checkpoints.
    """
    size = asked or (card.image_size if card else DEFAULT_SIZE)
    name = printable(checkpoint)
    if card is None:
        remark(
            f"{name}: nothing says how it was trained (no card in it, no run.json beside it); its pictures are "
            f"prepared as 'webvision' does, in {size} px" + ("" if asked else f", unless {otherwise} says otherwise")
        )
    elif size == card.image_size:
        remark(f"{name}: pictures of {size} px, as it was trained")
    else:
        remark(f"{name}: pictures of {size} px, though it was trained on {card.image_size} px")
    return size


def classes_in_header(classes, card):
    """The `classes` entry of a prediction file's header."""
    entry = {"count": len(classes), "sha256": classes_hash(classes), "names": list(classes)}
    if card and card.train_counts:
        entry["train_counts"] = list(card.train_counts)
    return entry
