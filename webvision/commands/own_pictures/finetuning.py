"""The fine-tuning's stage: the whole network trained on from the probe, as a run like any other in the run's folder."""

import os
import shlex
import sys
from dataclasses import dataclass, replace

from webvision import faults
from webvision.data.loader.batches import EvalBatches, TrainBatches
from webvision.data.loader.spec import BatchSpec
from webvision.data.pictures import decode
from webvision.data.views.augment import Augmentation
from webvision.errors import CheckpointError, printable
from webvision.files import read_json, write_json
from webvision.training.recipes import Recipe

FEW = 500  # pictures a class, below which batch norm's statistics stay those of the first weights
SEED_RATE = 1e-3  # the documented default
SCRATCH_RATE_PER_256 = 0.1  # where there are no weights to be careful with
RANGE = "range.json"
_RANGE_BATCH = 16
# Light: what the thing is must stay on the picture, and its colours tell something.
VIEW = Augmentation(area=(0.35, 1.0), brightness=(0.8, 1.2), contrast=(0.8, 1.2), saturation=0.2, lighting=0.05)


@dataclass(frozen=True)
class Tuned:
    """What the fine-tuning's stage left behind."""

    weights: str  # the best checkpoint
    accuracy: float  # on val


@dataclass(frozen=True)
class Tuning:
    """How a network is fine-tuned, as the documented flags say it."""

    epochs: int = 100
    lr: float | None = None  # None: the documented rate, or less if that is not safe
    optimizer: str = "sgd"
    momentum: float = 0.9
    patience: int = 7  # 0: never ends early
    seed: int = 0
    hang_limit: float | None = None

    def __call__(self, wanted, start, sets, card, probed, computing, say):
        """Train in the run's folder, or go on there; returns the Tuned."""
        from webvision.training import job
        from webvision.training.fit import fit

        recipe = self.recipe(start, sets["train"], wanted.batch)
        begin, new_head = _first_weights(wanted.run, start, probed)
        recipe = replace(recipe, lr=self._rate(wanted, start, sets, begin, recipe, computing, probed, say))
        order = sets["train"].order(recipe.balance, seed=self.seed)
        recipe = replace(recipe, epoch_size=len(order))
        spec = BatchSpec(replace(recipe.view, image_size=start.network.image_size), recipe.batch)

        def train_batches(samples_seen):
            return TrainBatches(sets["train"], order, spec, workers=wanted.workers, start=samples_seen)

        val = EvalBatches(sets["val"], BatchSpec(card.preset, wanted.batch), workers=wanted.workers)
        fit(
            job.Job(
                folder=wanted.run,
                description=self._description(start, sets["train"], card, recipe, computing, wanted, len(order)),
                network=start.network,
                card=card,
                recipe=recipe,
                pictures=job.Pictures(sets["train"].index.hash, len(order), spec, train_batches, val),
                computing=computing,
                start=job.Start(self.seed, begin, new_head=new_head),
                keeping=job.Keeping(last=2),
                ending=job.Ending(hang_limit=self.hang_limit),
            )
        )
        return _best(wanted.run)

    def recipe(self, start, train, batch):
        """The Recipe for these pictures: careful with weights that are good, plain without any."""
        careful = start.weights is not None
        return Recipe(
            name="own-pictures",
            epochs=self.epochs,
            batch=min(batch, len(train.index)),
            schedule="plateau",
            lr=self.lr or SEED_RATE,
            optimizer=self.optimizer,
            momentum=self.momentum,
            patience=self.patience,
            frozen_statistics=careful and int(train.index.counts.min()) < FEW,
            head_rate=3.0 if careful else 1.0,
            depth_decay=2.6 if careful else 1.0,
            view=VIEW,
            balance="sqrt",
            label_smoothing=0.1,
        )

    def _rate(self, wanted, start, sets, begin, recipe, computing, probed, say):
        """The learning rate: what was typed; else the documented one, or less where a few steps show it is unsafe."""
        if self.lr is not None:
            return self.lr
        if start.weights is None:
            rate = SCRATCH_RATE_PER_256 * recipe.batch / 256
            say(f"learning rate {rate:g}: from scratch, 0.1 for each 256 of the batch (--lr chooses another)")
            return rate
        if probed is None:
            return SEED_RATE
        path = os.path.join(wanted.run, RANGE)
        try:
            return float(read_json(path)["rate"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            pass
        losses = self._range_test(wanted, start, sets, begin, recipe, computing)
        from webvision.training.small_sets.range_test import safe_rate

        rate = safe_rate(SEED_RATE, losses)
        faults.point("own-stage")
        write_json(path, {"rate": rate, "losses": [round(loss, 4) for loss in losses]})
        if rate < SEED_RATE:
            say(f"learning rate {rate:.2g}: at {SEED_RATE:g} the loss rose within a few steps")
        return rate

    def _range_test(self, wanted, start, sets, begin, recipe, computing):
        from webvision.training.graph.objective import Classifier
        from webvision.training.small_sets.range_test import STEPS, measure

        batch = min(_RANGE_BATCH, recipe.batch)
        spec = BatchSpec(replace(recipe.view, image_size=start.network.image_size), batch)
        order = sets["train"].order(recipe.balance, seed=self.seed)
        frozen = _frozen_scope() if recipe.frozen_statistics else None
        model = Classifier(
            start.network,
            computing.arithmetic,
            preset=start.preset,
            recipe=recipe,
            seed=self.seed,
            batch_norm_scope=frozen,
        )
        batches = TrainBatches(sets["train"], order, spec, workers=0)
        try:
            return measure(
                model, begin, (batch for _, batch in zip(range(STEPS), batches)), SEED_RATE, computing.devices
            )
        finally:
            batches.close()

    def _description(self, start, train, card, recipe, computing, wanted, entries):
        from webvision.training.state.run_folder import describe_run

        return describe_run(
            command=shlex.join(["python3", *sys.argv]),
            index=train.index,
            classes=card.classes,
            network=start.network,
            recipe=recipe,
            arithmetic=computing.arithmetic,
            balance=recipe.balance,
            seed=self.seed,
            class_counts=train.index.counts.tolist(),
            entries=entries,
            towers=computing.devices.count,
            device=computing.devices.kind,
            workers=wanted.workers,
            decoder=decode.describe(),
        )


def _frozen_scope():
    from tensorpack.models import BatchNorm
    from tensorpack.tfutils.argscope import argscope

    return lambda: argscope(BatchNorm, training=False)


def _first_weights(run, start, probed):
    """(file to load or None, whether its last layer has other classes)."""
    if probed is not None:
        return probed.weights, False
    return (start.weights.path, True) if start.weights is not None else (None, False)


def _best(run):
    """The Tuned of a finished run: its best checkpoint, and that one's accuracy in the history."""
    try:
        best = read_json(os.path.join(run, "best.json"))
        history = read_json(os.path.join(run, "stats.json"))
        (figures,) = [entry for entry in history if entry.get("global_step") == best["step"]]
        return Tuned(os.path.join(run, f"model-{best['step']}"), 1 - figures["val-error-top1"])
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{printable(run)}: the figures of the best epoch are missing ({error}); name another folder and "
            "train again"
        ) from None
