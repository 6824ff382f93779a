"""What lists and folders say about each other, before any picture is opened."""

import os
from array import array
from typing import NamedTuple

import numpy as np

from webvision.data.lists.index import ListIndex, open_index
from webvision.data.lists.repeats import find_repeats
from webvision.data.lists.text import (
    LineRules,
    empty_error,
    first_line_is_labelled,
    line_error,
    open_regular,
    parse_line,
)
from webvision.errors import DataError
from webvision.prep.check.scan import path_hash

WRONG_KEPT = 100_000  # with the wrong synsets.txt, all 16 million lines are wrong
_READ_LINES = 1 << 24  # bytes of one line that are looked at; longer ones are refused piece by piece


class CheckedList(NamedTuple):
    """The acceptable lines of a list as an index, and the others."""

    index: ListIndex
    lines: np.ndarray | None  # line number (from 1) of each row; None: row + 1
    wrong: list  # (line number, reason) of the first WRONG_KEPT lines that were refused
    wrong_count: int  # how many were

    def line(self, row):
        """The line number of a row."""
        return int(row) + 1 if self.lines is None else int(self.lines[row])


def open_checked(path, num_classes, *, work_dir, allow_outside=False):
    """The CheckedList of `path`; DataError only if there is no acceptable line at all."""
    try:
        return CheckedList(open_index(path, num_classes, allow_outside=allow_outside), None, [], 0)
    except DataError:
        return _salvage(path, num_classes, work_dir=work_dir, allow_outside=allow_outside)


def _salvage(path, num_classes, *, work_dir, allow_outside):
    """Copy the acceptable lines to a list in `work_dir` and index that."""
    rules = _rules(path, num_classes, allow_outside)
    good, wrong, wrong_count = array("q"), [], 0
    copy = os.path.join(work_dir, os.path.basename(path))
    with open_regular(path) as source, open(copy, "wb") as kept:
        for number, line in enumerate(iter(lambda: source.readline(_READ_LINES), b""), 1):
            line = line.removesuffix(b"\n")
            try:
                parse_line(line, rules)
            except ValueError as reason:
                wrong_count += 1
                if wrong_count <= WRONG_KEPT:
                    wrong.append((number, str(reason)))
                continue
            kept.write(line + b"\n")
            good.append(number)
    return CheckedList(
        open_index(copy, num_classes, allow_outside=allow_outside), np.frombuffer(good, np.int64), wrong, wrong_count
    )


def _rules(path, num_classes, allow_outside):
    """The rules by which the first line is right that can be right, so that one bad line does not decide for all."""
    first_wrong = None
    with open_regular(path) as file:
        for number, line in enumerate(iter(lambda: file.readline(_READ_LINES), b""), 1):
            line = line.removesuffix(b"\n")
            rules = LineRules(num_classes, first_line_is_labelled(line), allow_outside)
            try:
                parse_line(line, rules)
                return rules
            except ValueError as reason:
                first_wrong = first_wrong or line_error(path, number, f"{reason} (and no line of this list is right)")
    raise first_wrong or empty_error(path)


class Repeats(NamedTuple):
    """Rows that name a picture which an earlier row names."""

    rows: np.ndarray  # in list order
    first: np.ndarray  # the earlier row of each
    conflict: np.ndarray  # bool: the two have different labels


def judge_repeats(index, hashes):
    """The Repeats of a list. `hashes`: a 64-bit hash of each row's name."""
    rows, first = find_repeats(index, hashes)
    differs = index.labels[rows] != index.labels[first] if index.labelled else np.zeros(len(rows), bool)
    return Repeats(rows, first, differs)


def find_unlisted(pictures, hashes, *, progress=lambda done: None):
    """What is among the `pictures` and no row names, sorted (bytes). `hashes`: path_hash of each row's path."""
    listed = np.sort(hashes)
    unlisted, done = [], 0
    for names in pictures.walk():
        found = np.fromiter(map(path_hash, names), np.uint64, len(names))
        at = np.minimum(np.searchsorted(listed, found), len(listed) - 1)
        unlisted.extend(names[i] for i in np.flatnonzero(listed[at] != found))
        done += len(names)
        progress(done)
    return sorted(unlisted)
