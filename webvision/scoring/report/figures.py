"""The numbers of the report: classes, their frequency in training, suspicious labels. Arrays in, plain values out."""

from typing import NamedTuple

import numpy as np

from webvision.scoring.figures import metrics, scorecard

FREQUENCY_BINS = 10
LEAST_IMAGES = 4  # a class with fewer is hard or easy by luck


class FrequencyBin(NamedTuple):
    """Classes that are about equally frequent in training."""

    low: int  # fewest training images of a class in the bin
    high: int
    classes: int
    top1: float  # means of the classes' errors
    top5: float


class FrequencyEffect(NamedTuple):
    bins: list[FrequencyBin]
    rare: float  # mean top-1 error of the rarest fifth of the classes
    frequent: float  # of the most frequent fifth
    ratio: float  # training images of the most frequent class for each of the rarest one's


def error_by_frequency(train_counts, errors1, errors5, bins=FREQUENCY_BINS):
    """How the errors of classes depend on their training images; None when all classes have equally many, or there are
    too few."""
    train_counts = np.asarray(train_counts, np.int64)
    known = np.flatnonzero(~np.isnan(errors1))
    order = known[np.argsort(train_counts[known], kind="stable")]
    if len(order) < 2 or train_counts[order[0]] == train_counts[order[-1]]:
        return None
    found = []
    for part in np.array_split(order, min(bins, len(order))):
        found.append(
            FrequencyBin(
                int(train_counts[part].min()),
                int(train_counts[part].max()),
                len(part),
                float(errors1[part].mean()),
                float(errors5[part].mean()),
            )
        )
    fifth = max(1, len(order) // 5)
    return FrequencyEffect(
        found,
        float(errors1[order[:fifth]].mean()),
        float(errors1[order[-fifth:]].mean()),
        float(train_counts[order[-1]] / max(1, train_counts[order[0]])),
    )


class ClassTable(NamedTuple):
    """Columns over the classes; NaN where a class has no images, -1 where there is no such class."""

    images: np.ndarray
    errors1: np.ndarray
    errors5: np.ndarray
    precision: np.ndarray
    f1: np.ndarray
    taken_for: np.ndarray  # the class that its images are most often mistaken for
    taken_count: np.ndarray


def class_table(run, wrong1, wrong5):
    """The figures of every class of `run`."""
    labels, predicted, size = run.labels, run.arrays.top[:, 0], run.class_range
    found = metrics.class_scores(labels, predicted, size)
    precision, f1 = np.full(size, np.nan), np.full(size, np.nan)
    precision[found.classes], f1[found.classes] = found.precision, found.f1
    taken_for, taken_count = np.full(size, -1), np.zeros(size, np.int64)
    for pair in reversed(
        metrics.confusion_pairs(labels, predicted)
    ):  # the most frequent pair of a class is written last
        taken_for[pair.label], taken_count[pair.label] = pair.predicted, pair.count
    return ClassTable(
        metrics.class_counts(labels, size),
        metrics.class_errors(labels, wrong1, size),
        metrics.class_errors(labels, wrong5, size),
        precision,
        f1,
        taken_for,
        taken_count,
    )


def label_probabilities(run):
    """float[n]: the probability given to each label. Where it is not among the stored ids, the most that it can be."""
    if run.all_scores is not None:
        return np.take_along_axis(run.all_scores, run.labels[:, None], 1)[:, 0].astype(np.float64)
    scores = run.arrays.scores.astype(np.float64)
    hit = run.arrays.top == run.labels[:, None]
    bound = np.clip(np.minimum(scores[:, -1], 1 - scores.sum(axis=1)), 0, 1)
    return np.where(hit.any(axis=1), (scores * hit).sum(axis=1), bound)


def confident_mistakes(run, limit):
    """Rows of readable images with a wrong first class, the surest first."""
    rows = np.flatnonzero((run.arrays.top[:, 0] != run.labels) & readable(run))
    return rows[np.argsort(-run.arrays.scores[rows, 0], kind="stable")][:limit].tolist()


def probable_label_errors(run):
    """[(row, margin)] of the images whose label is probably wrong, the most probable first.

    A label is suspect when the network gives another class at least the probability that it gives to images labelled
    as that class on average (confident learning, Northcutt et al. 2021). Suspects are ordered by the margin: how much
    more probable that class is than the label, which on images that the network learned from is an order by loss.
    """
    own = label_probabilities(run)
    predicted, sure = run.arrays.top[:, 0], run.arrays.scores[:, 0].astype(np.float64)
    size, seen = run.class_range, readable(run)
    counts = metrics.class_counts(run.labels[seen], size)
    usual = np.bincount(run.labels[seen], weights=own[seen], minlength=size) / np.maximum(counts, 1)
    suspect = np.flatnonzero((predicted != run.labels) & (sure >= usual[predicted]) & (counts[predicted] > 0) & seen)
    margin = (sure - own)[suspect]
    order = np.argsort(-margin, kind="stable")
    return list(zip(suspect[order].tolist(), margin[order].tolist()))


def hardest_classes(run, table, limit, images_each):
    """[(class, rows of its mistakes, surest first)] for the classes with the highest top-1 error.

    Classes with fewer than `LEAST_IMAGES` images are passed over, unless all have so few.
    """
    least = min(LEAST_IMAGES, int(np.max(table.images, initial=0)))
    candidates = np.flatnonzero((table.images >= max(1, least)) & (table.errors1 > 0))
    worst = candidates[np.lexsort((-table.images[candidates], -table.errors1[candidates]))][:limit]
    mistakes = np.array(confident_mistakes(run, None), np.int64)
    return [(int(c), mistakes[run.labels[mistakes] == c][:images_each].tolist()) for c in worst]


def readable(run):
    """bool[n]: the picture could be read, so that its prediction is of the picture."""
    return ~scorecard.unreadable(run)
