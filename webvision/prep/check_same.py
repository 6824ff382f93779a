"""The same picture more than once: equal bytes, or an equal look."""
from typing import NamedTuple

import numpy as np

from webvision.prep.check_scan import DECODED, READ

NEAR_BITS = 3             # of 64: resizing and recompression change up to about three, two photographs differ in about 30
_BAND_BITS = 16           # four bands: two hashes within three bits agree in at least one
_PLAIN_BITS = 6           # fewer ones (or zeros) than that show next to nothing: a sky, a white page; they all look alike
_PAIRS = 1 << 22          # compared at once: 100 MB


class Pairs(NamedTuple):
    """Rows of two lists, pair by pair."""
    left: np.ndarray
    right: np.ndarray


def equal_content(left, right):
    """Pairs (row of `left`, first row of `right` with the same bytes) of two arrays of RECORDs, in the order of `left`."""
    left_rows, right_rows = np.flatnonzero(left["flags"] & READ), np.flatnonzero(right["flags"] & READ)
    if not len(right_rows):
        return Pairs(right_rows, right_rows)
    keys = right["content"][right_rows, 0]
    order = np.argsort(keys, kind="stable")              # of equal ones the first row comes first
    wanted = left["content"][left_rows]
    place = np.minimum(np.searchsorted(keys[order], wanted[:, 0]), len(keys) - 1)
    candidates = right_rows[order[place]]
    same = (right["content"][candidates] == wanted).all(axis=1)
    return Pairs(left_rows[same], candidates[same])


def copies(records):
    """Pairs (row, earlier row of the same list with the same bytes)."""
    pairs = equal_content(records, records)
    later = pairs.left != pairs.right
    return Pairs(pairs.left[later], pairs.right[later])


def near_look(left, right):
    """Pairs of rows whose pictures look alike, sorted; `right` is the long list."""
    left_rows, left_looks = _looks(left)
    right_rows, right_looks = _looks(right)
    found = [np.zeros((0, 2), np.int64)]
    for shift in range(0, 64, _BAND_BITS):
        found.extend(_band_pairs(left_looks, right_looks, shift))
    pairs = np.unique(np.concatenate(found), axis=0)     # the bands of a pair may agree twice
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
    while low < len(left):                               # as many of `left` at once as make _PAIRS pairs
        high = max(low + 1, int(np.searchsorted(total, total[low] - counts[low] + _PAIRS, "right")))
        count = counts[low:high]
        first = np.repeat(np.arange(low, high), count)
        offset = np.arange(len(first)) - np.repeat(np.cumsum(count) - count, count)
        second = order[begins[first] + offset]
        near = np.bitwise_count(left[first] ^ right[second]) <= NEAR_BITS
        yield np.stack([first[near], second[near]], axis=1)
        low = high
