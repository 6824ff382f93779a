"""Batches in memory that the training process and its workers share. No name in any file system, nothing to clean up.

One anonymous file holds a page of heart-beats and then the slots, each a whole batch on page boundaries. Whoever holds
its descriptor can map it: only the workers that inherit it do.
"""

import fcntl
import mmap
import os

import numpy as np

from webvision.data.loader.builder import Slot, slot_layout
from webvision.errors import LESS_MEMORY, ResourceError, advice

BEATS = 4  # int64 per worker: a counter of progress, the batch's number, the position in its names, unused
_PAGE = 4096


class Ring:
    """`slots` batches as `spec` (a BatchSpec) says, and heart-beats of `workers`.

    Without `fd` the memory is made, and reserved now, so that too little of it is an error here and not a bus error
    later.
    """

    def __init__(self, spec, *, slots, workers, fd=None):
        self._fields = []  # (field, shape, dtype, offset within the slot)
        offset = 0
        for field, shape, dtype in slot_layout(spec):
            self._fields.append((field, shape, np.dtype(dtype), offset))
            offset += _pages(int(np.prod(shape)) * np.dtype(dtype).itemsize)
        self._slot_bytes = offset
        self._first = _pages(workers * BEATS * 8)
        self.bytes = self._first + slots * self._slot_bytes
        self.fd, self._memory = (fd, mmap.mmap(fd, self.bytes)) if fd is not None else _reserve(self.bytes)
        self.beats = np.frombuffer(self._memory, np.int64, workers * BEATS).reshape(workers, BEATS)

    def slot(self, number):
        """New arrays over slot `number`; whatever is derived from them keeps them, and the memory, alive."""
        start = self._first + number * self._slot_bytes
        return Slot(
            **{
                field: np.ndarray(shape, dtype, self._memory, start + offset)
                for field, shape, dtype, offset in self._fields
            }
        )

    def close(self):
        """Close the descriptor; the memory goes when its last array does."""
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None


def _pages(size):
    return -(-size // _PAGE) * _PAGE


def inheritable(fd):
    """`fd`, or in its place one beyond 0, 1 and 2: where those are closed they are given out next, and a worker has its
    own."""
    if fd > 2:
        return fd
    copy = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(fd)
    return copy


def _reserve(size):
    """(descriptor, mapping) of new memory."""
    free = _free_memory()
    if size > 0.8 * free:  # asked first: reserving more than there is wakes the kernel's memory killer
        raise ResourceError(f"{size >> 20} MB of memory for batches, and {free >> 20} MB are free; {LESS_MEMORY}")
    try:
        fd = os.memfd_create("webvision-batches", os.MFD_CLOEXEC)
        try:
            fd = inheritable(fd)
            os.posix_fallocate(fd, 0, size)
            return fd, mmap.mmap(fd, size)
        except BaseException:
            os.close(fd)
            raise
    except OSError as error:
        raise ResourceError(
            f"{size >> 20} MB of memory for batches cannot be had ({error.strerror}); "
            f"{advice(error.errno, LESS_MEMORY)}"
        ) from None


def _free_memory():
    """Bytes that this process may still use: the machine's, or its control group's if that is less."""
    with open("/proc/meminfo", encoding="ascii") as file:
        free = next(int(line.split()[1]) << 10 for line in file if line.startswith("MemAvailable"))
    try:
        with (
            open("/sys/fs/cgroup/memory.max", encoding="ascii") as limit,
            open("/sys/fs/cgroup/memory.current", encoding="ascii") as used,
        ):
            return min(free, int(limit.read()) - int(used.read()))
    except (OSError, ValueError):  # no control groups here, or no limit ("max")
        return free
