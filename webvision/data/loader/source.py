"""Who builds the batches: this process, or worker processes. Both give the same bytes, in order."""

import operator

from webvision.data.loader.builder import BatchBuilder, new_slot
from webvision.data.loader.pool import Pool
from webvision.errors import UsageError

MAX_WORKERS = 512


def open_source(pictures, spec, *, workers, timeout):
    """A source of batches; nothing is started before the first is asked for."""
    workers = operator.index(workers)
    if not 0 <= workers <= MAX_WORKERS:
        raise UsageError(f"--workers {workers} is outside 0..{MAX_WORKERS}")
    if workers:
        return Pool(pictures, spec, workers=workers, timeout=timeout)
    return InProcess(BatchBuilder(pictures, spec), lambda: new_slot(spec))


class InProcess:
    """Builds each batch when it is asked for."""

    def __init__(self, builder, make_slot):
        self._builder = builder
        self._make_slot = make_slot

    def run(self, jobs):
        """Yield (tag, Slot) for each (tag, Job) of `jobs`; the slot is the caller's."""
        for tag, job in jobs:
            slot = self._make_slot()
            self._builder.build(job, slot)
            yield tag, slot

    def close(self):
        """Nothing to end."""
