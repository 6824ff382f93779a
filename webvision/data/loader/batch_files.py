"""The files of a batch, ready for the compiled code: plain, upright JPEGs, their bytes in memory and their sizes known.

A batch of photographs can be gigabytes, times the workers. So files come in parts, each shown before the next is read;
a batch of ordinary training pictures is one part.
"""

import ctypes
import threading
from typing import NamedTuple

import numpy as np

from webvision.data.native import library
from webvision.data.pictures import images
from webvision.data.pictures.headers import MOST_PLAIN_PIXEL_BYTES
from webvision.errors import LESS_MEMORY

PART = 32 << 20  # bytes of files that a thread holds at a time: 256 ImageNet pictures
_LARGEST = 8 << 20  # bytes of a file that is read into the arena; a larger one gets memory of its own


class Files(NamedTuple):
    """Files of some rows of a batch."""

    rows: np.ndarray  # int64 [n]
    addresses: np.ndarray  # int64 [n] of their bytes
    lengths: np.ndarray  # int64 [n]
    sides: np.ndarray  # int32 [n, 2] width and height
    owners: tuple  # of the memory: addresses are good for as long as these are held
    tried: int  # how many of the rows asked for were looked at; there was no room for the rest


class Arena(threading.local):
    """Memory for a part of a batch's files, one for each thread; the next part reuses it.

    (Fresh memory for every batch would be cleared by the kernel first: 8 page faults for a picture of 27 KB. Of the
    arena itself the kernel gives only what was written once.)
    """

    def __init__(self):
        self._memory = np.empty(PART, np.uint8)

    def read(self, rows, names, pictures, beats):
        """The `Files` that need no decision: regular files, or members of archives, that are surely plain and upright.
        Good until the next call."""
        if pictures.in_archives:
            return self._read_members(rows, names, pictures, beats)
        return self._read_files(rows, [pictures.path(name) for name in names], pictures.policy, beats)

    def _read_files(self, rows, paths, policy, beats):
        count = len(rows)
        rows32, sizes, sides = np.array(rows, np.int32), np.empty(count, np.int64), np.empty((count, 2), np.int32)
        # A zero byte would end the name in C, and another file be opened: "" is none.
        names = (ctypes.c_char_p * count)(*[b"" if b"\0" in path else path for path in paths])
        room = len(self._memory)
        while (
            library.loaded().wv_read(
                count,
                names,
                rows32.ctypes.data,
                min(_LARGEST, room, policy.max_bytes),
                self._memory.ctypes.data,
                room,
                sizes.ctypes.data,
                sides.ctypes.data,
                beats.ctypes.data,
            )
            > room
        ):
            # Nothing was read, but their sizes are known now: again with as many as fit.
            count = int(np.searchsorted(np.cumsum(np.maximum(sizes[:count], 0)), room, "right"))
        rows32, sizes, sides = rows32[:count], sizes[:count], sides[:count]
        addresses = self._memory.ctypes.data + np.cumsum(np.maximum(sizes, 0)) - sizes
        taken = np.flatnonzero((sizes >= 0) & _accepted(sides.astype(np.int64), sizes, policy))
        return Files(
            rows32[taken].astype(np.int64), addresses[taken], sizes[taken], sides[taken], (self._memory,), count
        )

    def _read_members(self, rows, names, pictures, beats):
        room, policy = len(self._memory), pictures.policy
        places = pictures.places(names, largest=min(_LARGEST, room, policy.max_bytes), room=room)
        count, rows = len(places.order), np.array(rows, np.int32)[places.order]
        positions = np.cumsum(places.sizes) - places.sizes
        sides, whole = np.zeros((count, 2), np.int32), np.zeros(count, np.uint8)
        numbers = (rows, places.files, places.starts, places.sizes, places.seals)
        if library.loaded().wv_read_members(
            count,
            *(array.ctypes.data for array in numbers),
            *(array.ctypes.data for array in (self._memory, positions, sides, whole, beats)),
        ):
            raise images.OutOfMemoryError(f"no memory to read a batch; {LESS_MEMORY}")
        taken = np.flatnonzero((whole != 0) & _accepted(sides.astype(np.int64), places.sizes, policy))
        addresses = self._memory.ctypes.data + positions[taken]
        return Files(
            rows[taken].astype(np.int64), addresses, places.sizes[taken], sides[taken], (self._memory,), places.tried
        )


def _accepted(sides, sizes, policy):
    """Whether images.inspect is sure to accept plain JPEGs of these sides; it looks at the others, too."""
    if "jpeg" not in policy.formats:
        return np.zeros(len(sides), bool)
    pixels = sides.prod(axis=1)
    small = (pixels <= policy.max_pixels) & (pixels * MOST_PLAIN_PIXEL_BYTES + sizes <= policy.max_memory)
    return small & (sides.max(axis=1) <= policy.max_side_ratio * sides.min(axis=1))


def read_singly(rows, names, pictures, *, beats):
    """The `Files` among these that are plain and upright after a closer look: links, EXIF, large ones. Others are left
    out."""
    taken, files, sides, tried, held = [], [], [], 0, 0
    for row, name in zip(rows, names):
        if held >= PART:
            break
        tried += 1
        beats[2] = row
        beats[0] += 1
        try:
            data = pictures.read(name)
            header = images.inspect(data, pictures.policy)
        except Exception:  # whatever it is, builder.py meets it again, and counts it or names the file
            continue
        if header.plain and header.orientation == 1:
            taken.append(row)
            files.append(data)
            held += len(data)
            sides.append((header.width, header.height))
    addresses = [ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value for data in files]
    return Files(
        np.array(taken, np.int64),
        np.array(addresses, np.int64),
        np.array([*map(len, files)], np.int64),
        np.array(sides, np.int32).reshape(-1, 2),
        tuple(files),
        tried,
    )
