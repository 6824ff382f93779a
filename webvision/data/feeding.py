"""Batches for any framework: what `from webvision.data import DataSet, batches` gives.

>>> data = DataSet.open("DIR")
>>> with batches(data.split("train"), 64, balance="upsample", workers=4) as training:
...     for batch in training:                  # for ever; images uint8 [64, 224, 224, 3], labels int32 [64]
...         step(batch.images, batch.labels)
>>> with batches(data.split("val"), 64, "webvision") as validation:
...     for batch in validation: ...            # each picture once, in the list's order
"""

import contextlib
from collections.abc import Iterator

from webvision.data.data_set import Split
from webvision.data.loader.batches import EvalBatches, TrainBatches
from webvision.data.loader.spec import BatchSpec
from webvision.data.views.augment import Augmentation
from webvision.data.views.presets import PRESETS, Preset


@contextlib.contextmanager
def batches(
    split: Split,
    size: int,
    view: Augmentation | Preset | str | None = None,
    *,
    balance: str = "none",
    seed: int = 0,
    start: int = 0,
    workers: int = 0,
    rank: int = 0,
    ranks: int = 1,
    max_bad: float = 0.01,
) -> Iterator[TrainBatches | EvalBatches]:
    """Batches of `size` pictures of a split, seen through `view`; the loader's processes end with the `with` block.

    With an Augmentation (the default) they are for training and do not end: shuffled anew every epoch, classes balanced
    as `balance` says, from sample number `start` of the run with `seed` on, every `ranks`-th batch. With a Preset, or
    the name of one, each picture comes once, in the list's order; one that cannot be read is grey and its `status` says
    so. `images` are uint8, BGR, [n, height, width, 3]; an array of them stays as it is for as long as it is held.
    """
    view = PRESETS[view] if isinstance(view, str) else view or Augmentation()
    spec = BatchSpec(view, size)
    loader: TrainBatches | EvalBatches
    if isinstance(view, Preset):
        loader = EvalBatches(split, spec, workers=workers)
    else:
        order = split.order(balance, seed=seed)
        loader = TrainBatches(split, order, spec, workers=workers, start=start, rank=rank, ranks=ranks, max_bad=max_bad)
    with contextlib.closing(loader):
        yield loader
