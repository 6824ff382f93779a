"""Which pictures of a list `check --decode` found sound: a stamp a row in a side file, so that training need not go
through them whole when it first meets them.

A stamp (pictures.folder.PictureFolder.stamp) tells a file and its last change; it is compared with that of the file
that was just read, and a picture that changed since is gone through again. 0 is no stamp, so that a torn or cut file
proves nothing. The file is believed as the index's is: only if this user made it, nobody else can change it, and it
names this list, its inode and its ctime.
"""

import contextlib
import os
import stat
import struct

import numpy as np

from webvision.data.lists.index import ListIndex, side_files
from webvision.data.mapped import MappedFile
from webvision.files import atomic_write, remove_leftovers

KIND = "sound"  # `.train.txt.sound` beside train.txt
_MAGIC, _VERSION = b"WVSOUND\n", 1  # another version whenever what is found sound changes
_FIELDS = struct.Struct("<8sIQ32sQq")  # magic, version, rows, list hash, the list's inode and ctime
_HEADER_BYTES = 128  # fields, zeros


class SoundPictures:
    """The stamps of a list's pictures; all 0 where none are known."""

    def __init__(self, mapped=None):
        self._mapped = mapped
        self._stamps = None if mapped is None else np.frombuffer(mapped.buffer, "<u8", offset=_HEADER_BYTES)

    def stamps(self, rows):
        """uint64 [n] of `rows`."""
        if self._stamps is None:
            return np.zeros(len(rows), np.uint64)
        return self._stamps[rows]


def open_sound(index):
    """The SoundPictures of a ListIndex (or of any table of names, of which none are known)."""
    if isinstance(index, ListIndex):
        for place in side_files(index.path, KIND):
            with contextlib.suppress(OSError, EOFError):
                if mapped := _read(place, index):
                    return SoundPictures(mapped)
    return SoundPictures()


def write_sound(index, stamps):
    """Keep the `stamps` (uint64, a row each; 0: not found sound) of a ListIndex, at the first place that takes them.
    What cannot be kept is looked at again by training."""
    data = np.ascontiguousarray(stamps, "<u8")
    for place in side_files(index.path, KIND):
        with contextlib.suppress(OSError):
            remove_leftovers(*os.path.split(place))  # of killed checks; of one that lives, it is locked
            with atomic_write(place, "wb") as file:
                file.write(_header(index))
                file.write(data.data)
            os.chmod(place, stat.S_IMODE(os.stat(place).st_mode) & ~0o022)  # whatever the umask
            return


def _read(place, index):
    """The MappedFile at `place`, or None if it is not this user's, or of another list."""
    fd = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        state, size = os.fstat(fd), _HEADER_BYTES + 8 * len(index)
        trusted = stat.S_ISREG(state.st_mode) and state.st_uid == os.geteuid() and not state.st_mode & 0o022
        if not trusted or state.st_size != size or os.pread(fd, _HEADER_BYTES, 0) != _header(index):
            return None
        return MappedFile(fd, size)
    finally:
        os.close(fd)


def _header(index):
    inode, ctime_ns = index.identity
    fields = _FIELDS.pack(_MAGIC, _VERSION, len(index), bytes.fromhex(index.hash), inode, ctime_ns)
    return fields.ljust(_HEADER_BYTES, b"\0")
