"""Read a whole prediction file into arrays: blocks of sound rows at once, and faulty ones row by row for their
messages."""

import hashlib
from itertools import chain
from typing import NamedTuple

import numpy as np

from webvision.scoring.predictions.rows import Prediction, name_bytes, parse_row

NOTHING = -1  # no class has this id, so that it is wrong in every score and for every k


class Arrays(NamedTuple):
    """A prediction file in memory: 60 bytes an image beside its name."""

    names: list[str]
    labels: np.ndarray | None  # int64[n]; None for an unlabelled list
    top: np.ndarray  # int32[n, k], best first; NOTHING throughout the row of a picture that could not be read
    scores: np.ndarray | None  # float32[n, k]; None where a foreign format has no scores
    problems: list[str | None]  # reason codes of unreadable pictures
    written: np.ndarray | None = None  # int32[n, k]: `top` as the file has it, where it differs: with fall-back ids

    def valid_ids(self):
        """int32[n, k]: class ids in every row, as formats want it that have no word for "nothing"."""
        return self.top if self.written is None else self.written


class _Block(NamedTuple):
    names: list[str]
    labels: list
    top: np.ndarray
    scores: np.ndarray
    problems: list[str | None]


class Scan:
    """Collects blocks of rows; `faults` are sentences with row numbers, `rows` counts the sound rows."""

    def __init__(self, k, num_classes):
        self.k, self.num_classes = k, num_classes
        self.faults = []
        self.rows = 0
        self._blocks = []
        self._labelled = None
        self._names_hash = hashlib.sha256()

    def add(self, first_row, values):
        """Take the decoded JSON `values` of the rows from `first_row` (counted from 1) on."""
        block = self._sound_block(values) or self._by_row(first_row, values)
        self.rows += len(block.names)
        self._blocks.append(block)
        self._names_hash.update(b"".join(map(name_bytes, block.names)))

    def names_sha256(self):
        return self._names_hash.hexdigest()

    def arrays(self):
        """All sound rows; a name that occurs twice becomes a fault."""
        names = list(chain.from_iterable(block.names for block in self._blocks))
        problems = list(chain.from_iterable(block.problems for block in self._blocks))
        if len(set(names)) != len(names):
            seen = {}
            self.faults += [
                f"row {row}: name {name!r} stands in row {seen[name]} too"
                for row, name in enumerate(names, 1)
                if seen.setdefault(name, row) != row
            ]
        labels = (
            np.array(list(chain.from_iterable(block.labels for block in self._blocks)), np.int64)
            if self._labelled
            else None
        )
        empty = np.zeros((0, self.k or 0))
        top = np.concatenate([empty.astype(np.int32)] + [block.top for block in self._blocks if len(block.names)])
        scores = np.concatenate(
            [empty.astype(np.float32)] + [block.scores for block in self._blocks if len(block.names)]
        )
        unreadable = [row for row, problem in enumerate(problems) if problem is not None]
        if not unreadable:
            return Arrays(names, labels, top, scores, problems)
        answered = top.copy()
        answered[unreadable] = NOTHING
        return Arrays(names, labels, answered, scores, problems, top)

    def _sound_block(self, values):
        """The block if all its rows are as they must be, else None: in half the time of `parse_row`."""
        if not values or any(
            type(row) is not dict
            or not {"name", "label", "top", "scores"} <= row.keys()
            or len(row) > 5
            or (len(row) == 5 and "problem" not in row)
            for row in values
        ):
            return None
        names, labels, ids, scores = ([row[key] for row in values] for key in ("name", "label", "top", "scores"))
        problems = [row.get("problem") for row in values]
        kinds = set(map(type, labels))
        if not (
            set(map(type, names)) == {str}
            and all(names)
            and kinds in ({int}, {type(None)})
            and set(map(type, problems)) <= {str, type(None)}
            and set(map(type, ids)) == set(map(type, scores)) == {list}
        ):
            return None
        k = self.k or len(ids[0])
        if not (
            k
            and set(map(len, ids)) == set(map(len, scores)) == {k}
            and set(map(type, chain.from_iterable(ids))) == {int}
            and set(map(type, chain.from_iterable(scores))) <= {int, float}
        ):
            return None
        labelled = kinds == {int}
        if self._labelled not in (None, labelled) or not self._in_range(chain(labels if labelled else (), *ids)):
            return None
        top, scores = np.array(ids, np.int32), np.array(scores, np.float64)
        ordered = np.sort(top, axis=1)
        if (
            (ordered[:, 1:] == ordered[:, :-1]).any()
            or not np.isfinite(scores).all()
            or (scores[:, 1:] > scores[:, :-1]).any()
        ):
            return None
        self.k, self._labelled = k, labelled
        return _Block(names, labels, top, scores.astype(np.float32), problems)

    def _in_range(self, numbers):
        numbers = set(numbers)
        return min(numbers) >= 0 and max(numbers) < (self.num_classes or 2**31)

    def _by_row(self, first_row, values):
        sound = []
        for row, value in enumerate(values, first_row):
            value = value.faults if type(value) is Unreadable else parse_row(value, self.k, self.num_classes)
            if type(value) is Prediction:
                labelled = value.label is not None
                if self._labelled in (None, labelled):
                    self.k, self._labelled = len(value.top), labelled
                    sound.append(value)
                    continue
                value = [f"{'a label' if labelled else 'no label'}, unlike the rows before it"]
            self.faults += [f"row {row}: {fault}" for fault in value]
        names, labels, top, scores, problems = zip(*sound) if sound else ((),) * 5
        return _Block(names, labels, np.array(top, np.int32), np.array(scores, np.float32), problems)


class Unreadable(NamedTuple):
    """Stands for a row that is no JSON."""

    faults: list[str]
