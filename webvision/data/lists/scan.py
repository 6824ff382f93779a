"""List files at 16 million lines: offsets and labels by NumPy, a chunk of bytes at a time.

The scan accepts what is plainly right. Every line it cannot vouch for goes to `lists.parse_line`, which accepts
it or says why not; so the two readers cannot disagree about what a list means.
"""

import hashlib
from typing import NamedTuple

import numpy as np

from webvision.data.lists.text import (
    MAX_LABEL_DIGITS,
    MAX_LINE,
    LineRules,
    OddLines,
    empty_error,
    first_line_is_labelled,
    line_error,
    parse_line,
    plain_line,
)

CHUNK = 1 << 20  # bytes at a time: the temporaries stay in the caches
NEWLINE, BLANK, HASH, DOT, SLASH, ZERO = (ord(c) for c in "\n #./0")
BOM = 0xEF  # the first byte of a byte order mark; joined files have them inside, too


class Scan(NamedTuple):
    """The lines of one list: line i is bytes offsets[i] .. offsets[i+1]-1 (the last one is the newline)."""

    offsets: np.ndarray  # uint32, from 4 GiB on uint64 [rows + 1]
    labels: np.ndarray | None  # uint16, from 65537 classes on int32 [rows]; None: a list without labels
    sha256: str  # of the bytes that were scanned
    size: int  # how many they were


def label_dtype(num_classes):
    """The smallest type for labels 0..num_classes-1."""
    return np.dtype("<u2") if num_classes <= 1 << 16 else np.dtype("<i4")


def offset_dtype(size):
    """The smallest type for positions in a file of `size` bytes, its end and a missing last newline included."""
    return np.dtype("<u4") if size < (1 << 32) - 1 else np.dtype("<u8")


def scan_list(file, path, *, size, num_classes, allow_outside=False):
    """Scan an unbuffered binary file of about `size` bytes; DataError with `path` and line at the first wrong line."""
    digest = hashlib.sha256()
    rules, row, base, odd = None, 0, 0, OddLines(path)
    offsets, all_labels = _Column(offset_dtype(size)), _Column(label_dtype(num_classes))
    offsets.append(np.zeros(1))
    for lines in _chunks(file, digest):
        if rules is None:
            first = lines[: int(np.argmax(lines == NEWLINE))].tobytes()
            rules = LineRules(num_classes, first_line_is_labelled(first), allow_outside)
        starts, ends, labels, doubtful = _scan_lines(lines, rules)
        for i in np.flatnonzero(doubtful):
            line = lines[starts[i] : ends[i]].tobytes()
            try:
                labels[i] = parse_line(line, rules).label or 0
            except ValueError as reason:
                raise line_error(path, row + int(i) + 1, reason) from None
            if line != plain_line(line, labelled=rules.labelled):
                odd.add(row + int(i) + 1, line)
        offsets.append(ends + (base + 1))
        all_labels.append(labels)
        row += len(ends)
        base += len(lines)
    if rules is None:
        raise empty_error(path)
    odd.tell()
    return Scan(offsets.values(), all_labels.values() if rules.labelled else None, digest.hexdigest(), file.tell())


