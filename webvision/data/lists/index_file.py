"""The side file of a list: offsets, labels and classes as one memory-mapped file, whole or not used at all.

One file, not one per table, so that tables of two lists cannot be mixed. The header tells which list (size, times,
inode, SHA-256) and which rules it was made for; its own checksum and the length catch a torn file, and sums over the
tables catch what a bad disk changed. Nothing in it is executed or unpickled.

A data set may bring a side file along, with whatever labels and places its maker likes. So it is believed only if this
user made it, nobody else can change it, and it names the inode and ctime of the list, which no archive, rsync or copy
knows beforehand. What it then says of a line is compared with the line (index.py).
"""

import contextlib
import hashlib
import os
import stat
import struct
import zlib
from typing import NamedTuple

import numpy as np

from webvision.data.lists.scan import label_dtype, offset_dtype
from webvision.data.mapped import MappedFile
from webvision.files import atomic_write

MAGIC = b"WVINDEX\n"
VERSION = 2
# magic, version, flags, classes, list size, mtime, rows, length, list hash, sums; the list's inode and ctime come last
_FIELDS = struct.Struct("<8sIIQQqQQ32s32sQq")
_HEADER_BYTES = 192  # fields, zeros, CRC-32 in the last four bytes
_LABELLED, _OUTSIDE = 1, 2
_ALIGN = 64
_SUM_BLOCK = 8192  # 64-bit words a sum: a block moved elsewhere changes two sums
_GROUP_ROWS = 1 << 17  # rows sorted at once: 1 MB temporaries are reused, larger ones mapped anew
RACY_NS = 2_000_000_000  # a list may change again within its time stamp's grain: 2 s on FAT, 10 ms on ext4


class ListFacts(NamedTuple):
    """What identifies a list on disk, and the rules that it is read by.

    Size and mtime alone do not: unpacked archives, `rsync -t` and `cp -p` give another list of the same size the same
    mtime. No program can choose a ctime, and what replaces a file by its name has another inode. A copied data folder
    has new ones too, and its lists are indexed again.
    """

    size: int
    mtime_ns: int
    num_classes: int
    allow_outside: bool
    inode: int
    ctime_ns: int


class Tables(NamedTuple):
    """The tables of one list; the last three are None when it has no labels."""

    offsets: np.ndarray  # [rows + 1] start of each line in the list file, and the end
    labels: np.ndarray | None  # [rows]
    rows_by_class: np.ndarray | None  # [rows] row numbers, class after class, in list order within a class
    class_starts: np.ndarray | None  # int64 [classes + 1] where each class begins in rows_by_class


class StaleIndex(Exception):
    """The side file is missing, torn, or was made for another list; the reason is for debugging only."""


def group_by_class(labels, num_classes):
    """(rows_by_class, class_starts) of an integer array of labels."""
    starts = np.concatenate([[0], np.cumsum(np.bincount(labels, minlength=num_classes))]).astype("<i8")
    rows = np.empty(len(labels), offset_dtype(len(labels)))
    free = starts[:-1].copy()  # where the next row of each class goes
    for low in range(0, len(labels), _GROUP_ROWS):
        part = labels[low : low + _GROUP_ROWS]
        order = np.argsort(part, kind="stable")  # a radix sort on 16 bits
        counts = np.bincount(part, minlength=num_classes)
        before = np.cumsum(counts) - counts
        rows[np.repeat(free - before, counts) + np.arange(len(part))] = order + low
        free += counts
    return rows, starts


def write_tables(path, tables, *, facts, sha256):
    """Write the side file atomically."""
    present = [np.ascontiguousarray(table) for table in tables if table is not None]
    labelled = tables.labels is not None
    length = _HEADER_BYTES + sum(_padded(table.nbytes) for table in present)
    flags = _LABELLED * labelled | _OUTSIDE * facts.allow_outside
    header = _header(
        MAGIC,
        VERSION,
        flags,
        facts.num_classes,
        facts.size,
        facts.mtime_ns,
        len(tables.offsets) - 1,
        length,
        bytes.fromhex(sha256),
        _sums_digest(present),
        facts.inode,
        facts.ctime_ns,
    )
    with atomic_write(path, "wb") as file:
        file.write(header)
        for table in present:
            file.write(table.data)
            file.write(bytes(_padded(table.nbytes) - table.nbytes))
    os.chmod(path, stat.S_IMODE(os.stat(path).st_mode) & ~0o022)  # whatever the umask: not even a group may change it


