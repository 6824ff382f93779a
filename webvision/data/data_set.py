"""A data set as the other rooms hold it: its classes, and its splits as lists with pictures."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from webvision.data.archives.store import PictureArchives, open_pictures
from webvision.data.lists import folders
from webvision.data.lists.balance import parse_balance, targets
from webvision.data.lists.index import ListIndex
from webvision.data.lists.order import EpochOrder
from webvision.data.lists.text import encode_name
from webvision.data.pictures.folder import PictureFolder
from webvision.data.pictures.images import ImagePolicy
from webvision.environment import DOOR
from webvision.errors import DataError, printable

_LOOKED_UP = 1 << 13  # rows at a time


@dataclass(frozen=True)
class Split:
    """One list of a set and the pictures that it names."""

    index: ListIndex  # or any table of names: a folder's pictures
    pictures: PictureFolder | PictureArchives

    def order(self, balance: Any = "none", *, seed: int = 0) -> EpochOrder:
        """The EpochOrder in which training walks it; `balance` as in --balance."""
        balance = parse_balance(balance) if isinstance(balance, str) else balance
        return EpochOrder(self.index, targets(self.index.counts, balance), seed=seed)


@dataclass(frozen=True)
class DataSet:
    """A folder in the ILSVRC layout: DIR/{train,val,test}/ with pictures, as files or in *.tar archives, and DIR/meta/
    with synsets.txt and lists.

    >>> data = DataSet.open("DIR")
    >>> data.classes, data.split("train")
    """

    root: str
    meta: str
    classes: tuple
    policy: ImagePolicy

    @classmethod
    def open(
        cls,
        root: str | os.PathLike,
        *,
        meta: str | None = None,
        policy: ImagePolicy | None = None,
        allow_outside: bool = False,
    ) -> "DataSet":
        """The set at `root`; DataError if it has no classes. `policy`: what is accepted as a picture."""
        root = os.fspath(root)
        meta = meta or os.path.join(root, "meta")
        classes = tuple(folders.read_meta_classes(meta))
        return cls(root, meta, classes, policy or ImagePolicy(allow_outside=allow_outside))

    def has(self, split: str) -> bool:
        """Whether there is a list of the split."""
        return os.path.exists(os.path.join(self.meta, f"{split}.txt"))

    def split(self, name: str, *, dir_structure: str | None = None) -> Split:
        """The Split 'train', 'val' or 'test'; DataError if its list or its pictures are not there."""
        index = folders.open_list(
            self.meta, name, classes=self.classes, dir_structure=dir_structure, allow_outside=self.policy.allow_outside
        )
        folder = os.path.join(self.root, name)
        if not os.path.isdir(folder):
            raise DataError(
                f"{printable(folder)}: no such folder; the pictures of '{name}' belong there "
                f"({DOOR} prepare arranges them)"
            )
        sample = folders.sample_paths(index, self.classes)
        pictures = open_pictures(folder, self.policy, beside=self.meta, sample=sample)
        if dir_structure is None and name != "train":
            folders.settle_structure(index, pictures.has, self.classes)
        folders.check_there(index, pictures.has, folder)
        if pictures.in_archives:
            _refuse_lost_rows(index, pictures)
        return Split(index, pictures)


def _refuse_lost_rows(index, pictures):
    """DataError if an archive is cut off, or otherwise broken, and pictures of the list were in it."""
    damaged = [archive.damage for archive in pictures.members.archives if archive.damage]
    if not damaged:
        return
    lost = lost_rows(index, pictures)
    if len(lost):
        shown = ", ".join(str(row + 1) for row in lost[:5].tolist())
        raise DataError(
            f"{damaged[0]}; with it {len(lost):,} of the {len(index):,} pictures of {printable(index.path)} are gone "
            f"(lines {shown}{', ...' if len(lost) > 5 else ''}). Fetch the archive again, or go on with a list without "
            f"them: {DOOR} check --quick --fix writes one"
        )


def lost_rows(index: ListIndex, pictures: PictureFolder | PictureArchives) -> np.ndarray:
    """The rows of a list whose pictures are not there: int64 [n]. A microsecond or two a row of an archive."""
    lost = [np.empty(0, np.int64)]
    for low in range(0, len(index), _LOOKED_UP):
        rows = np.arange(low, min(low + _LOOKED_UP, len(index)))
        lost.append(rows[~pictures.has([encode_name(path) for path in index.paths(rows)])])
    return np.concatenate(lost)
