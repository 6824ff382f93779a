"""The image list that predictions were made from: found again by its hash, so that names can be checked against it."""
import os
from typing import NamedTuple

from webvision.data.lists import read_list
from webvision.errors import DataError, printable
from webvision.files import file_sha256


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
        raise DataError(f"{printable(predictions.path)}: was made from a list with the SHA-256 {str(recorded['sha256'])[:12]}..., "
                        f"but {path} has {sha256[:12]}...: another list, or edited since; run --eval again, or name the right "
                        "one with --list")
    return EvaluatedList(path, [entry.name for entry in read_list(path, None, allow_outside=True)])
