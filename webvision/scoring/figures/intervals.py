"""How sure an error rate is: bootstrap intervals, and the paired comparison of two runs on the same images."""

import math
from typing import NamedTuple

import numpy as np

from webvision.scoring.figures.metrics import balanced_error, error_rate

RESAMPLES = 1000
LEVEL = 0.95


class Interval(NamedTuple):
    low: float
    high: float


def error_interval(wrong, *, resamples=RESAMPLES, level=LEVEL, seed=0):
    """Percentile bootstrap interval of the plain error.

    A resample of n images with the error rate p has Binomial(n, p) errors: the same distribution as drawing the
    images, without the drawing. (nan, nan) for no images.
    """
    n, missed = len(wrong), int(np.count_nonzero(wrong))
    if not n:
        return Interval(float("nan"), float("nan"))
    return _percentiles(np.random.default_rng(seed).binomial(n, missed / n, resamples) / n, level)


def balanced_interval(labels, wrong, num_classes, *, resamples=RESAMPLES, level=LEVEL, seed=0):
    """The same for the class-balanced error: each class is resampled within itself, so that every class stays
    present."""
    counts, missed = _class_table(labels, wrong, num_classes)
    if not len(counts):
        return Interval(float("nan"), float("nan"))
    rates = missed / counts
    open_classes = (rates > 0) & (rates < 1)  # the others give the same rate in every resample
    rng = np.random.default_rng(seed)
    totals = np.full(resamples, rates[~open_classes].sum())
    for block in np.array_split(np.flatnonzero(open_classes), max(1, len(counts) // 500)):
        totals += (rng.binomial(counts[block], rates[block], (resamples, len(block))) / counts[block]).sum(axis=1)
    return _percentiles(totals / len(counts), level)


class Comparison(NamedTuple):
    """Run A against run B on the same images; `difference` is A's error minus B's, so positive means that B is
    better."""

    error_a: float
    error_b: float
    difference: float
    interval: Interval
    only_a_wrong: int
    only_b_wrong: int
    p_value: float  # exact McNemar test of equal plain errors
    balanced_a: float
    balanced_b: float
    balanced_difference: float
    balanced_interval: Interval


def compare(labels, wrong_a, wrong_b, num_classes, *, resamples=RESAMPLES, level=LEVEL, seed=0):
    """Compare two runs image by image: what both do right or wrong together cancels out, so small differences show."""
    wrong_a, wrong_b = np.asarray(wrong_a, bool), np.asarray(wrong_b, bool)
    delta = wrong_a.astype(np.int64) - wrong_b
    only_a, only_b, n = int(np.count_nonzero(delta > 0)), int(np.count_nonzero(delta < 0)), len(delta)
    rng = np.random.default_rng(seed)
    interval = Interval(float("nan"), float("nan"))
    if n:
        draws = rng.multinomial(n, [only_a / n, only_b / n, (n - only_a - only_b) / n], resamples)
        interval = _percentiles((draws[:, 0] - draws[:, 1]) / n, level)
    error_a, error_b = error_rate(wrong_a), error_rate(wrong_b)
    balanced_a, balanced_b = (balanced_error(labels, wrong, num_classes) for wrong in (wrong_a, wrong_b))
    return Comparison(
        error_a,
        error_b,
        error_a - error_b,
        interval,
        only_a,
        only_b,
        mcnemar(only_a, only_b),
        balanced_a,
        balanced_b,
        balanced_a - balanced_b,
        _balanced_difference_interval(labels, delta, num_classes, rng, resamples, level),
    )


def _balanced_difference_interval(labels, delta, num_classes, rng, resamples, level):
    counts, plus = _class_table(labels, delta > 0, num_classes)
    _, minus = _class_table(labels, delta < 0, num_classes)
    if not len(counts):
        return Interval(float("nan"), float("nan"))
    totals = np.zeros(resamples)
    for n, a, b in zip(counts, plus, minus):
        if a or b:
            draws = rng.multinomial(n, [a / n, b / n, (n - a - b) / n], resamples)
            totals += (draws[:, 0] - draws[:, 1]) / n
    return _percentiles(totals / len(counts), level)


def mcnemar(only_a, only_b):
    """Two-sided exact p-value that `only_a` and `only_b` come from a fair coin; 1 when there is nothing to tell them
    apart."""
    n, k = only_a + only_b, min(only_a, only_b)
    if n == 0:
        return 1.0
    logs = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) - n * math.log(2) for i in range(k + 1)]
    return min(1.0, 2 * math.fsum(map(math.exp, logs)))


def _class_table(labels, wrong, num_classes):
    """(images, wrong images) of the classes that have images."""
    labels = np.asarray(labels, np.int64)
    counts = np.bincount(labels, minlength=num_classes)
    missed = np.bincount(labels[np.asarray(wrong, bool)], minlength=len(counts))
    return counts[counts > 0], missed[counts > 0]


def _percentiles(values, level):
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))
