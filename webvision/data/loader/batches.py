"""Batches of a list, for training (for ever, augmented) and for evaluation (once, in list order). No TensorFlow.

Batch k of a run is a function of (seed, k * batch, batch) and of the files, whatever builds it: this process, threads
or worker processes.
"""

import collections
import operator
import time
from typing import NamedTuple

import numpy as np

from webvision.data.lists.sound import open_sound
from webvision.data.loader.builder import SPARES, Job
from webvision.data.loader.source import open_source
from webvision.data.pictures.images import REASONS
from webvision.environment import DOOR
from webvision.errors import IncompleteError, ResourceError, UsageError, printable

_CHUNK = 4096  # positions of the order at a time: 0.2 us each then, 7 us each in batches of 64
_CONSECUTIVE = 50  # damaged pictures in a row: a folder that went away, not bad luck
_IO = REASONS.index("io")
_NAMES_KEPT = 100  # of damaged pictures, for the report; all of them are counted


class Batch(NamedTuple):
    """One batch, rows in order."""

    images: np.ndarray  # uint8 [n, size, size, 3], BGR; [n * views, ...] of a Preset with several views
    labels: np.ndarray  # int32 [n] of the picture shown; -1: unlabelled
    rows: np.ndarray  # int64 [n]: rows of the list
    status: np.ndarray  # uint8 [n]: 0, or the index into images.REASONS of what was wrong with the row's file
    shown: np.ndarray | None = None  # int64 [n], of training: rows of the pictures shown, a damaged one's replacement
    matrices: np.ndarray | None = None  # float32 [n, 3, 4] to apply on the device, where they are fed


class Bad:
    """Damaged pictures seen so far: how many, why, and the names of the first."""

    def __init__(self):
        self.reasons = collections.Counter()
        self.names = {}  # name -> reason, the first _NAMES_KEPT
        self.seen = 0
        self._in_a_row = 0
        self._io_in_a_row = 0

    @property
    def count(self):
        return sum(self.reasons.values())

    def add(self, names, status):
        """Count a batch; `names(i)` gives the name of its row i."""
        self.seen += len(status)
        self._count_storage_errors(status)
        wrong = np.flatnonzero(status)
        if not len(wrong):
            self._in_a_row = 0
            return
        for row in wrong:
            reason = REASONS[status[row]]
            self.reasons[reason] += 1
            if len(self.names) < _NAMES_KEPT:
                self.names[names(row)] = reason
        if len(wrong) == len(status):
            self._in_a_row += len(status)
        else:
            self._in_a_row = len(status) - 1 - np.flatnonzero(status == 0)[-1]

    def _count_storage_errors(self, status):
        """ResourceError after 50 failing reads in a row: of storage that is gone, nothing can be said about
        pictures."""
        other = np.flatnonzero(status != _IO)
        self._io_in_a_row = len(status) - 1 - other[-1] if len(other) else self._io_in_a_row + len(status)
        if self._io_in_a_row >= _CONSECUTIVE:
            raise ResourceError(
                f"{self._io_in_a_row} pictures in a row could not be read for input/output errors, each tried "
                "twice; is the disk failing, or the network mount gone? Nothing is wrong with the pictures; run the "
                "same command again once they can be read"
            )

    def check(self, max_bad):
        """IncompleteError when over the share `max_bad` was damaged (of at least 5,000), or 50 in a row."""
        if self._in_a_row >= _CONSECUTIVE or self.count > max_bad * max(self.seen, 5000):
            first = ", ".join(f"{printable(name)} ({reason})" for name, reason in list(self.names.items())[:3])
            raise IncompleteError(
                f"{self.count} of {self.seen} pictures could not be read ({self}), {self._in_a_row} of them "
                f"in a row; the first: {first}. Is the data folder whole? {DOOR} check --decode names "
                "all of them"
            )

    def __str__(self):
        return ", ".join(f"{count} {reason}" for reason, count in self.reasons.most_common()) or "none"


