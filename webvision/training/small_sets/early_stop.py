"""When to end a run that no longer gets better, and when its rate falls: decided from the recorded history alone.

The figures of every epoch stand in stats.json; a run that was killed and goes on sees the same ones, so it stops after
the same epoch as one that nobody disturbed. A figure that is missing or not finite is never better; of equal ones the
earlier is the best.
"""

import math
from dataclasses import dataclass

# Figures of the validation, and whether more is better. Errors and losses fall, accuracies rise.
HIGHER_IS_BETTER = {
    "val-error-top1": False,
    "val-error-top5": False,
    "val-balanced-error-top1": False,
    "val-balanced-error-top5": False,
    "val-loss": False,
    "val-accuracy-top1": True,
    "val-accuracy-top5": True,
}


@dataclass(frozen=True)
class Patience:
    """How long a run may go on without getting better."""

    figure: str = "val-error-top1"  # the seed's: validation accuracy
    epochs: int = 7  # validated since the best
    min_delta: float = 0.0  # an improvement is more than this
    not_before: int = 0  # epochs of warm-up, in which nothing ends

    def __post_init__(self):
        if self.figure not in HIGHER_IS_BETTER:
            raise ValueError(f"no figure {self.figure!r} is measured; there are {', '.join(HIGHER_IS_BETTER)}")
        if self.epochs < 1 or not self.min_delta >= 0:
            raise ValueError("patience is at least one epoch, and an improvement at least 0")


@dataclass(frozen=True)
class Standing:
    """How a history stands: the best epoch (from 1; 0 if there is none), its figure, epochs since."""

    best_epoch: int = 0
    best: float | None = None
    since: int = 0


def standing(history, patience):
    """The Standing of `history`, the figures of each validated epoch in order."""
    best_epoch, best = 0, None
    for epoch, figures in enumerate(history, 1):
        value = figures.get(patience.figure)
        if _better(value, best, patience):
            best_epoch, best = epoch, float(value)
    return Standing(best_epoch, best, len(history) - best_epoch)


def _better(value, best, patience):
    if type(value) not in (int, float) or not math.isfinite(value):
        return False
    if best is None:
        return True
    gain = value - best if HIGHER_IS_BETTER[patience.figure] else best - value
    return gain > patience.min_delta


def is_over(history, patience):
    """Whether the run ends after the last epoch of `history`."""
    return len(history) > patience.not_before and standing(history, patience).since >= patience.epochs


def falls(history, patience, *, plateau):
    """How often the rate has fallen by the end of `history`: each time `plateau` epochs in a row brought nothing better
    than all before, counted anew after each fall."""
    count, best, since = 0, None, 0
    for epoch, figures in enumerate(history, 1):
        value = figures.get(patience.figure)
        if _better(value, best, patience):
            best, since = float(value), 0
        else:
            since += 1
        if since >= plateau and epoch > patience.not_before:
            count, since = count + 1, 0
    return count
