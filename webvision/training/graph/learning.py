"""What the parts of a recipe need around the graph of a run: what is fed, what runs with each step, what is saved."""

import os

import numpy as np

from webvision.errors import DataError, UsageError, printable
from webvision.scoring.predictions.margins_file import Margins, read_margins
from webvision.training.parts import early_learning, mixing, neighbours
from webvision.training.parts.averages import Averages
from webvision.training.parts.loss_scale import LossScale
from webvision.training.parts.margins import MarginKeeper
from webvision.training.parts.step_number import StepNumber


class Feed:
    """The arrays of a run's batches in the order of a Classifier's inputs, with what its recipe's parts need."""

    def __init__(self, model, *, seed, first_step=0, weights=None):
        """`weights`: of the rows of the list, float32, their mean 1 over the entries of a pass."""
        self._fed, self._recipe = model.fed, model.recipe
        self._seed, self._step, self._weights = seed, first_step, weights

    def __call__(self, batch):
        """Of the next batch; each is asked for once, in order."""
        arrays = [batch.images, batch.labels, *(self._extra(name, batch) for name in self._fed)]
        self._step += 1
        return arrays

    def _extra(self, name, batch):
        if name == "shares":
            return mixing.own_shares(self._seed, self._step, len(batch.labels), self._recipe.mixup)
        return self._weights[batch.shown] if name == "weights" else getattr(batch, name)


class Learning:
    """The state of a recipe's parts in one run."""

    def __init__(self, model, *, rows):
        """`model`: the Classifier; `rows` of the list."""
        recipe = model.recipe
        self._model = model
        self.margins = Margins(rows) if recipe.margins else None
        self.averages = None

    def callbacks(self, network_variables):
        """In the order in which they change state after a step; all stand before the one that saves."""
        model, callbacks = self._model, [StepNumber()]
        if model.scaled is not None:
            callbacks.append(LossScale(lambda: model.scaled.finite))
        if model.queue is not None:
            callbacks.append(
                neighbours.AfterTowers(
                    neighbours.QUEUED,
                    neighbours.READ,
                    lambda found: model.queue.replace_oldest(
                        neighbours.Bank(*(found[name] for name in neighbours.QUEUED))
                    ),
                )
            )
        if model.memory is not None:
            rows, targets = early_learning.ROWS, early_learning.TARGETS
            callbacks.append(
                neighbours.AfterTowers(
                    (rows, targets), early_learning.READ, lambda found: model.memory.write(found[rows], found[targets])
                )
            )
        if self.margins is not None:
            callbacks.append(MarginKeeper(self.margins))
        if model.recipe.averages:
            half_life = max(100.0, model.recipe.averages * model.recipe.total_steps)
            self.averages = Averages(network_variables, half_life=half_life)
            callbacks.append(self.averages)
        return callbacks

    def save_beside(self, prefix):
        """Write what is not in the graph beside the checkpoint `prefix`."""
        if self.margins is not None:
            self.margins.save(margins_path(prefix))

    def restore_beside(self, prefix):
        """Take back what `save_beside` wrote."""
        if self.margins is not None:
            kept = read_margins(margins_path(prefix), len(self.margins))
            self.margins.sums, self.margins.counts = kept.sums, kept.counts


def margins_path(prefix):
    """The margins of the checkpoint `prefix`."""
    return os.fspath(prefix) + ".margins.npz"


def check_towers(recipe, towers):
    """UsageError where pictures that belong together would be in different towers."""
    if recipe.mixup and recipe.batch // towers % 2:
        raise UsageError(
            f"mixup mixes pairs of pictures: --batch {recipe.batch} over {towers} towers gives each an odd number"
        )


def weights_of(path, index, shown):
    """(weight of each row, float32 in the mean 1 over the entries of a pass; what the entries of each class weigh).

    `shown`: entries of each class in a pass. Without a `path` there are no weights, and entries count as they are.
    """
    if path is None:
        return None, shown
    try:
        weights = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{printable(path)}: no NumPy array ({error}); it is FILE.npy with a number for each row"
        ) from None
    if weights.shape != (len(index),) or weights.dtype.kind not in "fiub":
        raise DataError(
            f"{printable(path)}: {weights.dtype}{weights.shape}; the list has {len(index)} rows, a number each"
        )
    weights = weights.astype(np.float64)
    if not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise DataError(f"{printable(path)}: weights are finite, at least 0, and not all 0")
    labels = np.asarray(index.labels, np.int64)
    repeated = np.asarray(shown, np.float64) / np.maximum(index.counts, 1)
    counted = np.bincount(labels, weights * repeated[labels], minlength=len(shown))
    return (weights * np.sum(shown) / counted.sum()).astype(np.float32), counted.tolist()
