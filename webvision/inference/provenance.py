"""What the run that wrote a checkpoint says about it: run.json beside it, where there is one."""

import os
from dataclasses import dataclass

from webvision.data.lists.text import classes_hash
from webvision.errors import CheckpointError, printable
from webvision.files import read_json


@dataclass(frozen=True)
class KnownRun:
    """What is known of a checkpoint's making; the defaults hold for released files without a run folder."""

    image_size: int = 224
    train_counts: list | None = None


def known_run(checkpoint, *, classes=None):
    """The KnownRun of a checkpoint path; CheckpointError if it was trained on other `classes` or in another order.

    Two class lists of equal length fit the same network, and every prediction would be wrong without any error. Without
    `classes` nothing is compared: for who has no list of them.
    """
    folder = checkpoint if os.path.isdir(checkpoint) else os.path.dirname(checkpoint)
    try:
        run = read_json(os.path.join(folder, "run.json"))
        size, trained_on = int(run["network"]["image_size"]), list(run["classes"])
    except FileNotFoundError:
        return KnownRun()
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{printable(folder)}/run.json is damaged ({error}); repair or remove it") from None
    if classes is not None and trained_on != list(classes):
        row = next(
            (i for i, (a, b) in enumerate(zip(trained_on, classes)) if a != b), min(len(trained_on), len(classes))
        )
        raise CheckpointError(
            f"{printable(checkpoint)} was trained on {len(trained_on)} classes, meta/synsets.txt has {len(classes)}, "
            "and they "
            f"differ from line {row + 1} on: every label would mean something else. Is --data another data set?"
        )
    return KnownRun(size, run.get("class_counts"))


def classes_in_header(classes, run):
    """The `classes` entry of a prediction file's header."""
    entry = {"count": len(classes), "sha256": classes_hash(classes), "names": list(classes)}
    if run.train_counts:
        entry["train_counts"] = run.train_counts
    return entry
