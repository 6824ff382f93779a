"""Where a loader's time goes on this machine and this data set: reading, decoding, augmenting, handing over.

CPU times are for one picture and one core; they add up to what a worker spends. Reading is also timed from the disk
itself, because a store that cannot be read fast enough is not helped by more workers.
"""

import collections
import itertools
import time
from typing import NamedTuple

import numpy as np

from webvision.data.loader.batches import TrainBatches
from webvision.data.loader.builder import BatchBuilder, Job, new_slot
from webvision.data.pictures.images import ImageError, inspect, read_window
from webvision.data.views.placement import shrink_factor, shrink_region
from webvision.environment import DOOR
from webvision.errors import DataError

HEADROOM = 1.25  # a loader this much faster than the step keeps it waiting below 2% of the time
_WARM_UP = 2  # batches before the clock starts
_HELD = 6  # batches that training holds while it takes the next: what is handed over then may have to be copied
_CROWDED = 1.3  # workers this much slower together than alone are worth a word


class Timing(NamedTuple):
    """Microseconds per picture, of CPU unless it says otherwise; None where it was not measured."""

    read_disk_wall: float  # opening and reading, not in the page cache, one at a time
    read: float  # the same from the page cache
    decode: float  # the crop's window of the JPEG
    augment: float  # the rest of the work: header, resize, mirror, colours
    hand_over: float  # in the training process
    workers: int
    together_wall: float  # with `workers` workers, all at once, as training sees it
    damaged: int  # of the pictures looked at

    @property
    def worker(self):
        """What a worker spends on a picture."""
        return self.read + self.decode + self.augment

    @property
    def rate(self):
        """Pictures a second with `workers` workers."""
        return 1e6 / self.together_wall