class TrainBatches:
    """Batches as `spec` says, for ever: the epochs of `order` one after the other, none left out, none twice.

    split          a Split: its list, and the pictures that it names
    order          an EpochOrder over that list
    start          number of the first sample: of the batch, times its size
    rank, ranks    this process takes batches rank, rank + ranks, ... of the run
    workers        0: in this process; n: that many processes
    max_bad        share of damaged pictures above which training stops; each is replaced by one of the next samples
    """

    def __init__(self, split, order, spec, *, workers=0, start=0, rank=0, ranks=1, max_bad=0.01, timeout=None):
        if not len(order):
            raise UsageError(f"{split.index.path}: no picture to train on")
        if not 0 <= rank < ranks:
            raise UsageError(f"rank {rank} is outside 0..{ranks - 1}")
        self._index, self._order = split.index, order
        # NumPy's integers too; workers get Python's
        self.batch, self.rank, self.ranks, self._first = map(operator.index, (spec.size, rank, ranks, start))
        self.spec = spec
        self._max_bad = max_bad
        self.bad = Bad()
        self.wait_seconds = 0.0  # the time that next() has taken, all together
        self._chunk = (None, None)
        self._proven = np.zeros(len(split.index), bool)
        self._sound = open_sound(split.index)
        self._source = open_source(split.pictures, spec, workers=workers, timeout=timeout)

    @property
    def samples(self):
        """How many samples an epoch has, all ranks together."""
        return len(self._order)

    def rows(self, first, count):
        """The rows of the list of the samples first .. first+count-1 of the run."""
        out = np.empty(count, np.int64)
        done = 0
        while done < count:
            number, offset = divmod(first + done, _CHUNK)
            if self._chunk[0] != number:
                self._chunk = (number, self._compute_rows(number * _CHUNK, _CHUNK))
            part = self._chunk[1][offset : offset + count - done]
            out[done : done + len(part)] = part
            done += len(part)
        return out

    def _compute_rows(self, first, count):
        samples = np.arange(first, first + count)
        epochs, positions = samples // len(self._order), samples % len(self._order)
        out = np.empty(count, np.int64)
        for epoch in np.unique(epochs):
            inside = epochs == epoch
            out[inside] = self._order.rows(int(epoch), positions[inside])
        return out

    def _jobs(self):
        first = self._first + self.rank * self.batch
        number = 0
        while True:
            rows = self.rows(first, self.batch + SPARES)
            yield rows, Job(number, self._order.seed, first, _paths(self._index, rows), self.batch, **self._known(rows))
            first += self.batch * self.ranks
            number += 1

    def _known(self, rows):
        """What a Job says of the pictures that need not be gone through whole: this run has, or a check has."""
        proven = self._proven[rows]
        stamps = np.zeros(0) if proven.all() else np.where(proven, np.uint64(0), self._sound.stamps(rows))
        checked = np.flatnonzero(stamps)
        return {
            "proven": tuple(np.flatnonzero(proven).tolist()),
            "sound": tuple(zip(checked.tolist(), stamps[checked].tolist(), strict=True)),
        }

    def __iter__(self):
        for rows, result in timed(self._source.run(self._jobs()), self._waited):
            status = np.array(result.status)
            self.bad.add(lambda row, rows=rows: self._index.name(int(rows[row])), status)
            self.bad.check(self._max_bad)
            shown = rows[np.where(result.source < 0, np.arange(self.batch), result.source)]
            self._proven[shown[result.source >= 0]] = True
            yield Batch(
                result.images,
                self._index.labels[shown].astype(np.int32),
                rows[: self.batch],
                status,
                shown,
                result.matrices,
            )

    def _waited(self, seconds):
        self.wait_seconds += seconds

    def close(self):
        """End the workers; the object is of no use afterwards."""
        self._source.close()


class EvalBatches:
    """The pictures of a list once, in list order; the last batch may be smaller. A damaged picture keeps its row,
    filled grey.

    `rows` restricts to these rows of the list, in their order. Other arguments as in TrainBatches; the view is a
    Preset. Where it has several views, `images` holds those of the first picture, then those of the second; the rest
    is one a picture.
    """

    def __init__(self, split, spec, *, workers=0, rows=None, timeout=None):
        self._index = split.index
        self._rows = rows
        self.spec = spec
        self.batch = spec.size
        self._views = spec.view.views
        self.bad = Bad()
        self.wait_seconds = 0.0
        self._source = open_source(split.pictures, spec, workers=workers, timeout=timeout)

    @property
    def samples(self):
        """How many pictures one pass has."""
        return len(self._index) if self._rows is None else len(self._rows)

    def __len__(self):
        return -(-self.samples // self.batch)

    def _jobs(self):
        for number in range(len(self)):
            first, last = number * self.batch, min((number + 1) * self.batch, self.samples)
            rows = np.arange(first, last) if self._rows is None else np.asarray(self._rows[first:last], np.int64)
            paths = tuple(path for path in _paths(self._index, rows) for _ in range(self._views))
            yield rows, Job(number, 0, first * self._views, paths, len(paths))

    def __iter__(self):
        self.bad = Bad()
        for rows, result in timed(self._source.run(self._jobs()), self._waited):
            count = len(rows)
            status = result.status[: count * self._views].reshape(count, self._views).max(axis=1)
            self.bad.add(lambda row, rows=rows: self._index.name(int(rows[row])), status)
            labels = (
                np.full(count, -1, np.int32)
                if self._index.labels is None
                else self._index.labels[rows].astype(np.int32)
            )
            yield Batch(result.images[: count * self._views], labels, rows, status)

    def _waited(self, seconds):
        self.wait_seconds += seconds

    def close(self):
        """End the workers; the object is of no use afterwards."""
        self._source.close()


def timed(results, waited):
    """`results`, telling `waited` the seconds that each took to come."""
    while True:
        began = time.monotonic()
        result = next(results, None)
        waited(time.monotonic() - began)
        if result is None:
            return
        yield result


def _paths(index, rows):
    # A ListIndex knows where its pictures lie; other tables (a folder's pictures) have names that are paths.
    paths = index.paths(rows) if hasattr(index, "paths") else index.names(rows)
    return tuple(path.encode("utf-8", "surrogateescape") for path in paths)
