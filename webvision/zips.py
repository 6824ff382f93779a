"""Zip archives of strangers: opened without believing their directory, and every way to be broken under one name."""

import lzma
import os
import stat
import struct
import zipfile
import zlib

MAX_DIRECTORY = 16 << 20  # bytes; a member takes some hundred, and zipfile makes ten times that of them
_END, _END_64 = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64 = struct.Struct("<4sLQL")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# What zipfile and the decompressors below it raise for damaged bytes.
_FOR_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, struct.error, ValueError, LookupError)
_FOR_DAMAGE += (NotImplementedError, RuntimeError, OverflowError)


class ZipError(Exception):
    """The archive is damaged, or of a kind that is not read; the message says what it is."""


class reading:
    """Within the block, what a damaged archive raises becomes a ZipError."""

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, _FOR_DAMAGE):
            raise ZipError(str(error) or type(error).__name__) from None
        if isinstance(error, OSError) and error.filename is None:  # a seek to nowhere
            raise ZipError(error.strerror) from None


def open_zip(path):
    """The `zipfile.ZipFile` of the regular file `path`, all of whose members can be read; ZipError if there is none."""
    with reading():
        file = open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
        try:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ZipError("not a regular file")
            size = _directory_bytes(file)
            if size > MAX_DIRECTORY:
                raise ZipError(f"a directory of {size:,} bytes; at most {MAX_DIRECTORY:,} are read")
            archive = zipfile.ZipFile(file)
            for info in archive.infolist():
                if info.flag_bits & 1:
                    raise ZipError(f"member {info.filename!r} is encrypted")
                if info.compress_type not in _METHODS:
                    raise ZipError(f"member {info.filename!r} is compressed by method {info.compress_type}")
            return archive
        except BaseException:
            file.close()
            raise


def _directory_bytes(file):
    """The size of the directory as the archive's end states it; zipfile believes the same places."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - (1 << 16) - _END.size))
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0 or at + _END.size > len(tail):
        raise ZipError("no zip: its end is missing")
    directory = _END.unpack_from(tail, at)[5]
    if at >= _LOCATOR_64.size and tail[at - _LOCATOR_64.size :][:4] == b"PK\6\7":
        file.seek(_LOCATOR_64.unpack_from(tail, at - _LOCATOR_64.size)[2])
        directory = max(directory, _END_64.unpack(file.read(_END_64.size))[8])
    return directory
