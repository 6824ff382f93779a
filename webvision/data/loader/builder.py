"""One batch: files in, pixels out. The same code runs in the training process, in threads and in worker processes.

A batch is a function of its Job and of the files alone. Within a process nothing is kept between batches.
"""

import os
from typing import NamedTuple

import numpy as np

from webvision.data.loader import kernel
from webvision.data.loader.batch_files import Arena, read_singly
from webvision.data.pictures import images, resample
from webvision.data.pictures.images import REASONS, ImageError
from webvision.data.views import colour
from webvision.data.views.placement import shrink_factor, shrink_region
from webvision.errors import printable

FILL = 114  # the grey of a picture that could not be read in evaluation: about ImageNet's mean in each channel
SPARES = 8  # pictures that may stand in for a damaged one in training: those of the samples after the batch


class Job(NamedTuple):
    """What to build."""

    number: int  # of the batch, counted from the start of the run
    seed: int
    first: int  # number of the first sample, counted from the start of the run
    names: tuple  # of the samples, bytes, below the root; then the spares
    count: int  # of samples
    banned: tuple = ()  # (position in names, reason): crashed the decoder before; not opened again
    proven: tuple = ()  # positions in names: gone through whole before, so that now the window will do
    sound: tuple = ()  # (position in names, stamp): the same, if that is still the file's stamp


class Slot(NamedTuple):
    """Where a batch is written: arrays of at least `count` rows, often in shared memory."""

    images: np.ndarray  # uint8 [n, size, size, 3] BGR
    status: np.ndarray  # uint8 [n]: index into REASONS of what was wrong with the sample's own file
    source: np.ndarray  # int16 [n]: position in Job.names of the picture shown; -1: FILL
    matrices: np.ndarray | None = None  # float32 [n, 3, 4], when the colours are for the device


def slot_layout(spec):
    """The arrays of a Slot: [(field, shape, dtype)]."""
    count, size = spec.images, spec.view.image_size
    fields = [
        ("images", (count, size, size, 3), np.uint8),
        ("status", (count,), np.uint8),
        ("source", (count,), np.int16),
    ]
    return fields + ([("matrices", (count, 3, 4), np.float32)] if spec.colours_on_device else [])


def new_slot(spec):
    """A Slot in ordinary memory."""
    return Slot(**{field: np.empty(shape, dtype) for field, shape, dtype in slot_layout(spec)})


