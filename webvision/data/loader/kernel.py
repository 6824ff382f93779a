"""A batch in one call of the compiled code: what view_batch.c takes, and when it may be used.

Only training goes this way: its pixels are within one level of OpenCV's, while evaluation keeps OpenCV's and Pillow's
to the bit on every machine. Pictures that are no plain, upright JPEG go through the general path, one by one.
"""

import numpy as np

from webvision.data.native import library
from webvision.data.pictures import decode
from webvision.data.pictures.images import OutOfMemoryError
from webvision.data.views.placement import shrink_factor, shrink_region
from webvision.errors import LESS_MEMORY

_NO_MEMORY = 2  # WV_NO_MEMORY of decode_window.h
_FIELDS = 14  # of view_batch.c: row, picture's size, shrinking, region, resized size, corner, mirrored, all of it


def usable(view):
    """Whether the compiled code builds batches of `view` here."""
    return view.resampling == "cubic" and view.shrink and decode.fast_path() and bool(library.loaded().wv_kernel())


def show(files, plan, slot, *, tolerant, proven=(), beats=None):
    """Write the pictures `files` (batch_files.Files) of a batch into `slot`; returns the rows of those that could not
    be, to be looked at one by one. Of `proven` rows only the window is decoded, the others are gone through whole.
    `beats`: int64 progress counters, or None."""
    tasks = _tasks(files.rows, files.sides, plan, proven)
    failed = np.ones(len(slot.status), np.uint8)
    device = slot.matrices is not None and plan.colours is not None
    colours = (
        None
        if plan.colours is None
        else np.concatenate(
            [plan.colours.linear.reshape(-1, 9), plan.colours.of_mean.reshape(-1, 9), plan.colours.offset], axis=1
        )
    )
    status = library.loaded().wv_batch(
        len(tasks),
        tasks.ctypes.data,
        files.addresses.ctypes.data,
        files.lengths.ctypes.data,
        None if colours is None else colours.ctypes.data,
        slot.images.shape[1],
        tolerant,
        slot.images.ctypes.data,
        slot.matrices.ctypes.data if device else None,
        failed.ctypes.data,
        None if beats is None else beats.ctypes.data,
    )
    if (
        status or (failed == _NO_MEMORY).any()
    ):  # not a reason to go through OpenCV: its bytes differ, and a batch's follow from the seed alone
        raise OutOfMemoryError(f"no memory to build a batch; {LESS_MEMORY}")
    return files.rows[failed[files.rows] != 0].tolist()


def _tasks(rows, sides, plan, proven):
    placed = plan.place(sides[:, 0], sides[:, 1], rows)
    tasks = np.empty((len(rows), _FIELDS), np.int32)
    tasks[:, 0], tasks[:, 1:3], tasks[:, 3] = rows, sides, 1
    tasks[:, 4:12] = placed
    tasks[:, 12] = plan.flips[rows]
    tasks[:, 13] = ~np.isin(rows, proven)
    for index in np.flatnonzero((placed[:, 2:4] >= 2 * placed[:, 4:6]).all(axis=1)):
        region, picture = placed[index, :4].tolist(), sides[index].tolist()
        tasks[index, 3] = shrink_factor(*region[2:], *placed[index, 4:6].tolist())
        tasks[index, 4:8] = shrink_region(region, int(tasks[index, 3]), picture)
    return tasks
