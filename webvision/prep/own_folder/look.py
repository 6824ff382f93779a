"""What is in somebody's own folder: its classes, its splits, its pictures, and what is passed over and why.

    FOLDER/<class>/...                      no split
    FOLDER/{train,val,test}/<class>/...     split already; val may be called valid or validation, test testing

Everything that lies below a class's folder, however deep, belongs to that class. A class is its folder's NAME, never
its place among the others: a val without one of the classes shifts no label. Links to files are passed over where they
lead out of the folder, links to folders below a class always; a class's own folder may be one.
"""

import os
import stat
import unicodedata
from dataclasses import dataclass, field

from webvision.errors import DataError, UsageError, printable

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
# What systems and programs leave in folders; what begins with a dot is passed over too (.ipynb_checkpoints, .DS_Store).
SYSTEM_NAMES = {
    "__macosx",
    "thumbs.db",
    "desktop.ini",
    "ehthumbs.db",
    "$recycle.bin",
    "system volume information",
    "lost+found",
    "@eadir",
    "__pycache__",
}


@dataclass(frozen=True)
class Picture:
    """One file that may be a picture."""

    path: str  # below the folder
    label: int
    split: str | None  # None: the folder has no splits


@dataclass
class Found:
    """What is in a folder."""

    folder: str
    classes: list = field(default_factory=list)  # names, in the order that gives them their numbers
    pictures: list = field(default_factory=list)
    skipped: list = field(default_factory=list)  # (path, why)

    @property
    def splits(self):
        """The splits that the folder itself has."""
        return sorted({picture.split for picture in self.pictures} - {None})


def look(folder):
    """The Found of `folder`; UsageError or DataError if it is no folder of class folders, or its names are at odds."""
    if not os.path.isdir(folder):
        what = "a file, where a folder is needed" if os.path.exists(folder) else "no such folder"
        raise UsageError(f"{printable(folder)}: {what}; it should hold a folder of pictures for each class")
    found = Found(os.path.abspath(folder))
    tops = _splits_of(found)
    by_split = {split: _class_folders(found, name) for split, name in tops.items()}
    first = "train" if "train" in by_split else None
    found.classes = sorted(by_split[first], key=os.fsencode)  # as every other tool sorts: by code point
    _refuse_unknown_classes(found, by_split, tops)
    _refuse_alike(found.classes, folder)
    found.skipped = list(dict.fromkeys(found.skipped))  # the top is listed for splits, then for classes
    numbers = {name: i for i, name in enumerate(found.classes)}
    for split, classes in by_split.items():
        for name, paths in classes.items():
            found.pictures += [Picture(path, numbers[name], split) for path in paths]
    if len(found.classes) < 2:
        raise DataError(_too_few_classes(found))
    return found


def _splits_of(found):
    """{split: its folder's name}, or {None: ''} for a folder without splits."""
    names = _listing(found, "")
    folders = [name for name in names if _is_folder(found, name)]
    splits = [name for name in folders if name.lower() in SPLIT_NAMES and _holds_folders(found, name)]
    others = [name for name in folders if name not in splits and not _is_meta(found, name)]
    if not splits:
        _pass_over(found, [name for name in names if name not in folders], "lies in no class folder")
        return {None: ""}
    where = printable(found.folder)
    if others:
        raise UsageError(
            f"{where}: {_these(splits)} beside {_these(others)}: is '{printable(splits[0])}' a part of the set or a "
            "class? Put all class folders below train (and val), or rename it"
        )
    tops = {}
    for name in splits:
        split = SPLIT_NAMES[name.lower()]
        if split in tops:
            raise UsageError(f"{where}: {_these([tops[split], name])} both mean {split}; join or rename them")
        tops[split] = name
    if "train" not in tops:
        raise UsageError(
            f"{where}: {_these(splits)}, but no train; nothing is trained on pictures that are to judge it"
        )
    _pass_over(found, [name for name in names if name not in folders], "lies in no class folder")
    return {split: tops[split] for split in ("train", "val", "test") if split in tops}


