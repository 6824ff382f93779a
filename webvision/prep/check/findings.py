"""Findings that survive a kill: one file per list, filled block by block, so that a restarted check goes on."""

import hashlib
import os
import struct
import zlib

import numpy as np

from webvision.prep.check.scan import RECORD

_HEADER = struct.Struct("<8s32sQQ")
_MAGIC = b"WVCHECK2"


class Findings:
    """A RECORD for each row of a list, in `path`. A block counts once its checksum is written, after its records."""

    def __init__(self, path, *, rows, block_rows, identity):
        """Go on with the file at `path` if it was begun for the same `identity` (any text), else begin it anew."""
        self.rows, self.block_rows = rows, block_rows
        self.blocks = -(-rows // block_rows)
        self._start = _HEADER.size + 4 * self.blocks
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        header = _HEADER.pack(
            _MAGIC, hashlib.sha256(identity.encode("utf-8", "surrogateescape")).digest(), rows, block_rows
        )
        if (
            os.pread(self._fd, _HEADER.size, 0) != header
            or os.fstat(self._fd).st_size != self._start + rows * RECORD.itemsize
        ):
            os.ftruncate(self._fd, 0)
            os.ftruncate(self._fd, self._start + rows * RECORD.itemsize)
            os.pwrite(self._fd, header, 0)

    def missing_blocks(self):
        """The numbers of the blocks that are not there, or not whole."""
        marks = np.frombuffer(os.pread(self._fd, 4 * self.blocks, _HEADER.size), "<u4")
        return [block for block in range(self.blocks) if not marks[block] or marks[block] != _mark(self._read(block))]

    def bounds(self, block):
        """(first row, row after the last) of a block."""
        return block * self.block_rows, min((block + 1) * self.block_rows, self.rows)

    def put(self, block, data):
        """Keep the packed records of a block."""
        low, high = self.bounds(block)
        if len(data) != (high - low) * RECORD.itemsize:
            raise ValueError(f"{len(data)} bytes for rows {low}..{high - 1}")
        _write_all(self._fd, data, self._start + low * RECORD.itemsize)
        _write_all(self._fd, struct.pack("<I", _mark(data)), _HEADER.size + 4 * block)

    def records(self):
        """All records, memory-mapped."""
        return np.memmap(f"/proc/self/fd/{self._fd}", RECORD, "r", self._start, (self.rows,))

    def close(self):
        """Close the file; maps of it stay valid."""
        os.close(self._fd)

    def _read(self, block):
        low, high = self.bounds(block)
        return os.pread(self._fd, (high - low) * RECORD.itemsize, self._start + low * RECORD.itemsize)


def _mark(data):
    return zlib.crc32(data) or 1  # 0 means not done


def _write_all(fd, data, position):
    view = memoryview(data)
    while view:  # a disk may take a part and be full for the rest
        written = os.pwrite(fd, view, position)
        view, position = view[written:], position + written
