"""Who builds the batches: this process, threads, or worker processes. All of them give the same bytes, in order."""

import collections
import operator
from concurrent.futures import ThreadPoolExecutor

from webvision.data.loader.builder import BatchBuilder, new_slot
from webvision.data.loader.pool import Pool
from webvision.data.loader.spawn import needs_a_thread
from webvision.errors import UsageError

MAX_WORKERS = 512
_AHEAD = 2  # batches in the making per thread


def open_source(root, view, *, batch, colour_on, workers, threads, policy, timeout):
    """A source of batches; nothing is started before the first is asked for."""
    batch, workers = operator.index(batch), operator.index(workers)
    if batch < 1:
        raise UsageError(f"a batch of {batch} pictures")
    if not 0 <= workers <= MAX_WORKERS:
        raise UsageError(f"--workers {workers} is outside 0..{MAX_WORKERS}")
    if colour_on not in ("worker", "device"):
        raise UsageError(f"colours are applied on 'worker' or 'device', not {colour_on!r}")
    if workers and not threads:
        return Pool(root, view, batch=batch, workers=workers, colour_on=colour_on, policy=policy, timeout=timeout)
    builder = BatchBuilder(root, view, policy=policy, colour_on=colour_on)
    if workers == 0:
        return InProcess(builder, lambda: new_slot(batch, view, colour_on))
    return Threads(builder, lambda: new_slot(batch, view, colour_on), workers)


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


class Threads:
    """Builds ahead in threads: decoders, OpenCV and file reads leave the interpreter's lock. Good to about four
    cores."""

    def __init__(self, builder, make_slot, workers):
        self._builder = builder
        self._make_slot = make_slot
        self._workers = workers
        self._pool = None

    def _build(self, job):
        slot = self._make_slot()
        self._builder.build(job, slot)
        return slot

    def run(self, jobs):
        """As InProcess.run."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="loader")
        pending = collections.deque()
        try:
            for tag, job in jobs:
                with needs_a_thread():
                    pending.append((tag, self._pool.submit(self._build, job)))
                if len(pending) >= _AHEAD * self._workers:
                    tag, future = pending.popleft()
                    yield tag, future.result()
            while pending:
                tag, future = pending.popleft()
                yield tag, future.result()
        finally:
            for _, future in pending:
                future.cancel()

    def close(self):
        """End the threads after the batches they are at."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
