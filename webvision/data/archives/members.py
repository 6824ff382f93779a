"""The index of the members of a folder's archives: a name -> which archive, where, how long.

A file of records sorted by a digest of the name, and a table of where each bucket of digests begins, so that a look-up
is two small reads wherever the index lies and however long it is: nothing is loaded, and nothing is mapped either, for
a file that shrinks under a mapping ends the process. Nothing in it is believed: a place is read only within its
archive, which must be the one that was indexed, and the member's header must stand before it (store.py).
"""

import errno
import json
import os
import stat
import struct
import zlib
from typing import NamedTuple

import numpy as np

from webvision.data.archives.walk import DIGEST_BYTES, RECORD, digest
from webvision.data.native import library
from webvision.errors import DataError, printable
from webvision.files import atomic_write

MAGIC, VERSION = b"WVMEMBR\n", 1
# magic, version, bits of a bucket's number, members, bytes of the archives' JSON, its CRC-32, the file's length
_FIELDS = struct.Struct("<8sIIQQIQ")
_HEADER_BYTES = 128  # fields, zeros, CRC-32 in the last four bytes
_PER_BUCKET = 32  # members, about: a kilobyte to look through
_MERGED = 4 << 20  # records in memory while an index is written: 112 MB, sorted by parts of the digests


class Facts(NamedTuple):
    """Which archive it is: its name below the folder, and what the file system says of it."""

    name: str
    size: int
    mtime_ns: int
    inode: int
    ctime_ns: int

    @property
    def is_remote(self):
        """Whether it lies at an address; then `mtime_ns` stands for what its server calls it, and files have no
        inode 0."""
        return self.inode == 0

    def is_of(self, state):
        """Whether `state` (os.stat) is that of the archive that was indexed, or of its copy here."""
        if self.is_remote:
            return state.st_size == self.size
        return self[1:] == (state.st_size, state.st_mtime_ns, state.st_ino, state.st_ctime_ns)


class Archive(NamedTuple):
    """An archive as it was indexed."""

    facts: Facts
    members: int
    damage: str | None  # where it is broken off; its members are those before


class StaleMembers(Exception):
    """The index is missing, torn, not ours, or of other archives; the reason is for debugging only."""


def look_at(folder, name):
    """The Facts of the archive `name` in `folder`; DataError if it is no file to read from."""
    path = os.path.join(folder, name)
    try:
        state = os.stat(path)
    except OSError as error:
        raise DataError(f"{printable(path)}: {error.strerror}") from None
    if not stat.S_ISREG(state.st_mode):
        raise DataError(f"{printable(path)}: not a regular file")
    return Facts(name, state.st_size, state.st_mtime_ns, state.st_ino, state.st_ctime_ns)


def read_at(fd, size, start):
    """`size` bytes from byte `start` on, or fewer at the end of the file."""
    data = os.pread(fd, size, start)
    while len(data) < size:  # a signal or a network mount may cut a read short, and one read gives at most 2 GiB
        more = os.pread(fd, size - len(data), start + len(data))
        if not more:
            break
        data += more
    return data


class Members:
    """An open index: look-ups by name, from any process or thread."""

    def __init__(self, path):
        """StaleMembers unless the file at `path` is whole, and this user's own."""
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError as error:
            raise StaleMembers(str(error)) from None
        try:
            state = os.fstat(self._fd)
            if not stat.S_ISREG(state.st_mode) or state.st_uid != os.geteuid() or state.st_mode & 0o022:
                raise StaleMembers("not a file that only this user writes")
            self._read_header(state.st_size)
        except BaseException:
            self.__del__()
            raise

    def _read_header(self, file_size):
        header = os.pread(self._fd, _HEADER_BYTES, 0)
        if len(header) != _HEADER_BYTES or struct.unpack("<I", header[-4:])[0] != zlib.crc32(header[:-4]):
            raise StaleMembers("torn header")
        magic, version, self._bits, self._count, json_bytes, json_crc, length = _FIELDS.unpack_from(header)
        self._records = _HEADER_BYTES + json_bytes
        self._table = self._records + self._count * RECORD.itemsize
        if (magic, version) != (MAGIC, VERSION) or length != file_size or self._bits > 40:
            raise StaleMembers("another format, or torn")
        if self._table + 8 * ((1 << self._bits) + 1) != length:
            raise StaleMembers("shorter than its tables")
        text = os.pread(self._fd, json_bytes, _HEADER_BYTES)
        if len(text) != json_bytes or zlib.crc32(text) != json_crc:
            raise StaleMembers("torn list of archives")
        self.archives = [Archive(Facts(*facts), members, damage) for *facts, members, damage in json.loads(text)]
        self.stamp = f"{zlib.crc32(header):08x}{json_crc:08x}"  # tells this index from one made since

    def __del__(self):
        if getattr(self, "_fd", None) is not None:
            os.close(self._fd)
            self._fd = None

    def __len__(self):
        return self._count

    def find(self, names):
        """(bool [n] whether each of `names` (bytes) is a member, RECORD [n]); of those that are none it means
        nothing."""
        digests = b"".join(map(digest, names))
        found, records = np.zeros(len(names), np.uint8), np.zeros(len(names), RECORD)
        compiled = library.loaded()
        if compiled is None:
            failed = sum(self._find_one(digests, at, found, records) for at in range(len(names)))
        else:
            failed = compiled.wv_find_members(
                self._fd, self._bits, self._table, self._records, len(names), digests,
                records.ctypes.data, found.ctypes.data,
            )  # fmt: skip
        if failed or (records["archive"][found != 0] >= len(self.archives)).any():
            raise DataError(
                f"{printable(self.path)}: this index of the archives is damaged; delete it and start again, and it is "
                "made anew"
            )
        return found != 0, records

    def _find_one(self, digests, at, found, records):
        """As wv_find_members, for one name; returns whether it failed."""
        wanted = digests[DIGEST_BYTES * at :][:DIGEST_BYTES]
        bucket = int.from_bytes(wanted[:8], "little") >> (64 - self._bits)
        bounds = os.pread(self._fd, 16, self._table + 8 * bucket)
        if len(bounds) != 16:
            return True
        low, high = struct.unpack("<QQ", bounds)
        size = (high - low) * RECORD.itemsize
        if not 0 <= size <= 1 << 16:
            return True
        data = os.pread(self._fd, size, self._records + low * RECORD.itemsize)
        for start in range(0, len(data), RECORD.itemsize):
            if data[start : start + DIGEST_BYTES] == wanted:
                records[at] = np.frombuffer(data, RECORD, 1, start)[0]
                found[at] = 1
        return len(data) != size

    def records(self, low=0, high=None):
        """The RECORDs from number `low` up to `high`, in the order of the names' digests."""
        count = (self._count if high is None else high) - low
        data = read_at(self._fd, count * RECORD.itemsize, self._records + low * RECORD.itemsize)
        if len(data) != count * RECORD.itemsize:
            raise DataError(f"{printable(self.path)}: this index of the archives was cut off while it was in use")
        return np.frombuffer(data, RECORD)