class BatchBuilder:
    """Builds batches as a BatchSpec says, of the pictures of a PictureFolder or PictureArchives."""

    def __init__(self, pictures, spec):
        import cv2

        cv2.setNumThreads(0)  # batches are built side by side; one picture is too small to share
        self._pictures, self._policy = pictures, pictures.policy
        self._spec = spec
        self._fast = kernel.usable(spec.view)
        self._arena = Arena()

    def build(self, job, slot, beats=None):
        """Write the batch `job` into `slot`. beats (int64): [0] counts progress, [2] is the position in job.names in
        work."""
        batch = _Batch(job, self._spec, slot)
        banned = dict(job.banned)
        beats = np.zeros(4, np.int64) if beats is None else beats
        if self._pictures.in_archives:
            self._pictures.waiting = lambda: np.add(beats[:1], 1, out=beats[:1])
        if self._fast:
            rows = self._build_fast(job, slot, batch, banned, beats)
        else:
            rows = range(job.count)
            self._pictures.expect(job.names[: job.count])
        for row in rows:
            self._build_row(row, job, slot, batch=batch, banned=banned, beats=beats)

    def _build_fast(self, job, slot, batch, banned, beats):
        """As many rows as the compiled code takes; returns the others."""
        rows = [row for row in range(job.count) if row not in banned]
        others = [row for row in banned if row < job.count]
        for read in (self._arena.read, read_singly):
            left = []
            while rows:
                tried, taken, failed = self._show_part(read, rows, job=job, slot=slot, batch=batch, beats=beats)
                left += [row for row in rows[:tried] if row not in taken]
                others += failed
                rows = rows[tried:]
            rows = left
        return sorted(others + rows)

    def _show_part(self, read, rows, *, job, slot, batch, beats):
        """Show the files of `rows` that there is room for: (how many were tried, the rows among them that `read` took,
        those of them that could not be shown). A function of its own, so that their memory is free before the next are
        read."""
        files = read(rows, [job.names[row] for row in rows], self._pictures, beats=beats)
        if not len(files.rows):
            return files.tried, (), []
        slot.status[files.rows], slot.source[files.rows] = 0, files.rows
        proven = [row for row in files.rows.tolist() if self._is_proven(row, job, batch)]
        failed = kernel.show(
            files, batch.plan, slot, proven=proven, tolerant=self._policy.accept_truncated, beats=beats
        )
        return files.tried, set(files.rows.tolist()), failed

    def _is_proven(self, position, job, batch):
        """Whether the picture that was just read needs not be gone through whole. After reading, so that what is
        stamped is what was read; and on a network, where opening it has fetched what the stamp is made of."""
        if position in batch.proven:
            return True
        stamp = batch.sound.get(position)
        return stamp is not None and self._pictures.stamp(job.names[position]) == stamp

    def _build_row(self, row, job, slot, *, batch, banned, beats):
        """One row, from its own file or, in training, from a spare one."""
        slot.source[row], slot.status[row] = row, 0
        spares = list(range(job.count, len(job.names)))
        first = row % len(spares) if spares else 0
        for position in [row, *spares[first:], *spares[:first]]:
            beats[2] = position
            beats[0] += 1
            try:
                if position in banned:
                    raise ImageError(REASONS[banned[position]], "it ended a worker before")
                data = self._pictures.read(job.names[position])
                batch.show(row, data, self._policy, whole=not self._is_proven(position, job, batch))
                slot.source[row] = position
                return
            except ImageError as error:
                if position == row:
                    slot.status[row] = REASONS.index(error.reason)
            except Exception as error:
                error.add_note(f"while reading {printable(os.fsdecode(job.names[position]))}")
                raise
        slot.source[row] = -1
        slot.images[row] = FILL
        if slot.matrices is not None:
            slot.matrices[row] = np.eye(3, 4)


class _Batch:
    """The pictures of one job: its plan, and their way from bytes to the slot."""

    def __init__(self, job, spec, slot):
        self.plan = spec.view.plan(job.seed, job.first, job.count)
        self.proven, self.sound = frozenset(job.proven), dict(job.sound)
        self._view = spec.view
        self._slot = slot
        self._device = spec.colours_on_device
        self._decoded = (None, None)  # (what was decoded last, its pixels): the views of a picture share them

    def show(self, row, data, policy, *, whole):
        """Row `row` of the slot becomes the picture in `data`; ImageError if that is none."""
        header = images.inspect(data, policy)
        width, height = header.shown_size
        x, y, wide, high, *resized, left, top = map(int, self.plan.place([width], [height], [row])[0])
        factor = shrink_factor(wide, high, *resized) if header.plain and self._view.shrink else 1
        window = shrink_region((x, y, wide, high), factor, (width, height))
        wanted = (data, window, factor)
        if self._decoded[0] != wanted:
            self._decoded = wanted, images.read_window(data, header, window, scale=factor, policy=policy, whole=whole)
        pixels = self._decoded[1]
        pixels = resample.resize_part(pixels, tuple(resized), (left, top), self._view.image_size, self._view.resampling)
        self._colour(row, pixels)

    def _colour(self, row, pixels):
        import cv2

        out = self._slot.images[row]
        if self.plan.flips[row]:
            pixels = cv2.flip(pixels, 1)
        if self.plan.colours is None:
            out[:] = pixels
            return
        one = colour.Composed(*(part[row : row + 1] for part in self.plan.colours))
        matrix = colour.matrices(one, np.array([cv2.mean(pixels)[:3]]))[0]
        if self._device:
            self._slot.matrices[row] = matrix
            out[:] = pixels
        else:
            cv2.transform(pixels, matrix, dst=out)
