"""Lists for a folder of any size that is split by folders already: DATA/train/<class>/*, DATA/val/<class>/*, no list.

The class order is the order of the class folders' names by code point, as ImageFolder-like readers have it; it is
written into meta/synsets.txt and never derived again. No file is opened: a million pictures take seconds, and check
says afterwards which of them can be read.
"""

import os
import re

from webvision.data.lists.class_names import class_ids, read_class_names, synset_lines
from webvision.data.lists.text import IMAGE_SUFFIX
from webvision.environment import DOOR
from webvision.errors import DataError, UsageError, printable
from webvision.files import atomic_write
from webvision.prep.own_folder.look import look

_PICTURE = re.compile(IMAGE_SUFFIX.decode() + "$", re.IGNORECASE)


def list_folders(data):
    """Write DATA/meta/{synsets,train,val,test}.txt; returns lines for a person."""
    found = look(data)
    if not found.splits:
        raise UsageError(
            f"{printable(data)}: no train folder with class folders in it; for a folder that is not split yet: "
            f"{DOOR} train"
        )
    wrong = [split for split in found.splits if not os.path.isdir(os.path.join(data, split))]
    if wrong:
        raise UsageError(f"{printable(data)}: the folder of {wrong[0]} must be called '{wrong[0]}'; rename it")
    meta = os.path.join(data, "meta")
    os.makedirs(meta, exist_ok=True)
    _keep_order(os.path.join(meta, "synsets.txt"), found.classes)
    lines = [f"{len(found.classes)} classes, ordered by name: {_ends(found.classes)}"]
    for split in found.splits:
        names = [
            (os.path.relpath(picture.path, split), picture.label)
            for picture in found.pictures
            if picture.split == split
        ]
        kept = [(name, label) for name, label in names if _PICTURE.search(name) and not set(name) & set("\t\r\n")]
        with atomic_write(os.path.join(meta, f"{split}.txt")) as file:
            file.writelines(f"{name} {label}\n" for name, label in kept)
        lines.append(
            f"{split}: {len(kept)} pictures"
            + (f", {len(names) - len(kept)} other files passed over" if len(kept) < len(names) else "")
        )
    with atomic_write(os.path.join(meta, "synsets.txt")) as file:
        file.writelines(synset_lines(found.classes))
    lines += [f"passed over: {printable(path)} ({why})" for path, why in found.skipped[:8]]
    return lines


def _keep_order(path, classes):
    """DataError if an earlier synsets.txt gives the classes other numbers: models were trained on those."""
    if not os.path.exists(path):
        return
    before = read_class_names(path)
    if before != classes and before != class_ids(classes):
        raise DataError(
            f"{printable(path)} lists {len(before)} classes ({_ends(before)}), the folders are {len(classes)} "
            f"({_ends(classes)}); numbers of classes would change their meaning: remove the file if no model needs it"
        )


def _ends(classes):
    shown = [printable(name) for name in classes]
    return ", ".join(shown) if len(shown) <= 5 else f"{', '.join(shown[:3])} ... {shown[-1]}"