class SortedFile:
    """A file of RECORDs in the order of their keys; the archives in it get other numbers, -1 leaves their members
    out."""

    def __init__(self, path, *, start=0, count=None, numbers):
        self._path, self._start, self._numbers = path, start, np.asarray(numbers, np.int64)
        self.count = (os.path.getsize(path) - start) // RECORD.itemsize if count is None else count
        self._at = 0
        self._buffer = np.empty(0, RECORD)

    def below(self, key):
        """The next records with keys below `key` (an integer up to 2^64)."""
        taken = []
        while True:
            if not len(self._buffer):
                if self._at == self.count:
                    break
                self._buffer = self._read()
            cut = len(self._buffer) if key >= 1 << 64 else int(np.searchsorted(self._buffer["key"], np.uint64(key)))
            taken.append(self._buffer[:cut])
            self._buffer = self._buffer[cut:]
            if len(self._buffer):
                break
        records = np.concatenate(taken) if taken else np.empty(0, RECORD)
        numbers = self._numbers[records["archive"]]
        records = records[numbers >= 0]
        records["archive"] = numbers[numbers >= 0]
        return records

    def _read(self):
        count = min(1 << 13, self.count - self._at)
        records = np.fromfile(
            self._path, RECORD, count, offset=self._start + self._at * RECORD.itemsize
        )  # (a mapping would end the process if the file shrank)
        if len(records) != count:
            raise OSError(errno.EIO, "cut off while it was read", self._path)
        self._at += count
        return records


def sorted_file(members, numbers):
    """The records of an open index as a SortedFile: what of it still holds need not be walked again."""
    return SortedFile(members.path, start=members._records, count=len(members), numbers=numbers)


def write_members(path, archives, sources, *, settle):
    """Write the index of `archives` (Archives, in the order of their numbers) at `path`, from SortedFiles.

    `settle(records)`: equal digests, in order of their places; returns those that stay, or raises.
    """
    most = sum(source.count for source in sources)
    bits = max(0, (most // _PER_BUCKET).bit_length())
    text = json.dumps([[*archive.facts, archive.members, archive.damage] for archive in archives]).encode("ascii")
    text += b" " * (-len(text) % 8)
    parts = 1 << min(bits, (most // _MERGED).bit_length())
    starts, written = np.zeros((1 << bits) + 1, np.uint64), 0
    with atomic_write(path, "wb") as file:
        file.write(bytes(_HEADER_BYTES) + text)
        for part in range(parts):
            records = _sorted([source.below((part + 1) * (1 << 64) // parts) for source in sources], settle)
            buckets = records["key"] >> np.uint64(64 - bits) if bits else np.zeros(len(records), np.uint64)
            ours = np.arange((part << bits) // parts, (part + 1 << bits) // parts, dtype=np.uint64)
            starts[ours] = written + np.searchsorted(buckets, ours)
            written += len(records)
            file.write(records.tobytes())
        starts[-1] = written
        file.write(starts.tobytes())
        length = _HEADER_BYTES + len(text) + written * RECORD.itemsize + starts.nbytes
        header = _FIELDS.pack(MAGIC, VERSION, bits, written, len(text), zlib.crc32(text), length)
        header = header.ljust(_HEADER_BYTES - 4, b"\0")
        file.seek(0)
        file.write(header + struct.pack("<I", zlib.crc32(header)))
    os.chmod(path, 0o644)  # whatever the umask: one that others may write is not believed


def sort_records(records):
    """`records` in the order of an index: by digest, of equal ones by place."""
    order = np.argsort(records["key"], kind="stable")
    records = records[order]
    equal = records["key"][1:] == records["key"][:-1]
    if equal.any():
        tied = np.flatnonzero(np.append(equal, False) | np.append(False, equal))
        some = records[tied]
        records[tied] = some[np.lexsort((some["block"], some["archive"], some["tag"], some["key"]))]
    return records


def _sorted(parts, settle):
    records = sort_records(np.concatenate(parts))
    same = (records["key"][1:] == records["key"][:-1]) & (records["tag"][1:] == records["tag"][:-1])
    if not same.any():
        return records
    tied = np.append(same, False) | np.append(False, same)
    keep = np.ones(len(records), bool)
    keep[tied] = settle(records[tied])
    return records[keep]
