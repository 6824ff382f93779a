"""Where a loader's time goes on this machine and this data set: reading, decoding, augmenting, handing over.

CPU times are for one picture and one core; they add up to what a worker spends. Reading is also timed from the disk
itself, because a store that cannot be read fast enough is not helped by more workers.
"""
import itertools
import os
import time
from typing import NamedTuple

import numpy as np

from webvision.data.batches import TrainBatches
from webvision.data.builder import BatchBuilder, Job, new_slot
from webvision.data.images import ImageError, inspect, read_bytes, read_window
from webvision.data.placement import shrink_factor, shrink_region
from webvision.errors import DataError

HEADROOM = 1.25             # a loader this much faster than the step keeps it waiting below 2% of the time
_WARM_UP = 2                # batches before the clock starts


class Timing(NamedTuple):
    """Microseconds per picture, of CPU unless it says otherwise; None where it was not measured."""
    read_disk_wall: float       # opening and reading, not in the page cache, one at a time
    read: float                 # the same from the page cache
    decode: float               # the crop's window of the JPEG
    augment: float              # the rest of the work: header, resize, mirror, colours
    hand_over: float            # in the training process
    workers: int
    together_wall: float        # with `workers` workers, all at once, as training sees it
    damaged: int                # of the pictures looked at

    @property
    def worker(self):
        """What a worker spends on a picture."""
        return self.read + self.decode + self.augment

    @property
    def rate(self):
        """Pictures a second with `workers` workers."""
        return 1e6 / self.together_wall


def measure(index, order, root, view, *, batch, workers, pictures=512):
    """The Timing of `view` over `index` in training order, from about `pictures` pictures."""
    loader = TrainBatches(index, order, root, view, batch=batch)
    rows = loader.rows(0, max(batch, min(pictures, loader.samples) // batch * batch))
    names = [path.encode("utf-8", "surrogateescape") for path in index.paths(rows)]
    paths = [os.path.join(os.fsencode(root), name) for name in names]
    disk = _read_from_disk(paths)
    began = time.process_time()
    files = [data for data in map(_read, paths) if data is not None]
    read = _per(time.process_time() - began, len(paths))
    decode, headers = _decode(files, view)
    if not headers:
        raise DataError(f"{index.path}: none of {len(paths)} pictures can be read; utils/check.py --decode says why")
    total = _build(names, root, view, batch)
    wall, hand_over = _together(index, order, root, view, batch=batch, workers=workers, pictures=len(paths))
    return Timing(disk, read, decode, max(total - read - decode, 0.), hand_over, workers, wall, len(paths) - headers)


def _per(seconds, count):
    return seconds / max(count, 1) * 1e6


def _read(path):
    try:
        return read_bytes(path)
    except ImageError:
        return None


def _read_from_disk(paths):
    for path in paths:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            continue
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)
    began = time.monotonic()
    for path in paths:
        _read(path)
    return _per(time.monotonic() - began, len(paths))


def _decode(files, view):
    """(CPU us per picture, pictures that could be decoded)."""
    plan = view.plan(1, 0, len(files))
    seconds = decoded = 0
    for number, data in enumerate(files):
        try:
            header = inspect(data)
            x, y, width, height, *resized = plan.place(*([side] for side in header.shown_size), [number])[0, :6].tolist()
            factor = shrink_factor(width, height, *resized) if header.plain and view.shrink else 1
            window = shrink_region((x, y, width, height), factor, header.shown_size)
            began = time.process_time()
            read_window(data, header, window, scale=factor)
            seconds += time.process_time() - began
            decoded += 1
        except ImageError:
            continue
    return _per(seconds, decoded), decoded


def _build(names, root, view, batch):
    builder, slot = BatchBuilder(root, view), new_slot(batch, view, "worker")
    jobs = [Job(number, 1, first, tuple(names[first:first + batch]), batch)
            for number, first in enumerate(range(0, len(names), batch))]
    builder.build(jobs[0], slot)
    began = time.process_time()
    for job in jobs:
        builder.build(job, slot)
    return _per(time.process_time() - began, len(names))


def _together(index, order, root, view, *, batch, workers, pictures):
    """(wall us per picture with `workers` processes, CPU us of this process per picture)."""
    loader = TrainBatches(index, order, root, view, batch=batch, workers=workers)
    try:
        flow = iter(loader)
        # What the workers built ahead while nobody waited must not count: as many batches again are taken first.
        for _ in itertools.islice(flow, _WARM_UP + 3 * workers):
            pass
        count = max(8, pictures // batch, 4 * workers)
        wall, cpu = time.monotonic(), time.process_time()
        for _ in itertools.islice(flow, count):
            pass
        return _per(time.monotonic() - wall, count * batch), _per(time.process_time() - cpu, count * batch)
    finally:
        loader.close()


def explain(timing, rate, cores):
    """Sentences: what is slowest, and how many workers are enough for a step that takes `rate` pictures a second."""
    parts = {"decoding": timing.decode, "resizing and colours": timing.augment, "reading files": timing.read}
    largest = max(parts, key=parts.get)
    said = [f"A worker spends {timing.worker:.0f} us on a picture, most of it {largest} ({parts[largest] / timing.worker:.0%})."]
    if timing.read_disk_wall > 4 * timing.worker:
        said.append(f"The storage is slow: {timing.read_disk_wall / 1000:.1f} ms a file, one at a time. More workers read side by "
                    "side; a local copy or utils/shrink.py helps more.")
    if timing.damaged:
        said.append(f"{timing.damaged} of the pictures looked at cannot be read; utils/check.py --decode names them.")
    if rate is None:
        said.append(f"{timing.workers} workers feed {timing.rate:.0f} pictures/s. Say what your GPUs take with --rate: it is the "
                    "images/s that training prints with --fake.")
        return said
    enough = enough_workers(timing, rate)
    if timing.rate >= HEADROOM * rate:
        said.append(f"The loader is not the bottleneck: {timing.workers} workers feed {timing.rate:.0f} pictures/s, the step takes {rate:.0f}.")
    else:
        said.append(f"The loader is the bottleneck: {timing.workers} workers feed {timing.rate:.0f} pictures/s, the step takes "
                    f"{rate:.0f}. {enough} workers would be enough" + (f", more than the {cores} cores here; " if enough > cores else ".")
                    + ("utils/shrink.py makes the pictures cheaper." if enough > cores else ""))
    said.append(f"Enough for {rate:.0f} pictures/s: --workers {enough}.")
    return said


def enough_workers(timing, rate):
    """Workers for `rate` pictures a second with some headroom, each at this machine's speed."""
    return max(1, int(np.ceil(HEADROOM * rate * timing.worker / 1e6)))