def read_tables(path, facts, *, rehash):
    """(tables, sha256, intact) from the side file at `path`; StaleIndex unless it is whole and this user made it of
    this list. `intact()` turns False if the file is cut short later.

    `rehash()` gives the list's SHA-256 now: asked for only when the list is so young that it could have changed without
    changing its time stamps.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError as error:
        raise StaleIndex(str(error)) from None
    try:
        state = os.fstat(fd)
        if state.st_uid != os.geteuid() or state.st_mode & 0o022:
            raise StaleIndex("somebody else made it, or can change it")
        header = os.pread(fd, _HEADER_BYTES, 0) if stat.S_ISREG(state.st_mode) else b""
        rows, flags, sha256, sums = _checked_header(header, state.st_size, facts)
        mapped = MappedFile(fd, state.st_size)
        tables = _map_tables(
            mapped.buffer,
            rows=rows,
            num_classes=facts.num_classes,
            list_size=facts.size,
            labelled=bool(flags & _LABELLED),
        )
        if _sums_digest([table for table in tables if table is not None]) != sums:
            raise StaleIndex("a table does not have the sum that it was written with")
        mapped.forget_pages()
        if tables.class_starts is not None and not _is_partition(tables.class_starts, rows):
            raise StaleIndex("classes that do not add up to the rows")
        if state.st_mtime_ns < max(facts.mtime_ns, facts.ctime_ns) + RACY_NS:
            if rehash() != sha256:
                raise StaleIndex("another list with the times of the one that was indexed")
            with contextlib.suppress(OSError):  # a read-only disk: every start hashes the list
                os.utime(fd)  # found to be right now, and so no longer young
        return tables, sha256, mapped.intact
    except EOFError:
        raise StaleIndex("torn file") from None
    finally:
        os.close(fd)


def _checked_header(header, file_size, facts):
    if len(header) != _HEADER_BYTES or struct.unpack("<I", header[-4:])[0] != zlib.crc32(header[:-4]):
        raise StaleIndex("torn header")
    magic, version, flags, classes, size, mtime_ns, rows, length, sha256, sums, *place = _FIELDS.unpack_from(header)
    if (magic, version) != (MAGIC, VERSION):
        raise StaleIndex("another format")
    if length != file_size:
        raise StaleIndex("torn file")
    if (size, mtime_ns, classes) != (facts.size, facts.mtime_ns, facts.num_classes) or (
        flags & _OUTSIDE and not facts.allow_outside
    ):
        raise StaleIndex("made for another list")
    if tuple(place) != (facts.inode, facts.ctime_ns):
        raise StaleIndex("made for a list elsewhere, or before it was replaced")
    return rows, flags, sha256.hex(), sums


def _is_partition(starts, rows):
    return starts[0] == 0 and starts[-1] == rows and bool((starts[1:] >= starts[:-1]).all())


def _header(*fields):
    header = _FIELDS.pack(*fields).ljust(_HEADER_BYTES - 4, b"\0")
    return header + struct.pack("<I", zlib.crc32(header))


def _map_tables(mapped, *, rows, num_classes, list_size, labelled):
    shapes = [(offset_dtype(list_size), rows + 1)]
    if labelled:
        shapes += [(label_dtype(num_classes), rows), (offset_dtype(rows), rows), (np.dtype("<i8"), num_classes + 1)]
    tables, position = [], _HEADER_BYTES
    for dtype, count in shapes:
        if position + dtype.itemsize * count > len(mapped):
            raise StaleIndex("shorter than its tables")
        tables.append(np.frombuffer(mapped, dtype, count, position))
        position += _padded(dtype.itemsize * count)
    return Tables(*tables, *[None] * (4 - len(tables)))


def _sums_digest(tables):
    """SHA-256 over the 64-bit sums of each table's blocks: 160 MB in 20 ms, where a cryptographic hash takes 100."""
    digest = hashlib.sha256()
    for table in tables:
        data = table.view(np.uint8)
        words = data[: len(data) // 8 * 8].view("<u8")
        whole = len(words) // _SUM_BLOCK * _SUM_BLOCK
        digest.update(words[:whole].reshape(-1, _SUM_BLOCK).sum(axis=1, dtype=np.uint64).tobytes())
        digest.update(data[whole * 8 :].tobytes())
    return digest.digest()


def _padded(size):
    return -(-size // _ALIGN) * _ALIGN
