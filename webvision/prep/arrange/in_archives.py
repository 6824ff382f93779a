"""WebVision as it was downloaded, arranged without unpacking: the archives go to their splits, the lists name members.

The rules are arrange.py's: the first row of a picture counts, missing training rows are left out, evaluation rows stay.
Only names differ: a picture is called what its member is called, `google/q00001/a.jpg`, for nothing is renamed.
"""

import fnmatch
import os

import numpy as np

from webvision.data.archives.building import archive_names, open_members
from webvision.errors import DataError, ResourceError, UsageError, printable
from webvision.files import directory_lock, remove_leftovers, write_json
from webvision.prep.arrange import arrange, census, placing
from webvision.prep.arrange.rawlist import read_synsets

# Which archives hold which split: WebVision 2.0's and 1.0's names.
PATTERNS = {"train": ("*train*.tar", "google*.tar", "flickr*.tar"), "val": ("val*.tar",), "test": ("test*.tar",)}
_LOOKED_UP = 1 << 14  # rows at a time
_SAMPLE = 50


class ArchivedPart(census.Part):
    """One split of the set, whose pictures are members of `members` called `prefix` + what the list calls them."""

    def __init__(self, rows, places, members, *, classes=None):
        super().__init__(rows, places, classes=classes)
        self._members = members
        self._prefix = self._find_prefix()

    def final_name(self, row):
        """The name of the member, and in the new list: bytes."""
        return self._prefix + self.rows.name(row)

    def _separate_clashes(self):
        """Members keep the folders they have, so that no two are called the same."""

    def _find_prefix(self):
        """The folder inside the archives that the list leaves out, as the archives of val and test have one."""
        names = [self.rows.name(row) for row in np.linspace(0, len(self.rows) - 1, _SAMPLE).astype(int).tolist()]
        split = self.places.split
        prefixes = [b"", *(os.fsencode(name.format(split=split)) + b"/" for name in arrange.EVAL_FOLDERS)]
        hits = [self._members.find([prefix + name for name in names])[0].sum() for prefix in prefixes]
        return prefixes[int(np.argmax(hits))]

    def take_stock(self, progress):
        """Look every row up in the archives' index: fills state, and how many members no row names."""
        kept, found_all = self.kept_rows(), 0
        for low in range(0, len(kept), _LOOKED_UP):
            rows = kept[low : low + _LOOKED_UP]
            found, records = self._members.find([self.final_name(row) for row in rows.tolist()])
            self.state[rows[found]] = census.AT_TARGET
            self.state[rows[found & (records["size"] == 0)]] |= census.EMPTY
            found_all += int(found.sum())
            progress(len(rows))
        self.extra.count = len(self._members) - found_all


def arrange_archives(raw, data, *, method="move", train_list=None, max_missing=arrange.MAX_MISSING, remark=print):
    """Arrange the archives of the set in `raw` into `data` (may be the same folder); returns the report, also in
    meta/arrange.json."""
    if not os.path.isdir(raw):
        raise UsageError(f"{raw}: no such folder; --raw names the folder that holds info/ and the archives")
    classes = read_synsets(os.path.join(raw, "info", "synsets.txt"))
    arrange.make_writable(data)
    with directory_lock(data, "preparation"):
        remove_leftovers(os.path.join(data, "meta"))
        for split in PATTERNS:
            _place_archives(raw, data, split, method)
        rows = arrange.read_train_list(raw, classes, train_list=train_list)
        parts = [_part(raw, data, classes, rows, split="train", remark=remark)]
        for split in ("val", "test"):
            there = bool(archive_names(os.path.join(data, split)))
            rows = arrange.read_eval_list(raw, classes, split=split, there=there, remark=remark)
            parts += [_part(raw, data, classes, rows, split=split, remark=remark)] if rows else []
        arrange.take_stock(parts)
        report = arrange.report_of(parts, classes)
        report["in_archives"] = True
        try:
            arrange.stop_if_much_is_missing(parts, max_missing)
            arrange.write_lists(os.path.join(data, "meta"), parts, classes)
            report["complete"] = True
        finally:
            write_json(os.path.join(data, "meta", arrange.REPORT), report)
    return report


def _place_archives(raw, data, split, method):
    """The archives of a split go into its folder; what a killed run has put there stays."""
    target, scratch = os.path.join(data, split), os.path.join(data, arrange.SCRATCH)
    found = [
        os.path.join(folder, name)
        for folder in (raw, os.path.join(raw, "archives"))
        for name in archive_names(folder)
        if split_of(name) == split
    ]
    if not found:
        return
    for folder in (target, scratch):
        os.makedirs(folder, exist_ok=True)
    placer = placing.Placer(method, scratch)
    for path in found:
        try:
            placer.place(os.fsencode(path), os.fsencode(os.path.join(target, os.path.basename(path))))
        except placing.Occupied:
            raise DataError(
                f"{printable(os.path.join(target, os.path.basename(path)))}: another archive of that name is there "
                "already; neither was touched. Another set's? Choose another --data"
            ) from None
        except OSError as error:
            if error.errno not in arrange.NOT_HERE:
                raise
            raise ResourceError(
                f"{error}; archives that can't be {arrange.PAST[method]} can be arranged with --copy, into another "
                "--data if need be"
            ) from None
    for name in os.listdir(scratch):
        os.unlink(os.path.join(scratch, name))
    os.rmdir(scratch)
    placing.sync_file_system(data)


def split_of(name):
    """The split whose pictures an archive of that name holds, by the names that WebVision's have; or None."""
    return next(
        (
            split
            for split in ("val", "test", "train")
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in PATTERNS[split])
        ),
        None,
    )


def _part(raw, data, classes, rows, *, split, remark):
    folder = os.path.join(data, split)
    if not archive_names(folder):
        raise DataError(
            f"{printable(folder)}: no archive of the {split} pictures, nor in {printable(raw)}; they are called "
            f"{', '.join(PATTERNS[split])}"
        )
    members = open_members(folder, beside=os.path.join(data, "meta"))
    for archive in members.archives:
        if archive.damage:
            remark(f"{archive.damage}; the pictures after that are missing, until it is fetched again")
    places = census.Places(split, folder, folder)
    return ArchivedPart(rows, places, members, classes=classes if split == "train" else None)
