"""A data set's folder: DATA/{train,val,test}/ with pictures, DATA/meta/ with `synsets.txt` and a list per split."""

import os

from webvision.data.lists.index import open_index
from webvision.data.lists.text import encode_name, read_classes
from webvision.environment import DOOR
from webvision.errors import DataError, UsageError, printable

SPLITS = ("train", "val", "test")
STRUCTURES = ("original", "train")
_SAMPLE = 10  # rows whose files are looked for when a split is opened


def read_meta_classes(meta_dir):
    """The class names in `meta_dir`/synsets.txt, in class order."""
    return read_classes(os.path.join(meta_dir, "synsets.txt"))


def open_list(meta_dir, split, *, classes, dir_structure=None, allow_outside=False):
    """The ListIndex of `meta_dir`/<split>.txt.

    dir_structure 'original' (or None): the list's names are paths. 'train': a val or test list's names lie in their
    class's folder, as ILSVRC's val set does after the usual sorting script.
    allow_outside: names may be absolute or hold '..'.
    """
    if split not in SPLITS:
        raise UsageError(f"split '{printable(split)}' is none of {', '.join(SPLITS)}")
    if dir_structure not in (None, *STRUCTURES):
        raise UsageError(f"dir_structure '{printable(dir_structure)}' is none of {', '.join(STRUCTURES)}")
    index = open_index(os.path.join(meta_dir, f"{split}.txt"), len(classes), allow_outside=allow_outside)
    if dir_structure == "train" and split != "train" and index.labelled:
        index.class_folders = classes  # a train list's names hold their class folder in either structure
    return index


def sample_paths(index, classes):
    """Where pictures of some rows may lie below the split's folder (bytes): as listed, or in their class's folder."""
    index.class_folders, kept = None, index.class_folders
    paths = _sample(index)
    if index.labelled:
        index.class_folders = classes
        paths += _sample(index)
    index.class_folders = kept
    return paths


def settle_structure(index, has, classes):
    """Find out the directory structure of a val or test set, as more of the pictures are found, and set
    `index.class_folders`. `has`: a function of names (bytes), which of them are there."""
    if not index.labelled:
        return
    index.class_folders = None
    as_listed = has(_sample(index)).sum()
    index.class_folders = classes
    if has(_sample(index)).sum() <= as_listed:
        index.class_folders = None


def check_there(index, has, split_dir):
    """DataError if none of the rows tried has its picture in `split_dir`: another set's list, or folder."""
    if not has(_sample(index)).any():
        raise DataError(
            f"{printable(index.path)}: {printable(index.paths([0])[0])} is not in {printable(split_dir)}, nor is any "
            f"of {_SAMPLE} rows tried; is it the list of another folder? ({DOOR} check tells more)"
        )


def _sample(index):
    """The paths (bytes) of some rows, spread over the list."""
    rows = sorted({len(index) * i // _SAMPLE for i in range(_SAMPLE)})
    return [encode_name(path) for path in index.paths(rows)]
