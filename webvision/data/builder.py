"""One batch: files in, pixels out. The same code runs in the training process, in threads and in worker processes.

A batch is a function of its Job and of the files alone. Within a process nothing is kept between batches.
"""
import os
from typing import NamedTuple

import numpy as np

from webvision.data import colour, images, resample
from webvision.data.images import REASONS, ImageError
from webvision.data.placement import shrink_factor, shrink_region
from webvision.errors import printable

FILL = 114          # the grey of a picture that could not be read in evaluation: about ImageNet's mean in each channel
SPARES = 8          # pictures that may stand in for a damaged one in training: those of the samples after the batch


class Job(NamedTuple):
    """What to build."""
    number: int                 # of the batch, counted from the start of the run
    seed: int
    first: int                  # number of the first sample, counted from the start of the run
    names: tuple                # of the samples, bytes, below the root; then the spares
    count: int                  # of samples
    banned: tuple = ()          # (position in names, reason): crashed the decoder before; not opened again


class Slot(NamedTuple):
    """Where a batch is written: arrays of at least `count` rows, often in shared memory."""
    images: np.ndarray          # uint8 [n, size, size, 3] BGR
    status: np.ndarray          # uint8 [n]: index into REASONS of what was wrong with the sample's own file
    source: np.ndarray          # int16 [n]: position in Job.names of the picture shown; -1: FILL
    matrices: np.ndarray | None = None      # float32 [n, 3, 4], when the colours are for the device


def slot_layout(count, view, colour_on):
    """The arrays of a Slot: [(field, shape, dtype)]."""
    size = view.image_size
    fields = [("images", (count, size, size, 3), np.uint8), ("status", (count,), np.uint8), ("source", (count,), np.int16)]
    return fields + ([("matrices", (count, 3, 4), np.float32)] if colour_on == "device" else [])


def new_slot(count, view, colour_on):
    """A Slot in ordinary memory."""
    return Slot(**{field: np.empty(shape, dtype) for field, shape, dtype in slot_layout(count, view, colour_on)})


class BatchBuilder:
    """Builds batches of one view (an Augmentation or a Preset) of the files below `root`."""

    def __init__(self, root, view, *, policy=images.DEFAULT_POLICY, colour_on="worker"):
        import cv2
        cv2.setNumThreads(0)        # batches are built side by side; one picture is too small to share
        self._root = os.fsencode(root)
        self._view = view
        self._policy = policy
        self._colour_on = colour_on

    def build(self, job, slot, progress=None):
        """Write the batch `job` into `slot`. `progress(position)` is told which of job.names is about to be touched."""
        batch = _Batch(job, self._view, slot, self._colour_on)
        banned = dict(job.banned)
        spares = list(range(job.count, len(job.names)))
        for row in range(job.count):
            slot.source[row], slot.status[row] = row, 0
            candidates = [row] + (spares[row % len(spares):] + spares[:row % len(spares)] if spares else [])
            for position in candidates:
                if progress:
                    progress(position)
                try:
                    if position in banned:
                        raise ImageError(REASONS[banned[position]], "it ended a worker before")
                    batch.show(row, images.read_bytes(os.path.join(self._root, job.names[position]), self._policy),
                               self._policy)
                    slot.source[row] = position
                    break
                except ImageError as error:
                    if position == row:
                        slot.status[row] = REASONS.index(error.reason)
                except Exception as error:
                    error.add_note(f"while reading {printable(os.fsdecode(job.names[position]))}")
                    raise
            else:
                slot.source[row] = -1
                slot.images[row] = FILL
                if slot.matrices is not None:
                    slot.matrices[row] = np.eye(3, 4)


class _Batch:
    """The pictures of one job: its plan, and their way from bytes to the slot."""

    def __init__(self, job, view, slot, colour_on):
        self._plan = view.plan(job.seed, job.first, job.count)
        self._view = view
        self._slot = slot
        self._colour_on = colour_on

    def show(self, row, data, policy):
        """Row `row` of the slot becomes the picture in `data`; ImageError if that is none."""
        header = images.inspect(data, policy)
        width, height = header.shown_size
        x, y, wide, high, *resized, left, top = map(int, self._plan.place([width], [height], [row])[0])
        factor = shrink_factor(wide, high, *resized) if header.plain and self._view.shrink else 1
        window = shrink_region((x, y, wide, high), factor, (width, height))
        pixels = images.read_window(data, header, window, scale=factor, policy=policy)
        pixels = resample.resize_part(pixels, tuple(resized), (left, top), self._view.image_size, self._view.resampling)
        self._colour(row, pixels)

    def _colour(self, row, pixels):
        import cv2
        out = self._slot.images[row]
        if self._plan.flips[row]:
            pixels = cv2.flip(pixels, 1)
        if self._plan.colours is None:
            out[:] = pixels
            return
        one = colour.Composed(*(part[row:row + 1] for part in self._plan.colours))
        matrix = colour.matrices(one, np.array([cv2.mean(pixels)[:3]]))[0]
        if self._colour_on == "device":
            self._slot.matrices[row] = matrix
            out[:] = pixels
        else:
            cv2.transform(pixels, matrix, dst=out)
