"""Errors and other figures of predictions, as pure functions of arrays.

Everywhere: `labels` are int[n], `top` are class ids [n, k] with the best first (-1: no class), `wrong` is bool[n].
Errors are fractions 0..1. What has no images has no figure: an empty set, or a class without images, gives NaN, and
means over classes leave absent classes out (they are counted, so that a caller can say how many).
"""

from typing import NamedTuple

import numpy as np


def topk_wrong(labels, top, k):
    """bool[n]: the label is not among the first k ids. k above the ids that there are must mean "all classes": see
    `check_k`."""
    labels, top = np.asarray(labels), np.asarray(top)
    if k < 1:
        raise ValueError(f"k is {k}")
    return ~(top[:, :k] == labels[:, None]).any(axis=1)


def check_k(k, stored, num_classes):
    """The number of ids to look at for top-k when `stored` ids an image are at hand; ValueError if that cannot be
    answered.

    With k at or above the number of classes every label is among the best k.
    """
    if k > stored and stored < num_classes:
        raise ValueError(f"top-{k} needs {k} ids an image, the predictions hold {stored}")
    return min(k, stored)


def placeholders(labels):
    """Whether `labels` look like what fills a list without labels: of several images, each one's is 0.

    Upstream's loader appends " 0" to each line of the test list, and then tells an error.
    """
    return len(labels) > 1 and not np.any(labels)


def error_rate(wrong):
    """Share of wrong images; NaN for none."""
    wrong = np.asarray(wrong)
    return float(np.count_nonzero(wrong) / wrong.size) if wrong.size else float("nan")


def class_counts(labels, num_classes):
    """int64[classes]: images of each class."""
    return np.bincount(np.asarray(labels, np.int64), minlength=num_classes)


def class_errors(labels, wrong, num_classes):
    """float64[classes]: error rate of each class, NaN for a class without images."""
    counts = class_counts(labels, num_classes)
    missed = np.bincount(np.asarray(labels, np.int64), weights=np.asarray(wrong, np.float64), minlength=num_classes)
    return np.divide(missed, counts, out=np.full(len(counts), np.nan), where=counts > 0)


def balanced_error(labels, wrong, num_classes):
    """Mean over the classes that have images of their error rates; NaN if none has."""
    errors = class_errors(labels, wrong, num_classes)
    present = errors[~np.isnan(errors)]
    # Added one by one from class 0, as upstream's loop does, so that the last digit is the same too.
    return float(np.add.accumulate(present)[-1] / len(present)) if len(present) else float("nan")


def error_rates(labels, top, num_classes=None, ks=(1, 5)):
    """{'top1': .., 'balanced_top1': .., 'top5': .., 'balanced_top5': ..} for the ks asked for.

    Without `num_classes` there are as many classes as the labels and ids need.
    """
    top = np.asarray(top)
    size = num_classes or int(max(np.max(labels, initial=-1), np.max(top, initial=-1))) + 1
    rates = {}
    for k in ks:
        wrong = topk_wrong(labels, top, check_k(k, top.shape[1], size))
        rates[f"top{k}"] = error_rate(wrong)
        rates[f"balanced_top{k}"] = balanced_error(labels, wrong, size)
    return rates


class ClassScores(NamedTuple):
    """Precision, recall and F1 of each class of `classes`, and how many images each has (`support`)."""

    classes: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray

    def average(self, kind):
        """(precision, recall, F1) over the classes: 'macro' counts each class once, 'weighted' by its images."""
        if not len(self.classes):
            return (float("nan"),) * 3
        weights = self.support if kind == "weighted" else np.ones(len(self.classes))
        if kind not in ("macro", "weighted"):
            raise ValueError(f"average {kind!r}; there are 'macro' and 'weighted', and `micro_scores`")
        total = weights.sum()
        return tuple(float(np.dot(values, weights) / total) for values in (self.precision, self.recall, self.f1))


def class_scores(labels, predicted, num_classes=None):
    """Precision, recall and F1 of every class that occurs among the labels or the predictions.

    As scikit-learn with zero_division=0: a figure without a denominator is 0. A class that is neither a label nor
    predicted does not enter.
    """
    labels, predicted = np.asarray(labels, np.int64), np.asarray(predicted, np.int64)
    size = num_classes or int(max(np.max(labels, initial=-1), np.max(predicted, initial=-1))) + 1
    support, named = np.bincount(labels, minlength=size), np.bincount(predicted[predicted >= 0], minlength=size)
    right = np.bincount(labels[labels == predicted], minlength=size)
    classes = np.flatnonzero(support + named)
    support, named, right = support[classes], named[classes], right[classes]
    precision, recall = _ratio(right, named), _ratio(right, support)
    return ClassScores(classes, precision, recall, _ratio(2 * right, support + named), support)


def micro_scores(labels, predicted):
    """(precision, recall, F1) over all images together: with one label an image all three are the accuracy."""
    accuracy = 1 - error_rate(np.asarray(labels) != np.asarray(predicted))
    return accuracy, accuracy, accuracy


def _ratio(part, whole):
    return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)


class Confusion(NamedTuple):
    label: int
    predicted: int
    count: int
    share: float  # of the images of `label`


def confusion_pairs(labels, predicted, limit=None):
    """The pairs (label, other class predicted) that occur, most frequent first, then by ids; at most `limit`."""
    labels, predicted = np.asarray(labels, np.int64), np.asarray(predicted, np.int64)
    if not len(labels):
        return []
    size = int(max(labels.max(), predicted.max())) + 1
    support = np.bincount(labels, minlength=size)
    off = (labels != predicted) & (predicted >= 0)
    pairs, counts = np.unique(labels[off] * size + predicted[off], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:limit]
    return [
        Confusion(
            int(pairs[i] // size), int(pairs[i] % size), int(counts[i]), float(counts[i] / support[pairs[i] // size])
        )
        for i in order
    ]


def log_loss(labels, scores):
    """Mean of -log(probability of the label) over scores[n, classes] that are probabilities; clipped at the smallest
    float32."""
    own = np.take_along_axis(np.asarray(scores), np.asarray(labels)[:, None], 1).astype(np.float64)
    return float(-np.log(np.maximum(own, np.finfo(np.float32).tiny)).mean()) if len(own) else float("nan")
