"""A data set as the other rooms hold it: its classes, and its splits as lists with pictures."""

import os
from dataclasses import dataclass

from webvision.data.lists import folders
from webvision.data.lists.balance import parse_balance, targets
from webvision.data.lists.index import ListIndex
from webvision.data.lists.order import EpochOrder
from webvision.data.pictures.folder import PictureFolder
from webvision.data.pictures.images import ImagePolicy


@dataclass(frozen=True)
class Split:
    """One list of a set and the pictures that it names."""

    index: ListIndex  # or any table of names: a folder's pictures
    pictures: PictureFolder

    def order(self, balance="none", *, seed=0):
        """The EpochOrder in which training walks it; `balance` as in --balance."""
        balance = parse_balance(balance) if isinstance(balance, str) else balance
        return EpochOrder(self.index, targets(self.index.counts, balance), seed=seed)


@dataclass(frozen=True)
class DataSet:
    """A folder in the ILSVRC layout: DIR/{train,val,test}/ with pictures, DIR/meta/ with synsets.txt and lists.

    >>> data = DataSet.open("DIR")
    >>> data.classes, data.split("train")
    """

    root: str
    meta: str
    classes: tuple
    policy: ImagePolicy

    @classmethod
    def open(cls, root, *, meta=None, policy=None, allow_outside=False):
        """The set at `root`; DataError if it has no classes. `policy`: what is accepted as a picture."""
        meta = meta or os.path.join(root, "meta")
        classes = tuple(folders.read_meta_classes(meta))
        return cls(root, meta, classes, policy or ImagePolicy(allow_outside=allow_outside))

    def has(self, split):
        """Whether there is a list of the split."""
        return os.path.exists(os.path.join(self.meta, f"{split}.txt"))

    def split(self, name, *, dir_structure=None):
        """The Split 'train', 'val' or 'test'; DataError if its list or its pictures are not there."""
        index = folders.open_split(
            self.root,
            name,
            classes=self.classes,
            meta_dir=self.meta,
            dir_structure=dir_structure,
            allow_outside=self.policy.allow_outside,
        )
        return Split(index, PictureFolder(os.path.join(self.root, name), self.policy))
