"""Put one file at its place, by move, hard link or copy: never over another file, and whole or not at all."""

import ctypes
import errno
import filecmp
import os
import shutil
import stat
import threading

_libc = ctypes.CDLL(None, use_errno=True)
_AT_FDCWD, _RENAME_NOREPLACE = -100, 1  # <fcntl.h>, <linux/fs.h>


class Occupied(Exception):
    """Another file lies where this one should go."""


class Placer:
    """place(source, target) for one method; `scratch` is a folder of its own on the target's file system (for
    copies)."""

    def __init__(self, method, scratch):
        self.scratch = os.fsencode(scratch)
        self.create = {"move": move, "link": os.link, "copy": self._copy}[method]
        self.method = method

    def place(self, source, target):
        """Make `target` hold what `source` holds. Does nothing if it does; Occupied if it holds something else."""
        try:
            self.create(source, target)
        except FileExistsError:
            self._settle(source, target)

    def _copy(self, source, target):
        if os.path.lexists(target):
            raise FileExistsError
        temporary = os.path.join(self.scratch, b"%d" % threading.get_ident())
        shutil.copyfile(source, temporary, follow_symlinks=False)
        shutil.copystat(source, temporary)
        move(temporary, target)

    def _settle(self, source, target):
        """Both exist: an earlier run was killed between two steps, or the archive was unpacked again."""
        there, here = os.lstat(target), os.lstat(source)
        if not stat.S_ISREG(there.st_mode):
            raise Occupied
        if os.path.samestat(here, there):
            if self.method == "move":
                os.unlink(source)
        elif self.method == "copy" and there.st_size == 0 < here.st_size:
            os.unlink(target)  # what a power cut leaves of a copy that had not reached the disk
            self._copy(source, target)
        elif self.method == "copy" and (there.st_size, there.st_mtime_ns) == (here.st_size, here.st_mtime_ns):
            return  # an earlier run's copy: times are copied too
        elif not filecmp.cmp(source, target, shallow=False):
            raise Occupied
        elif self.method == "move":
            os.unlink(source)


def move(source, target):
    """Rename, but FileExistsError instead of replacing."""
    if _libc.renameat2(_AT_FDCWD, source, _AT_FDCWD, target, _RENAME_NOREPLACE) == 0:
        return
    code = ctypes.get_errno()
    if code not in (errno.EINVAL, errno.ENOSYS):
        raise OSError(code, os.strerror(code), source, None, target)
    try:
        os.link(source, target)  # a file system without that flag (NFS): two steps that can't replace either
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP):
            raise
        if os.path.lexists(target):  # without links as well (FAT); the folder's lock keeps others out
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from None
        os.rename(source, target)
    else:
        os.unlink(source)


def sync_file_system(folder):
    """Everything written below `folder` so far survives a power cut (one call instead of millions of fsyncs)."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _libc.syncfs(fd) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), folder)
    finally:
        os.close(fd)
