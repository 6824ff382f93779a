"""A file as memory that its reader can rely on: a program that cuts the file short meanwhile does not end the process.

Reading past the end of a mapped file is a SIGBUS. The compiled library turns that into zeros and a flag; without it the
file is read into memory, which takes longer and is not shared between processes.
"""

import mmap
import os

import numpy as np

from webvision.data.native import library


class MappedFile:
    """The first `size` bytes of an open file, as `buffer`; EOFError if it has fewer."""

    def __init__(self, fd, size):
        try:
            self.buffer = mmap.mmap(fd, size, prot=mmap.PROT_READ)
        except ValueError:  # longer than the file
            raise EOFError from None
        self._torn = library.guard(self.buffer, np.frombuffer(self.buffer, np.uint8).ctypes.data)
        if self._torn is None:
            self.buffer = _read(fd, size)
        elif os.fstat(fd).st_size < size:  # cut between the caller's look and the mapping
            raise EOFError

    def intact(self):
        """False once the file was cut: the buffer may hold zeros that the file did not."""
        return self._torn is None or not self._torn.contents.value

    def forget_pages(self):
        """Let what was read so far not count as this process's memory; it stays in the system's cache."""
        if self._torn is not None:
            self.buffer.madvise(mmap.MADV_DONTNEED)


def _read(fd, size):
    buffer = mmap.mmap(-1, size)
    view, position = memoryview(buffer), 0
    while position < size:
        got = os.preadv(fd, [view[position : position + (1 << 24)]], position)
        if not got:
            raise EOFError
        position += got
    return buffer
