"""What is there and what should be: the rows of a raw list, the place each gets, and the files found on the disk.

Python's own 64-bit hash of a name stands for the name (random per process, so no list can be made to collide on
purpose); wherever equality decides about a row, the bytes themselves are compared.
"""

import os
import stat
from typing import NamedTuple

import numpy as np

from webvision.errors import DataError

AT_SOURCE, AT_TARGET, EMPTY = 1, 2, 4  # bits of Part.state
NAMES_KEPT = 1000  # names a report lists of each kind; the count is always complete
MAX_NAME_BYTES = 255  # NAME_MAX of every Linux file system


class Names:
    """A count and the first few names."""

    def __init__(self):
        self.count, self.names = 0, []

    def add(self, name):
        self.count += 1
        if len(self.names) < NAMES_KEPT:
            self.names.append(os.fsdecode(name))

    def report(self):
        """For JSON; sorted, because folders are read in no particular order."""
        return {"count": self.count, "names": sorted(self.names)}


class Places(NamedTuple):
    """Where a part comes from and goes to. Names in the list are relative to `source`, final names to `target`."""

    split: str
    source: str
    target: str


class Part:
    """One split of the set: its list, which rows count, the final name of each, and what is on the disk.

    `classes` (train) puts every picture into its class's folder under its base name; without it (val, test) names stay.
    """

    def __init__(self, rows, places, *, classes=None):
        self.rows, self.places = rows, places
        self.classes = classes
        self._folders = [os.fsencode(wnid) + b"/" for wnid in classes or ()]
        self._labels = None if rows.labels is None else memoryview(rows.labels)  # Python ints: 3x faster to index
        self.keep = np.ones(len(rows), bool)
        self._levels = {}  # row -> k: its name is the source path joined by k underscores, not the base name
        self.state = np.zeros(len(rows), np.uint8)
        self.duplicates, self.conflicts, self.renamed = Names(), Names(), Names()
        self.extra, self.odd = Names(), Names()
        self._tops = None
        self._drop_duplicates()
        if self.classes:
            self._separate_clashes()

    def __len__(self):
        return int(self.keep.sum())

    def final_name(self, row):
        """The name in the split's folder and list: bytes."""
        name = self.rows.name(row)
        if not self.classes:
            return name
        level = self._levels.get(row)
        base = name.replace(b"/", b"_" * level) if level else name[name.rfind(b"/") + 1 :]
        return self._folders[self._labels[row]] + base

    def kept_rows(self):
        """The rows that count, in list order: int32[n]."""
        return np.flatnonzero(self.keep).astype(np.int32)

    def missing(self):
        """Rows that count and are nowhere."""
        return np.flatnonzero(self.keep & (self.state & (AT_SOURCE | AT_TARGET) == 0))

    def empty(self):
        return np.flatnonzero(self.keep & (self.state & EMPTY != 0))

    def _drop_duplicates(self):
        """A file can be moved once: the first row that names it counts, as it did in the original script."""
        for first, *others in _equal_names(np.arange(len(self.rows), dtype=np.int32), self.rows.name):
            for row in others:
                self.keep[row] = False
                same = self.rows.labels is None or self.rows.labels[row] == self.rows.labels[first]
                (self.duplicates if same else self.conflicts).add(self.rows.name(row))

    def _separate_clashes(self):
        """Give rows that would share one final name different ones, by the list alone, so that every run agrees."""
        rows = self.kept_rows()
        for level in range(1, 10):
            groups = _equal_names(rows, self.final_name)
            if not groups:
                break
            for row in {row for group in groups for row in group if level == 1 or row in self._levels}:
                self._levels[row] = level
        else:
            raise DataError(
                f"{self.rows.line(groups[0][0])} and {self.rows.line(groups[0][1])} would get one name however "
                "they are prefixed; rename one of the files"
            )
        for row in self._levels:
            name = self.final_name(row)
            if len(name) - name.rfind(b"/") > MAX_NAME_BYTES + 1:
                raise DataError(
                    f"{self.rows.line(row)}: another picture of its class has the same base name, and with its source "
                    f"in front the name is longer than {MAX_NAME_BYTES} bytes; rename the file"
                )
            self.renamed.add(name)

    def take_stock(self, progress):
        """Look at the disk: fills state, extra, odd."""
        kept = self.kept_rows()
        for name_of, root, bit in (
            (self.rows.name, self.places.source, AT_SOURCE),
            (self.final_name, self.places.target, AT_TARGET),
        ):
            if root == self.places.target and bit == AT_SOURCE:
                continue  # already lies where it belongs
            hashes = _hashes(kept, name_of)
            by_hash = kept[np.argsort(hashes)]
            hashes.sort()
            self._match(hashes, by_hash, root=root, bit=bit, progress=progress)

    def _match(self, hashes, rows, *, root, bit, progress):
        folders = self.source_folders() if bit == AT_SOURCE else [b""]
        for folder in folders:
            for prefix, names, sizes in walk(os.fsencode(root), folder, self.odd):
                found = np.array([hash(prefix + name) for name in names], np.int64)
                at = np.minimum(np.searchsorted(hashes, found), len(hashes) - 1)
                known = hashes[at] == found
                hit = rows[at[known]]
                self.state[hit] |= bit
                self.state[hit[np.array(sizes, np.int64)[known] == 0]] |= EMPTY
                where = b"source/" if bit == AT_SOURCE else os.fsencode(self.places.split) + b"/"
                for name in sorted(names[i] for i in np.flatnonzero(~known)):
                    self.extra.add(where + prefix + name)
                progress(len(names))

    def source_folders(self):
        """What to walk at the source: all of a split's own folder, but of the whole set's only what the list names."""
        if not self.classes:
            return [b""]
        if self._tops:
            return self._tops
        tops = {
            name.partition(b"/")[0] if b"/" in name else None
            for name in map(self.rows.name, integers(self.kept_rows()))
        }
        if None in tops:
            raise DataError(f"{self.rows.path}: names lie in no folder (google/, flickr/, ...); is this the raw list?")
        self._tops = sorted(tops)
        return self._tops


def integers(rows):
    """The row numbers as Python integers, without a list of all of them (36 bytes each)."""
    for start in range(0, len(rows), 1 << 16):
        yield from rows[start : start + (1 << 16)].tolist()


def _hashes(rows, name_of):
    return np.fromiter(map(hash, map(name_of, integers(rows))), np.int64, len(rows))


def _equal_names(rows, name_of):
    """Rows of equal name, as lists of at least two in list order; only names whose hash was seen twice are compared."""
    hashes = _hashes(rows, name_of)
    ordered = np.sort(hashes)
    twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    del ordered
    groups = {}
    for row in rows[np.isin(hashes, twice)].tolist() if len(twice) else ():
        groups.setdefault(name_of(row), []).append(row)
    return [group for group in groups.values() if len(group) > 1]


def walk(root, folder, odd):
    """Yield (prefix, names, sizes) of the regular files of every folder below root/folder, never through a link."""
    stack = [folder]
    while stack:
        prefix = stack.pop()
        names, sizes, folders = [], [], []
        try:
            entries = os.scandir(os.path.join(root, prefix) if prefix else root)
        except (FileNotFoundError, NotADirectoryError):
            continue
        prefix = prefix + b"/" if prefix else b""
        with entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(prefix + entry.name)
                    continue
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    names.append(entry.name)
                    sizes.append(status.st_size)
                else:
                    odd.add(prefix + entry.name)
        stack += sorted(folders, reverse=True)  # the same order in every run, so that reports are the same
        if names:
            yield prefix, names, sizes