class _Column:
    """A growing array; growing moves pages instead of copying them (realloc), which a list of parts would need twice
    over."""

    def __init__(self, dtype):
        self._data, self._used = np.empty(1 << 16, dtype), 0

    def append(self, values):
        end = self._used + len(values)
        if end > len(self._data):
            self._data.resize(max(end, len(self._data) * 3 // 2), refcheck=False)
        self._data[self._used : end] = values
        self._used = end

    def values(self):
        self._data.resize(self._used, refcheck=False)
        return self._data


def _chunks(file, digest):
    """Yield the file as uint8 arrays of whole lines; a missing last newline is added, an endless line cut after
    MAX_LINE."""
    buffer = np.empty(2 * CHUNK, np.uint8)
    fill = 0
    while got := file.readinto(memoryview(buffer)[fill : fill + CHUNK]):
        digest.update(buffer[fill : fill + got])
        fill += got
        cut = _after_last_newline(buffer[:fill])
        if cut:
            yield buffer[:cut]
        fill -= cut
        buffer[:fill] = buffer[cut : cut + fill].copy()
        if fill > MAX_LINE + 1:
            break  # no name is that long: the caller's parse_line refuses the piece
    if fill:
        fill = min(fill, MAX_LINE + 1)
        buffer[fill] = NEWLINE
        yield buffer[: fill + 1]


def _after_last_newline(data):
    for low in (max(0, len(data) - 2 * MAX_LINE), 0):
        found = np.flatnonzero(data[low:] == NEWLINE)
        if len(found):
            return low + int(found[-1]) + 1
    return 0


def _scan_lines(lines, rules):
    """(starts, ends, labels, doubtful) of the whole lines in a uint8 array; labels mean nothing where doubtful."""
    marks = np.flatnonzero(lines <= BLANK)
    kinds = lines[marks]
    if rules.labelled and len(marks) % 2 == 0 and (kinds[::2] == BLANK).all() and (kinds[1::2] == NEWLINE).all():
        blanks, ends = marks[::2], marks[1::2]  # every line is `name label`: the usual list
        starts = _starts(ends)
        doubtful = np.zeros(len(ends), bool)
    else:
        blanks, starts, ends, doubtful = _scan_uneven(lines, marks, kinds, labelled=rules.labelled)
    first = lines[starts]
    doubtful |= (first == SLASH) | (first == HASH) | (first == BLANK) | (first == BOM) | (ends - starts > MAX_LINE)
    dot = lines == DOT
    dots = np.flatnonzero(dot[1:] & dot[:-1])
    if len(dots):
        doubtful[np.searchsorted(ends, dots)] = True
    if rules.labelled:
        labels, wrong = _labels(lines, blanks, ends)
        doubtful |= wrong | (labels >= (rules.num_classes or 1 << 31))
    else:
        labels = np.zeros(len(ends), np.int32)
    return starts, ends, labels, doubtful


def _starts(ends):
    starts = np.empty_like(ends)
    starts[0] = 0
    starts[1:] = ends[:-1] + 1
    return starts


def _scan_uneven(lines, marks, kinds, *, labelled):
    """Last blanks, starts, ends and doubts where some names hold blanks, or lines have no label, or are plain wrong."""
    ends = marks[kinds == NEWLINE]
    starts = _starts(ends)
    doubtful = ends == starts
    control = marks[(kinds != NEWLINE) & (kinds != BLANK)]
    doubtful[np.searchsorted(ends, control)] = True
    blanks = marks[kinds == BLANK]
    until = np.searchsorted(blanks, ends)  # blanks before each line's end
    count = np.diff(until, prepend=0)
    last = np.concatenate([[0], blanks])[until]  # the last blank at or before the line: its own if count > 0
    # With blanks in the name, what stands before the last one (the label, or the name's end) may be a second label.
    before = lines[np.where(labelled, last, ends) - 1]
    is_digit = before - np.uint8(ZERO) <= 9
    doubtful |= (before == BLANK) | (is_digit & (count > int(labelled)))
    if labelled:
        doubtful |= count == 0
    return last, starts, ends, doubtful


def _labels(lines, blanks, ends):
    """(labels, wrong): the decimal numbers between each blank and line end, and where there is none."""
    width = ends - blanks - 1
    wrong = (width < 1) | (width > MAX_LABEL_DIGITS)
    labels = np.zeros(len(ends), np.int32)  # nine digits fit
    longest = min(MAX_LABEL_DIGITS, int(width.max(initial=0)))
    for place in range(longest):
        digit = lines[ends - (place + 1)] - np.uint8(ZERO)  # wraps round: what is no digit is above 9
        inside = width > place
        wrong |= inside & (digit > 9)
        labels += np.where(inside, digit, 0).astype(np.int32) * np.int32(10**place)
    return labels, wrong
