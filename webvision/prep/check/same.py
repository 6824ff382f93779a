"""The same picture more than once: equal bytes, or an equal look."""

from typing import NamedTuple

import numpy as np

from webvision.prep.check.scan import DECODED, READ

NEAR_BITS = 3  # of 64: resizing and recompression change up to about three, two photographs differ in about 30
_BAND_BITS = 16  # four bands: two hashes within three bits agree in at least one
_PLAIN_BITS = 6  # fewer ones (or zeros) than that show next to nothing: a sky, a white page; they all look alike
_ROWS = 1 << 20  # looked up at once
_SORTED = 1 << 21  # rows whose hashes are sorted at once, about
_PAIRS = 1 << 22  # compared at once: 100 MB


class Pairs(NamedTuple):
    """Rows of two lists, pair by pair."""

    left: np.ndarray
    right: np.ndarray


def equal_content(left, right, right_rows=None):
    """Pairs (row of `left`, first row of `right` with the same bytes) of two arrays of RECORDs, in the order of `left`.

    `right_rows`: the only rows of `right` that come into question. Only `right` is sorted: let it be the short one.
    """
    if right_rows is None:
        right_rows = np.flatnonzero(right["flags"] & READ)
    keys = right["content"][right_rows, 0]
    order = np.argsort(keys, kind="stable")  # of equal ones the first row comes first
    keys, right_rows = keys[order], right_rows[order]
    found = [(np.zeros(0, np.int64),) * 2]
    for low in range(0, len(left) if len(keys) else 0, _ROWS):
        part = left[low : low + _ROWS]
        place = np.minimum(np.searchsorted(keys, part["content"][:, 0]), len(keys) - 1)
        rows = np.flatnonzero((keys[place] == part["content"][:, 0]) & (part["flags"] & READ != 0))
        candidates = right_rows[place[rows]]
        same = (right["content"][candidates] == part["content"][rows]).all(axis=1)
        found.append((rows[same] + low, candidates[same]))
    return Pairs(*map(np.concatenate, zip(*found, strict=True)))


def equal_both_ways(long, short):
    """(Pairs from `long` to `short`, Pairs from `short` to `long`), each as `equal_content` gives them."""
    forward = equal_content(long, short)
    return forward, equal_content(short, long, np.unique(forward.left))


def copies(records):
    """Pairs (row, first row of the same list with the same bytes), without a row's pair with itself.

    Part by part of what a hash can be, so that memory does not grow with the list: 120 MB, whatever its length.
    """
    parts = 1 << max(0, (len(records) // _SORTED).bit_length())
    found = [(np.zeros(0, np.int64),) * 2]
    for part in range(parts):
        rows, content = _hashed_into(records, part, parts)
        order = np.lexsort((content[:, 1], content[:, 0]))  # stable: of equal ones the first row comes first
        rows, content = rows[order], content[order]
        again = np.append(False, (content[1:] == content[:-1]).all(axis=1)) if len(rows) else np.zeros(0, bool)
        first = np.maximum.accumulate(np.where(again, 0, np.arange(len(rows))))
        found.append((rows[again], rows[first[again]]))
    left, right = map(np.concatenate, zip(*found, strict=True))
    in_order = np.argsort(left)
    return Pairs(left[in_order], right[in_order])


def _hashed_into(records, part, parts):
    """(rows, content) of the rows that were read and whose content's hash falls into one of `parts` even parts."""
    shift = np.uint64(64 - (parts - 1).bit_length())
    rows, contents = [np.zeros(0, np.int64)], [np.zeros((0, 2), np.uint64)]
    for low in range(0, len(records), _ROWS):
        some = records[low : low + _ROWS]
        content, inside = some["content"], some["flags"] & READ != 0
        if parts > 1:
            inside &= content[:, 0] >> shift == part
        rows.append(np.flatnonzero(inside) + low)
        contents.append(content[inside])
    return np.concatenate(rows), np.concatenate(contents)


def near_look(left, right):
    """Pairs of rows whose pictures look alike, sorted; `right` is the long list."""
    left_rows, left_looks = _looks(left)
    right_rows, right_looks = _looks(right)
    found = [np.zeros((0, 2), np.int64)]
    for shift in range(0, 64, _BAND_BITS):
        found.extend(_band_pairs(left_looks, right_looks, shift))
    pairs = np.unique(np.concatenate(found), axis=0)  # the bands of a pair may agree twice
    return Pairs(left_rows[pairs[:, 0]], right_rows[pairs[:, 1]])


def _looks(records):
    ones = np.bitwise_count(records["look"])
    rows = np.flatnonzero((records["flags"] & DECODED != 0) & (ones >= _PLAIN_BITS) & (ones <= 64 - _PLAIN_BITS))
    return rows, records["look"][rows]


def _band_pairs(left, right, shift):
    """Yield arrays [n, 2] of positions in `left` and `right` that agree in one band and are near in all."""
    mask = np.uint64((1 << _BAND_BITS) - 1)
    left_band, right_band = left >> np.uint64(shift) & mask, right >> np.uint64(shift) & mask
    order = np.argsort(right_band, kind="stable")
    ordered = right_band[order]
    begins, ends = np.searchsorted(ordered, left_band, "left"), np.searchsorted(ordered, left_band, "right")
    counts = ends - begins
    total = np.cumsum(counts)
    low = 0
    while low < len(left):  # as many of `left` at once as make _PAIRS pairs
        high = max(low + 1, int(np.searchsorted(total, total[low] - counts[low] + _PAIRS, "right")))
        count = counts[low:high]
        first = np.repeat(np.arange(low, high), count)
        offset = np.arange(len(first)) - np.repeat(np.cumsum(count) - count, count)
        second = order[begins[first] + offset]
        near = np.bitwise_count(left[first] ^ right[second]) <= NEAR_BITS
        yield np.stack([first[near], second[near]], axis=1)
        low = high
