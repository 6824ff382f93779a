"""Upstream's evaluation result: a JSON list of the top ids of each image, and a JSON list of labels, without names."""

import os

import numpy as np

from webvision.errors import DataError
from webvision.files import read_untrusted_json
from webvision.scoring.predictions.file import list_faults
from webvision.scoring.predictions.rows import describe, ids_faults, label_fault
from webvision.scoring.predictions.scan import Arrays

MAX_BYTES = 1 << 28  # 290,000 rows of five ids are 9 MB


def is_upstream_list(path):
    """Whether `path` is a file that starts as a JSON list does."""
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        return file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["


def read_top_list(path, *, num_classes=None, names=None):
    """The ids in `path` as `Arrays` without labels and scores; DataError listing every fault with its row.

    `names` (from the list that was evaluated) are paired by position, the only pairing upstream has; a list of
    another length is refused. Without `names` the rows are called row 1, row 2, ...
    """
    rows, faults = _read_list(path), []
    if not rows:
        raise DataError(f"{path}: the list is empty, so there is nothing to score; did the evaluation end?")
    k = min(5, num_classes or 5)
    if names is not None and len(names) != len(rows):
        faults.append(
            f"row {min(len(names), len(rows)) + 1}: {len(rows)} rows of ids, but the list has {len(names)} images"
        )
    for number, ids in enumerate(rows, 1):
        faults += [f"row {number}: {fault}" for fault in ids_faults(ids, k, num_classes)]
    if faults:
        raise DataError("\n".join(list_faults(path, faults)))
    names = list(names) if names is not None else [f"row {number}" for number in range(1, len(rows) + 1)]
    return Arrays(names, None, np.array(rows, np.int32).reshape(len(rows), k), None, [None] * len(rows))


def read_label_list(path, rows):
    """The labels in `path` as int64[rows]; DataError listing every fault with its row."""
    labels = _read_list(path)
    reasons = map(label_fault, labels)
    faults = [f"row {number}: {reason}" for number, reason in enumerate(reasons, 1) if reason]
    if len(labels) != rows:
        faults.insert(0, f"row {min(len(labels), rows) + 1}: {len(labels)} labels for {rows} rows of predictions")
    if faults:
        raise DataError("\n".join(list_faults(path, faults)))
    return np.array(labels, np.int64)


def _read_list(path):
    value = read_untrusted_json(path, max_bytes=MAX_BYTES)
    if type(value) is not list:
        raise DataError(f"{path}: {describe(value)}, not a list")
    return value
