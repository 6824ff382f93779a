"""A set of predictions made ready for scoring, whatever file it came from."""

import os
from typing import NamedTuple

import numpy as np

from webvision.errors import DataError, UsageError
from webvision.scoring.predictions import fusion
from webvision.scoring.predictions.file import PredictionWriter, open_predictions
from webvision.scoring.predictions.ranking import topk_from_scores
from webvision.scoring.predictions.scan import Arrays
from webvision.scoring.predictions.upstream_lists import is_upstream_list, read_label_list, read_top_list

CHUNK = 2048
SUM_TOLERANCE = 1e-2  # of a row of probabilities; bfloat16 rounding of thousands of small ones adds up


class LoadedRun(NamedTuple):
    """Predictions in memory; `all_scores` is float32[n, classes], memory-mapped, when the file keeps the scores of all
    classes."""

    path: str
    header: dict
    arrays: Arrays
    all_scores: np.ndarray | None = None

    @property
    def labels(self):
        return self.arrays.labels

    @property
    def num_classes(self):
        """The class count that the file states, or None."""
        return self.header.get("classes", {}).get("count")

    @property
    def class_range(self):
        """The class count; where the file states none, as many as the labels and ids need."""
        highest = max(
            np.max(self.arrays.top, initial=-1), np.max(self.labels, initial=-1) if self.labels is not None else -1
        )
        return self.num_classes or int(highest) + 1

    @property
    def class_names(self):
        """The names of the classes, if the header holds one for each; else None."""
        names = self.header.get("classes", {}).get("names")
        sound = type(names) is list and len(names) == self.num_classes and all(type(name) is str for name in names)
        return names if sound else None


def load_run(path, labels_path=None, *, num_classes=None):
    """The predictions at `path`: ours, or upstream's list of ids with its list of labels."""
    path = os.fspath(path)
    if is_upstream_list(path):
        if labels_path is None:
            raise UsageError(
                f"{path} is a list of ids without labels; name the list of labels after it (--labels FILE)"
            )
        arrays = read_top_list(path, num_classes=num_classes)
        arrays = arrays._replace(labels=read_label_list(labels_path, len(arrays.names)))
        return LoadedRun(path, {"classes": {"count": num_classes}} if num_classes else {}, arrays)
    if labels_path is not None:
        raise UsageError(f"{path} holds its own labels; --labels belongs to upstream's list of ids")
    predictions = open_predictions(path)
    return LoadedRun(path, predictions.header, predictions.arrays(), predictions.all_scores())


def same_images(a, b):
    """Raise DataError unless both runs are of the same images with the same labels, in the same order."""
    if a.arrays.names != b.arrays.names:
        where = next(
            (row for row, (x, y) in enumerate(zip(a.arrays.names, b.arrays.names), 1) if x != y),
            min(len(a.arrays.names), len(b.arrays.names)) + 1,
        )
        raise DataError(
            f"{b.path}: row {where}: not the images of {a.path}; only runs over the same list can be put together"
        )
    if (a.labels is None) != (b.labels is None) or (a.labels is not None and not np.array_equal(a.labels, b.labels)):
        raise DataError(f"{b.path}: the labels differ from those of {a.path}")
    if a.num_classes != b.num_classes:
        raise DataError(f"{b.path}: {b.num_classes} classes, {a.path} has {a.num_classes}")


def average_runs(runs, out, *, method="mean", weights=None):
    """Write the mean of the probabilities of `runs` (other models, crops or flips of the same images) as a prediction
    file; by another of fusion's methods, and weighted, on request.

    Every run must hold the scores of all classes. The result holds them too, so that it can be averaged and scored
    further.
    """
    first = runs[0]
    for run in runs:
        if run.all_scores is None:
            raise UsageError(
                f"{run.path}: holds the best ids only; averaging needs the scores of all classes: --eval --scores all"
            )
        same_images(first, run)
        if os.path.abspath(run.path) == os.path.abspath(out):
            raise UsageError(f"{out}: is one of the files to average; name another --out")
    origins = [{key: run.header.get(key) for key in ("model", "checkpoint", "preprocessing")} for run in runs]
    header = {**first.header, "averaged": origins}
    if method != "mean" or weights is not None:
        header["fusion"] = {"method": method, "weights": None if weights is None else [float(w) for w in weights]}
    with PredictionWriter(out, header) as writer:
        for start in range(0, len(first.arrays.names), CHUNK):
            part = slice(start, start + CHUNK)
            blocks = [run.all_scores[part] for run in runs]
            scores = _mean(blocks, [run.path for run in runs])  # refuses what are no probabilities
            if "fusion" in header:
                scores = fusion.fuse(blocks, method, weights)
            top, top_scores = topk_from_scores(scores, first.arrays.top.shape[1])
            writer.write(
                first.arrays.names[part],
                None if first.labels is None else first.labels[part],
                top,
                top_scores,
                _joint_problems(runs, part),
                all_scores=scores,
            )
    return load_run(out)


def _mean(blocks, paths):
    total = np.zeros(blocks[0].shape, np.float64)
    for block, path in zip(blocks, paths):
        if block.min(initial=0) < 0 or np.abs(block.sum(axis=1, dtype=np.float64) - 1).max(initial=0) > SUM_TOLERANCE:
            raise DataError(
                f"{path}: its scores are not probabilities; the mean of logits of different networks means nothing"
            )
        total += block
    return (total / len(blocks)).astype(np.float32)


def _joint_problems(runs, part):
    return [next(filter(None, reasons), None) for reasons in zip(*(run.arrays.problems[part] for run in runs))]
