"""WebVision, and any other set in the ILSVRC layout, as tensorpack dataflows.

DIR/{train,val,test}/ hold the pictures; DIR/meta/synsets.txt names the classes (the line number is the label; 5000 for
WebVision 2.0, but any number), and DIR/meta/{train,val,test}.txt list `name label`, or `name` alone for a test set.
Lists are mapped, not loaded: 16 million rows cost a few megabytes. Nothing is downloaded.
"""

import collections.abc
import os

import numpy as np

from webvision import compat  # noqa: F401  (TensorFlow's environment, before tensorpack imports it)
from webvision.data.data_set import DataSet
from webvision.data.lists import folders
from webvision.data.lists.order import permute
from webvision.data.lists.text import encode_name
from webvision.data.pictures.images import ImageError, read_image
from webvision.environment import DOOR
from webvision.errors import DataError, printable

from tensorpack.dataflow.base import RNGDataFlow
from tensorpack.utils import logger

__all__ = ["Imagenet5kMeta", "Imagenet5kFiles", "Imagenet5k"]

UNLABELLED = -1  # the label of a picture whose list has none, where a number is needed
_CHUNK = 4096  # rows whose names are read at once
_MAX_BAD_IN_A_ROW = 50  # then it is not the pictures that are broken, but the set
_FILL_SHAPE = (256, 256, 3)


class Imagenet5kMeta:
    """What DIR/meta tells: class names and image lists."""

    def __init__(self, dir):
        self.dir = os.path.expanduser(dir)
        self._classes = folders.read_meta_classes(self.dir)

    def get_synset_1000(self):
        """dict {label: synset id}; of all classes, however many (the name is tensorpack's)."""
        return dict(enumerate(self._classes))

    def get_image_list(self, name, dir_structure="original"):
        """The pictures of 'train', 'val' or 'test' as a sequence of (path below the split's folder, label), read as
        needed.

        dir_structure: as for `Imagenet5k`; label: None in a list without labels.
        """
        return ImageList(folders.open_list(self.dir, name, classes=self._classes, dir_structure=dir_structure))


class ImageList(collections.abc.Sequence):
    """The rows of a ListIndex as tuples (path, label), made when they are asked for."""

    def __init__(self, index):
        self._index = index

    def __len__(self):
        return len(self._index)

    def __getitem__(self, row):
        if isinstance(row, slice):
            return self.rows(np.arange(len(self))[row])
        if not -len(self) <= row < len(self):
            raise IndexError(row)
        return self.rows(np.array([row % len(self)]))[0]

    def __iter__(self):
        for low in range(0, len(self), _CHUNK):
            yield from self.rows(np.arange(low, min(low + _CHUNK, len(self))))

    def rows(self, rows):
        """The tuples of an integer array of rows."""
        labels = self._index.labels[rows].tolist() if self._index.labelled else [None] * len(rows)
        return list(zip(self._index.paths(rows), labels, strict=True))


class Imagenet5kFiles(RNGDataFlow):
    """Same as `Imagenet5k`, but yields [full path, label]."""

    def __init__(self, dir, name, meta_dir=None, shuffle=None, dir_structure=None):
        dir = os.path.expanduser(dir)
        self.full_dir = os.path.join(dir, name)
        self.name = name
        self.shuffle = name == "train" if shuffle is None else shuffle
        data = DataSet.open(dir, meta=None if meta_dir is None else os.path.expanduser(meta_dir))
        split = data.split(name, dir_structure=dir_structure)
        self.imglist = ImageList(split.index)
        self._pictures = split.pictures

    def __len__(self):
        return len(self.imglist)

    def __iter__(self):
        if self._pictures.in_archives:
            raise DataError(
                f"{printable(self.full_dir)}: the pictures lie in archives and have no paths; Imagenet5k reads them"
            )
        for path, label in self._rows():
            yield [os.path.join(self.full_dir, path), label]

    def _rows(self):
        """Yield (path below the split's folder, label) of each row in the order of this pass."""
        size = len(self)
        key = int(self.rng.randint(1 << 31)) if self.shuffle else None
        for low in range(0, size, _CHUNK):
            positions = np.arange(low, min(low + _CHUNK, size))
            rows = permute(positions, size, seed=key, epoch=0) if self.shuffle else positions
            for path, label in self.imglist.rows(rows):
                yield path, UNLABELLED if label is None else label


class Imagenet5k(Imagenet5kFiles):
    """Yields [image, label]: uint8 BGR [h, w, 3] as stored (orientation applied), and its class, -1 in a list without
    labels.

    A damaged picture of 'train' is left out and logged; of 'val' and 'test' it is logged and black, so that rows stay
    in step with the list. Fifty damaged ones in a row end it with a DataError.
    """

    def __init__(self, dir, name, meta_dir=None, shuffle=None, dir_structure=None):
        """
        dir: the folder that holds a folder `name` with the pictures. name: 'train', 'val' or 'test'.
        meta_dir: the folder of synsets.txt and the lists; DIR/meta if not given.
        shuffle: another order in each pass; by default for 'train' only.
        dir_structure: 'original' if val/ and test/ are as their lists say (flat, usually), 'train' if they are sorted
        into
            class folders that the lists leave out; found out if not given.
        """
        super().__init__(dir, name, meta_dir, shuffle, dir_structure)

    def __iter__(self):
        bad_in_a_row = 0
        for path, label in self._rows():
            try:
                image = read_image(self._pictures.read(encode_name(path)), self._pictures.policy)
                bad_in_a_row = 0
            except ImageError as error:
                path = os.path.join(self.full_dir, path)
                logger.warning(f"{printable(path)}: {error} [{error.reason}]")
                bad_in_a_row += 1
                if bad_in_a_row == _MAX_BAD_IN_A_ROW:
                    raise DataError(
                        f"{_MAX_BAD_IN_A_ROW} pictures in a row cannot be read, the last one "
                        f"{printable(path)} [{error.reason}]; {DOOR} check --decode tells more"
                    ) from None
                if self.name == "train":
                    continue
                image = np.zeros(_FILL_SHAPE, np.uint8)
            yield [image, label]
