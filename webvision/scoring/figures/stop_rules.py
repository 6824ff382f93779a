"""When a run has reached its goal, which of two evaluations is better, and DI-engine's figures.

DI-engine called every figure "the more the better", the loss included, and averaged over batches of unequal size;
here each metric knows its direction, and every image weighs the same.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from webvision.scoring.predictions.ranking import label_ranks


@dataclass(frozen=True)
class Metric:
    """What a figure is: accuracies are percentages and grow, errors are fractions and shrink, as does the loss."""

    higher_is_better: bool
    percent: bool = False


_ACCURACY, _ERROR = Metric(True, percent=True), Metric(False)
METRICS = {
    "top1": _ACCURACY,
    "top5": _ACCURACY,
    "acc1": _ACCURACY,
    "acc5": _ACCURACY,
    "balanced_top1": _ACCURACY,
    "balanced_top5": _ACCURACY,
    "val-error-top1": _ERROR,
    "val-error-top5": _ERROR,
    "train-error-top1": _ERROR,
    "train-error-top5": _ERROR,
    "val-balanced-error-top1": _ERROR,
    "val-balanced-error-top5": _ERROR,
    "loss": Metric(False),
}


def with_accuracies(figures):
    """`figures` by the names of goals too: val-error-top1 0.25 gives top1 and acc1 75, val-loss gives loss."""
    found = dict(figures)
    if "val-loss" in figures:
        found["loss"] = figures["val-loss"]
    for k in (1, 5):
        for error, names in (
            (f"val-error-top{k}", (f"top{k}", f"acc{k}")),
            (f"val-balanced-error-top{k}", (f"balanced_top{k}",)),
        ):
            if error in figures:
                found |= dict.fromkeys(names, 100 * (1 - figures[error]))
    return found


def better(name, new, old):
    """Whether `new` is a better value of the metric `name` than `old` (None: there is none yet). NaN is never
    better."""
    if math.isnan(new):
        return False
    if old is None or math.isnan(old):
        return True
    return new > old if METRICS[name].higher_is_better else new < old


@dataclass(frozen=True)
class StopRule:
    """Reached when every metric of `targets` is at its target or beyond it, in that metric's own direction."""

    targets: Mapping[str, float]

    def reached(self, figures):
        """`figures` maps metric names to values; ValueError when one of the targets is missing among them."""
        if missing := [name for name in self.targets if name not in figures]:
            raise ValueError(f"the evaluation gave no {', '.join(missing)}")
        return all(
            figures[name] == target or better(name, figures[name], target) for name, target in self.targets.items()
        )

    def __str__(self):
        return ", ".join(
            f"{name} {'>=' if METRICS[name].higher_is_better else '<='} {target:g}"
            for name, target in self.targets.items()
        )


def parse_stop_at(text):
    """The StopRule in `--stop-at top1=75,top5=95`; ValueError with the reason."""
    targets = {}
    for part in text.split(","):
        name, equals, value = part.strip().partition("=")
        if not equals or name not in METRICS:
            raise ValueError(f"{part.strip()!r}: NAME=VALUE is expected, with one of {', '.join(METRICS)}")
        if name in targets:
            raise ValueError(f"{name} is named twice")
        try:
            targets[name] = float(value)
        except ValueError:
            raise ValueError(f"{name}={value}: {value!r} is not a number") from None
        _check_target(name, targets[name])
    return StopRule(targets)


def _check_target(name, value):
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{name}={value:g}: not a value that {name} can reach")
    if METRICS[name].percent and (0 < value < 1 or value > 100):
        raise ValueError(
            f"{name}={value:g}: {name} is a percentage, 1 to 100" + (f"; {100 * value:g}?" if value < 1 else "")
        )
    if METRICS[name] is _ERROR and value > 1:
        raise ValueError(
            f"{name}={value:g}: {name} is a fraction, 0 to 1" + (f"; {value / 100:g}?" if value <= 100 else "")
        )


NO_RANK = 1 << 30  # below every k


class ImageMeans:
    """{'acc1', 'acc5', 'loss'} over images: the accuracies in percent, the mean cross-entropy of logits."""

    def __init__(self):
        self.images = 0
        self._hits1 = self._hits5 = 0
        self._loss = 0.0

    def add(self, logits, labels, *, unreadable=False):
        """Count a batch of any size: logits[n, classes], labels[n]. DataError for NaN.

        `unreadable`: bool[n], of which images the logits say nothing: no hits, whatever they are.
        """
        ranks = np.where(unreadable, NO_RANK, label_ranks(labels, logits))
        logits = np.asarray(logits, np.float64)
        shifted = logits - logits.max(axis=1, keepdims=True, initial=-np.inf)
        own = np.take_along_axis(shifted, np.asarray(labels)[:, None], 1)[:, 0]
        self._loss += float(np.sum(np.log(np.exp(shifted).sum(axis=1)) - own))
        self._hits1 += int(np.count_nonzero(ranks < 1))
        self._hits5 += int(np.count_nonzero(ranks < 5))
        self.images += len(ranks)

    def result(self):
        """The three figures; NaN before the first image."""
        if not self.images:
            return dict.fromkeys(("acc1", "acc5", "loss"), math.nan)
        return {
            "acc1": 100 * self._hits1 / self.images,
            "acc5": 100 * self._hits5 / self.images,
            "loss": self._loss / self.images,
        }
