"""A look at some pictures of each list, drawn without a pattern, and what follows for all of them, with a confidence.

At a billion pictures a full check takes weeks of a core; 3,000 of them, none damaged, say that below 0.1% of all are.
"""

import math
import os
from typing import NamedTuple

import numpy as np

from webvision.data.lists.order import permute
from webvision.data.pictures.images import REASONS
from webvision.prep.check.pool import ScanPool
from webvision.prep.check.scan import RECORD, condemned, examine

CONFIDENCE = 0.95
_BLOCK = 64  # pictures between two answers of a worker


class Sampled(NamedTuple):
    """What a sample of one list showed."""

    rows: int  # of the list
    looked_at: int
    bad: dict  # reason -> pictures
    first: tuple  # (row, reason) of the first few
    at_least: float  # share of all that is bad, with CONFIDENCE
    at_most: float


def sample_split(index, pictures, options, *, count, seed, jobs, timeout_s):
    """The Sampled of `count` rows of a list, the same ones for the same seed."""
    count = min(count, len(index))
    rows = np.sort(permute(np.arange(count), len(index), seed=seed, epoch=0))

    def examine_block(block, row_begins, verdicts):
        some = rows[block * _BLOCK : (block + 1) * _BLOCK].tolist()
        records = []
        for row, path in zip(some, index.paths(some), strict=True):
            row_begins(row)
            records.append(condemned(path, verdicts[row]) if row in verdicts else examine(pictures, path, options))
        return b"".join(records)

    blocks = -(-count // _BLOCK)
    found = np.zeros(count, RECORD)
    for block, data in ScanPool(examine_block, jobs=max(1, min(jobs, blocks)), timeout_s=timeout_s).run(range(blocks)):
        found[block * _BLOCK : block * _BLOCK + len(data) // RECORD.itemsize] = np.frombuffer(data, RECORD)
    return summarise(rows, found["reason"], len(index))


def summarise(rows, reasons, total):
    """The Sampled of `rows` whose reasons (indices into REASONS) are these, of a list of `total`."""
    wrong = np.flatnonzero(reasons)
    counts = np.bincount(reasons[wrong], minlength=len(REASONS))
    bad = {REASONS[code]: int(counts[code]) for code in np.flatnonzero(counts)}
    at_least, at_most = bounds(len(wrong), len(rows)) if len(rows) < total else (len(wrong) / total,) * 2
    first = tuple((int(rows[at]), REASONS[reasons[at]]) for at in wrong[:10].tolist())
    return Sampled(total, len(rows), bad, first, at_least, at_most)


def bounds(bad, looked_at, confidence=CONFIDENCE):
    """(least, most) share of bad ones with which `bad` of `looked_at` still has a chance of half of what is left to
    1: Clopper and Pearson 1934, never too narrow."""
    tail = (1 - confidence) / 2
    least = 0.0 if bad == 0 else _solve(lambda share: 1 - _at_most(bad - 1, looked_at, share) - tail)
    most = 1.0 if bad == looked_at else _solve(lambda share: tail - _at_most(bad, looked_at, share))
    return least, most


def _at_most(bad, looked_at, share):
    """The chance of `bad` or fewer among `looked_at` draws, each bad with the chance `share`."""
    if share <= 0.0:
        return 1.0
    if share >= 1.0:
        return float(bad >= looked_at)
    number = np.arange(bad + 1)
    choose = math.lgamma(looked_at + 1) - _lgamma(number + 1) - _lgamma(looked_at - number + 1)
    logs = choose + number * math.log(share) + (looked_at - number) * math.log1p(-share)
    return min(1.0, float(np.exp(logs).sum()))


def _lgamma(values):
    return np.array([math.lgamma(value) for value in values.tolist()])


def _solve(rising):
    """Where a rising function of a share crosses 0, to 2^-50."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return high


def tell(name, found, *, path_of):
    """Lines about a split's Sampled; `path_of(row)`: where its picture lies."""
    what = ", ".join(f"{count} {reason}" for reason, count in found.bad.items()) or "none of them bad"
    yield (
        f"{name}: looked at {found.looked_at:,} of {found.rows:,} pictures: {what}; so {found.at_least:.3%} to "
        f"{found.at_most:.3%} of all are bad ({CONFIDENCE:.0%} sure)"
    )
    for row, reason in found.first:
        yield f"  {name}.txt:{row + 1}: {os.fsdecode(path_of(row))} [{reason}]"