def _these(names):
    return " and ".join(f"'{printable(name)}'" for name in names[:3]) + (" ..." if len(names) > 3 else "")


def _class_folders(found, top):
    """{class: paths of its files} of one split's folder."""
    classes = {}
    for name in _listing(found, top):
        path = os.path.join(top, name)
        if not _is_folder(found, path):
            if top:
                _pass_over(found, [path], "lies in no class folder")
            continue
        files = _files_below(found, path)
        if files:
            classes[name] = files
        else:
            found.skipped.append((path, "an empty folder"))
    return classes


def _files_below(found, top):
    """Paths of the regular files below a class's folder, sorted."""
    files, folders = [], [top]
    while folders:
        folder = folders.pop()
        for name in _listing(found, folder):
            path = os.path.join(folder, name)
            full = os.path.join(found.folder, path)
            if os.path.islink(full) and (os.path.isdir(full) or not _leads_inside(found, full)):
                found.skipped.append((path, "a link"))
            elif os.path.isdir(full):
                folders.append(path)
            elif stat.S_ISREG(os.stat(full).st_mode):
                files.append(path)
            else:
                found.skipped.append((path, "not a regular file"))
    return sorted(files, key=os.fsencode)


def _leads_inside(found, full):
    return os.path.exists(full) and os.path.realpath(full).startswith(os.path.realpath(found.folder) + os.sep)


def _listing(found, folder):
    """Names in a folder, sorted, without hidden and system ones."""
    kept = []
    for name in sorted(os.listdir(os.path.join(found.folder, folder)), key=os.fsencode):
        if name.startswith("."):
            found.skipped.append((os.path.join(folder, name), "hidden"))
        elif name.lower() in SYSTEM_NAMES:
            found.skipped.append((os.path.join(folder, name), "a system's own"))
        else:
            kept.append(name)
    return kept


def _is_folder(found, path):
    return os.path.isdir(os.path.join(found.folder, path))


def _holds_folders(found, name):
    """Whether there is a folder in this folder: `train/dog` makes train a split, `train/1.jpg` a class of vehicles."""
    with os.scandir(os.path.join(found.folder, name)) as entries:
        return any(entry.is_dir() and not entry.name.startswith(".") for entry in entries)


def _is_meta(found, name):
    """Whether this is the folder of lists that `prepare --folders` writes."""
    return name == "meta" and os.path.exists(os.path.join(found.folder, name, "synsets.txt"))


def _pass_over(found, paths, why):
    known = {path for path, _ in found.skipped}
    found.skipped += [(path, why) for path in paths if path not in known]


def _refuse_unknown_classes(found, by_split, tops):
    for split, classes in by_split.items():
        if unknown := sorted(set(classes) - set(found.classes)):
            where = printable(os.path.join(found.folder, tops[split]))
            raise DataError(
                f"{where}: {_these(unknown)} {'is' if len(unknown) == 1 else 'are'} no class of train ("
                f"{', '.join(map(printable, found.classes[:8]))}); a picture of a class that was "
                "never trained can only be wrong: rename or remove the folder"
            )


def _refuse_alike(classes, folder):
    """Names that differ by case or by the way an accent is written only: on other systems they are one folder."""
    seen = {}
    for name in classes:
        key = unicodedata.normalize("NFC", name).casefold()
        if key in seen:
            raise DataError(
                f"{printable(folder)}: the classes '{printable(seen[key])}' and '{printable(name)}' differ only in "
                "case or accents' form; on other systems they are one folder: join or rename them"
            )
        seen[key] = name


def _too_few_classes(found):
    there = f"only the class '{printable(found.classes[0])}'" if found.classes else "no class folder with a picture"
    return (
        f"{printable(found.folder)}: {there} in it; it should hold two or more folders, each with the pictures of one "
        "class, as ants/1.jpg, bees/1.jpg"
    )
