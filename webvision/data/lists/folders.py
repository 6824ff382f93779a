"""A data set's folder: DATA/{train,val,test}/ with pictures, DATA/meta/ with `synsets.txt` and a list per split."""

import os

from webvision.data.lists.index import open_index
from webvision.data.lists.text import read_classes
from webvision.errors import DataError, UsageError, printable

SPLITS = ("train", "val", "test")
STRUCTURES = ("original", "train")
_SAMPLE = 10  # rows whose files are looked for when a split is opened


def read_meta_classes(meta_dir):
    """The class names in `meta_dir`/synsets.txt, in class order."""
    return read_classes(os.path.join(meta_dir, "synsets.txt"))


def open_list(meta_dir, split, *, classes, dir_structure=None, allow_outside=False):
    """The ListIndex of `meta_dir`/<split>.txt; dir_structure as for `open_split`, but None is 'original'."""
    if split not in SPLITS:
        raise UsageError(f"split '{printable(split)}' is none of {', '.join(SPLITS)}")
    if dir_structure not in (None, *STRUCTURES):
        raise UsageError(f"dir_structure '{printable(dir_structure)}' is none of {', '.join(STRUCTURES)}")
    index = open_index(os.path.join(meta_dir, f"{split}.txt"), len(classes), allow_outside=allow_outside)
    if dir_structure == "train" and split != "train" and index.labelled:
        index.class_folders = classes  # a train list's names hold their class folder in either structure
    return index


def open_split(data_dir, split, *, classes, meta_dir=None, dir_structure=None, allow_outside=False):
    """The ListIndex of one split of `data_dir`, whose `paths` lie in DATA/<split>/.

    dir_structure 'original': the list's names are paths. 'train': a val or test list's names lie in their class's
    folder, as ILSVRC's val set does after the usual sorting script. None: as more of the files are found.
    allow_outside: names may be absolute or hold '..'.
    """
    meta_dir = meta_dir or os.path.join(data_dir, "meta")
    index = open_list(meta_dir, split, classes=classes, dir_structure=dir_structure, allow_outside=allow_outside)
    split_dir = os.path.join(data_dir, split)
    if not os.path.isdir(split_dir):
        raise DataError(
            f"{printable(split_dir)}: no such folder; the pictures of '{split}' belong there "
            "(utils/preprocess.py arranges them)"
        )
    if dir_structure is None and split != "train":
        settle_structure(index, split_dir, classes)
    if not _sampled(index, split_dir):
        raise DataError(
            f"{printable(index.path)}: {printable(index.paths([0])[0])} is not in {printable(split_dir)}, nor is any "
            f"of {_SAMPLE} rows tried; is it the list of another folder? (utils/check.py tells more)"
        )
    return index


def settle_structure(index, split_dir, classes):
    """Find out the directory structure of a val or test set, as more of the files are found, and set
    `index.class_folders`."""
    if not index.labelled:
        return
    index.class_folders = None
    as_listed = _sampled(index, split_dir)
    index.class_folders = classes
    if _sampled(index, split_dir) <= as_listed:
        index.class_folders = None


def _sampled(index, split_dir):
    """How many of some rows, spread over the list, have a file where the index says it lies."""
    rows = sorted({len(index) * i // _SAMPLE for i in range(_SAMPLE)})
    return sum(os.path.lexists(os.path.join(split_dir, path)) for path in index.paths(rows))
