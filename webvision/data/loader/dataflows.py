"""The loader's tensorpack face: DataFlows that feed QueueInput and FeedInput unchanged. The work is in batches.py.

index = open_index(".../meta/train.txt", num_classes)
order = EpochOrder(index, targets(index.counts, parse_balance("upsample")), seed=1)
flow = TrainLoader(index, order, ".../train", AUGMENTATIONS["webvision"], batch=256, workers=8, start=position)
...
flow.close()
"""

from webvision import compat  # noqa: F401  (TensorFlow's environment, before tensorpack imports it)
from webvision.data.loader.batches import EvalBatches, TrainBatches

from tensorpack.dataflow.base import DataFlow, DataFlowReentrantGuard


class TrainLoader(DataFlow):
    """TrainBatches as a DataFlow: yields [images, labels], and the colour matrices with colour_on='device', for ever.

    `len()` is the batches of one epoch that this rank takes, rounded up; a batch may hold the end of one epoch and the
    start of the next. Iterating again goes on where the last iteration ended.
    """

    def __init__(self, *args, **kwargs):
        self.batches = TrainBatches(*args, **kwargs)
        self._guard = DataFlowReentrantGuard()
        self._iterator = None

    def __len__(self):
        return -(-self.batches.samples // (self.batches.batch * self.batches.ranks))

    def __iter__(self):
        with self._guard:
            if self._iterator is None:
                self._iterator = iter(self.batches)
            for batch in self._iterator:
                yield [batch.images, batch.labels] + ([] if batch.matrices is None else [batch.matrices])

    def position(self, samples_seen):
        """The Position after `samples_seen` samples of the run, all ranks together; `start=` takes it back."""
        return self.batches.position(samples_seen)

    @property
    def bad(self):
        """Damaged pictures so far: .count, .reasons, .names, .seen."""
        return self.batches.bad

    @property
    def wait_seconds(self):
        """Time spent waiting for batches, all together."""
        return self.batches.wait_seconds

    def close(self):
        """End the workers."""
        self.batches.close()


class EvalLoader(DataFlow):
    """EvalBatches as a DataFlow: yields [images, labels] in list order; `batches()` yields Batch with rows and
    status."""

    def __init__(self, *args, **kwargs):
        self._batches = EvalBatches(*args, **kwargs)

    def __len__(self):
        return len(self._batches)

    def __iter__(self):
        for batch in self._batches:
            yield [batch.images, batch.labels]

    def batches(self):
        """The Batches of one pass."""
        return iter(self._batches)

    @property
    def samples(self):
        """Pictures in one pass."""
        return self._batches.samples

    @property
    def bad(self):
        """Damaged pictures of the last pass: .count, .reasons, .names, .seen."""
        return self._batches.bad

    @property
    def wait_seconds(self):
        """Time spent waiting for batches, all together."""
        return self._batches.wait_seconds

    def close(self):
        """End the workers."""
        self._batches.close()
