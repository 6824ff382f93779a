"""A balanced epoch as a list file, for tools that cannot balance themselves."""

import contextlib
import fcntl
import os

import numpy as np

from webvision.errors import UsageError, printable
from webvision.files import atomic_write, remove_leftovers

_ROWS = 1 << 16  # entries at a time: 2 MB of text


def write_balanced_list(path, index, order, *, epoch, progress=lambda done: None):
    """Write the lines of `index` in the order of `epoch` to `path`, atomically, streaming: memory does not grow with
    it."""
    if os.path.exists(path) and os.path.samefile(path, index.path):
        raise UsageError(f"--out {printable(path)} is the list itself; give the balanced one another name")
    with _clear_of_leftovers(path), atomic_write(path, "wb") as file:
        for low in range(0, len(order), _ROWS):
            rows = order.rows(epoch, np.arange(low, min(low + _ROWS, len(order))))
            file.write(index.lines(rows))
            progress(low + len(rows))


@contextlib.contextmanager
def _clear_of_leftovers(path):
    """Remove what killed runs left of `path`: gigabytes, perhaps. Writers share a lock on the folder, which dies with
    them."""
    directory, name = os.path.split(os.path.abspath(path))
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # another writer is at work, or the file system has no locks
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_leftovers(directory, of=name)
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_SH)
        yield
    finally:
        os.close(fd)
