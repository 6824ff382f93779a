"""From a prediction file to a submission: read, check against its list, write."""

import os
from typing import NamedTuple

from webvision.challenges.codalab.submission import name_faults, write_submission
from webvision.data.lists.text import read_list
from webvision.errors import DataError, UsageError, printable
from webvision.files import file_sha256
from webvision.scoring.predictions.file import list_faults, open_predictions
from webvision.scoring.predictions.upstream_lists import is_upstream_list, read_top_list


def convert(path, out, *, list_path=None, num_classes=None):
    """Write the submission `out` from the predictions `path`; returns (Receipt, remarks for the person).

    All faults of the rows, and of their names against the list, are raised together as one DataError, and nothing is
    written.
    """
    remarks = []
    if is_upstream_list(path):
        if list_path is None:
            raise UsageError(f"{path} is a list of ids without names; say with --list which image list it belongs to")
        names = [entry.name for entry in read_list(list_path, None, allow_outside=True)]
        arrays = read_top_list(path, num_classes=num_classes, names=names)
    else:
        predictions = open_predictions(path)
        arrays, faults = predictions.scan()
        num_classes = predictions.num_classes or num_classes
        source = find_list(predictions, list_path)
        if source is not None:
            faults += name_faults(arrays.names, source.names, source.path) if not faults else []
        else:
            remarks.append(
                "the list of these images is not here, so their names were checked only against the hash in the "
                "file; --list FILE checks them"
            )
        if faults:
            raise DataError("\n".join([*list_faults(path, faults), f"{out} was not written"]))
    receipt = write_submission(out, arrays, num_classes=num_classes)
    return receipt, remarks + _remarks(arrays)


def _remarks(arrays):
    remarks = []
    if blank := next((name for name in arrays.names if " " in name), None):
        remarks.append(
            f"the name '{printable(blank)}' holds a blank; the challenge's own reader cuts names there "
            "(its pictures have none)"
        )
    if unreadable := sum(problem is not None for problem in arrays.problems):
        remarks.append(
            f"{unreadable} of {len(arrays.names)} pictures could not be read; the format wants ids, so their lines "
            "hold the fall-back's"
        )
    return remarks


class EvaluatedList(NamedTuple):
    path: str
    names: list[str]


def find_list(predictions, given=None):
    """The list of `predictions` (an opened file), or None when its header's path is not on this machine.

    `given` is a path that takes the place of the header's. A list whose hash is not the header's is refused: these
    predictions belong to another list, or the list was edited since.
    """
    recorded = predictions.header.get("list", {})
    path = given or recorded.get("path")
    if not path or (given is None and not os.path.isfile(path)):
        return None
    if not os.path.isfile(path):
        raise DataError(f"{path}: no such list")
    sha256 = file_sha256(path)
    if recorded.get("sha256") not in (None, sha256):
        raise DataError(
            f"{printable(predictions.path)}: was made from a list with the SHA-256 {str(recorded['sha256'])[:12]}..., "
            f"but {path} has {sha256[:12]}...: another list, or edited since; run --eval again, or name the right "
            "one with --list"
        )
    return EvaluatedList(path, [entry.name for entry in read_list(path, None, allow_outside=True)])