def measure(split, order, spec, *, workers, pictures=512):
    """The Timing of `spec` over `split` in training order, from about `pictures` pictures."""
    batch, index = spec.size, split.index
    loader = TrainBatches(split, order, spec)
    rows = loader.rows(0, max(batch, min(pictures, loader.samples) // batch * batch))
    names = [path.encode("utf-8", "surrogateescape") for path in index.paths(rows)]
    disk = _read_from_disk(split.pictures, names)
    began = time.process_time()
    files = [data for name in names if (data := _read(split.pictures, name)) is not None]
    read = _per(time.process_time() - began, len(names))
    decode, headers = _decode(files, spec.view)
    if not headers:
        raise DataError(f"{index.path}: none of {len(names)} pictures can be read; {DOOR} check --decode says why")
    total = _build(names, split.pictures, spec)
    wall, hand_over = _together(split, order, spec, workers=workers, pictures=len(names))
    return Timing(disk, read, decode, max(total - read - decode, 0.0), hand_over, workers, wall, len(names) - headers)


def _per(seconds, count):
    return seconds / max(count, 1) * 1e6


def _read(pictures, name):
    try:
        return pictures.read(name)
    except ImageError:
        return None


def _read_from_disk(pictures, names):
    pictures.forget(names)
    began = time.monotonic()
    for name in names:
        _read(pictures, name)
    return _per(time.monotonic() - began, len(names))


def _decode(files, view):
    """(CPU us per picture, pictures that could be decoded)."""
    plan = view.plan(1, 0, len(files))
    seconds = decoded = 0
    for number, data in enumerate(files):
        try:
            header = inspect(data)
            x, y, width, height, *resized = plan.place(*([side] for side in header.shown_size), [number])[
                0, :6
            ].tolist()
            factor = shrink_factor(width, height, *resized) if header.plain and view.shrink else 1
            window = shrink_region((x, y, width, height), factor, header.shown_size)
            began = time.process_time()
            read_window(data, header, window, scale=factor)
            seconds += time.process_time() - began
            decoded += 1
        except ImageError:
            continue
    return _per(seconds, decoded), decoded


def _build(names, pictures, spec):
    builder, slot, batch = BatchBuilder(pictures, spec), new_slot(spec), spec.size
    jobs = [
        Job(number, 1, first, tuple(names[first : first + batch]), batch)
        for number, first in enumerate(range(0, len(names), batch))
    ]
    builder.build(jobs[0], slot)
    began = time.process_time()
    for job in jobs:
        builder.build(job, slot)
    return _per(time.process_time() - began, len(names))


def _together(split, order, spec, *, workers, pictures):
    """(wall us per picture with `workers` processes, CPU us of this process per picture)."""
    loader, batch = TrainBatches(split, order, spec, workers=workers), spec.size
    held = collections.deque(maxlen=_HELD)
    try:
        flow = iter(loader)
        # What the workers built ahead while nobody waited must not count: as many batches again are taken first.
        held.extend(itertools.islice(flow, _WARM_UP + _HELD + 3 * workers))
        count = max(8, pictures // batch, 4 * workers)
        wall, cpu = time.monotonic(), time.process_time()
        held.extend(itertools.islice(flow, count))
        return _per(time.monotonic() - wall, count * batch), _per(time.process_time() - cpu, count * batch)
    finally:
        loader.close()


def explain(timing, rate, cores):
    """Sentences: what is slowest, and how many workers are enough for a step that takes `rate` pictures a second."""
    said = [*_describe_worker(timing), *_describe_together(timing, cores)]
    if timing.damaged:
        said.append(f"{timing.damaged} of the pictures looked at cannot be read; {DOOR} check --decode names them.")
    if rate is None:
        said.append(
            f"{_workers(timing.workers)} {timing.rate:.0f} pictures/s. Say what your GPUs take with --rate, the "
            "images/s that training prints with --fake, or have a step measured: --depth 50."
        )
        return said
    enough = enough_workers(timing, rate, cores)
    feeds = f"{_workers(timing.workers)} {timing.rate:.0f} pictures/s, the step takes {rate:.0f}"
    match bottleneck(timing, rate):
        case "step":
            said.append(f"The step is the bottleneck, not the loader: {feeds}. It will not wait for data.")
        case "hand-over":
            said.append(
                f"The hand-over is the bottleneck: the training process passes on {1e6 / timing.hand_over:.0f} "
                "pictures/s, the "
                f"step takes {rate:.0f}. More workers do not help; a smaller --size does."
            )
        case "loader":
            said.append(
                f"The loader is the bottleneck: {feeds}. {enough} would be enough"
                + (
                    f", more than the {cores} cores here. {DOOR} shrink makes the pictures cheaper."
                    if enough > cores
                    else "."
                )
            )
    said.append(
        f"Enough for {rate:.0f} pictures/s: --workers {enough}" + (", on as many cores." if enough > cores else ".")
    )
    return said


def _workers(count):
    return f"{count} worker{' feeds' if count == 1 else 's feed'}"


def _describe_worker(timing):
    parts = {"decoding": timing.decode, "resizing and colours": timing.augment, "reading files": timing.read}
    largest = max(parts, key=parts.get)
    part = parts[largest] / timing.worker
    yield f"A worker spends {timing.worker:.0f} us on a picture, most of it {largest} ({part:.0%})."
    if timing.read_disk_wall > 4 * timing.worker:
        yield (
            f"The storage is slow: {timing.read_disk_wall / 1000:.1f} ms a file, one at a time. More workers read side "
            "by "
            f"side; a local copy or {DOOR} shrink helps more."
        )


def _describe_together(timing, cores):
    each = _each(timing, cores)
    if each > _CROWDED * timing.worker:
        yield (
            f"{timing.workers} at once, each takes {each:.0f} us: they share the cores with each other (hyper-threads, "
            "memory) "
            "or with other programs."
        )


def bottleneck(timing, rate):
    """What keeps a step of `rate` pictures a second from more: 'step', 'loader' or 'hand-over'."""
    if min(timing.rate, 1e6 / timing.hand_over) >= HEADROOM * rate:
        return "step"
    return "loader" if timing.rate < 1e6 / timing.hand_over else "hand-over"


def _each(timing, cores):
    """Microseconds in which one of the workers, at work together, builds a picture."""
    return timing.together_wall * min(timing.workers, cores)


def enough_workers(timing, rate, cores):
    """Workers for `rate` pictures a second with some headroom, each as fast as those tried together were."""
    return max(1, int(np.ceil(HEADROOM * rate * _each(timing, cores) / 1e6)))
