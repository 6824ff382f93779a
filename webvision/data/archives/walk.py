"""What lies where in one archive: a walk over its headers, as records for the index (members.py)."""

import contextlib
import ctypes
import hashlib
import os
from typing import NamedTuple

import numpy as np

from webvision.data.archives import tarstream
from webvision.data.archives.shards import COMMENT, unescape
from webvision.data.native import library
from webvision.errors import DataError, printable

# One member, 28 bytes: key and tag are the digest of its name, sorted by; block is where its bytes begin, by 512.
RECORD = np.dtype([("key", "<u8"), *((field, "<u4") for field in ("tag", "size", "block", "archive", "seal"))])
DIGEST_BYTES = 12  # key and tag: at a billion names, two that share one are met in 1 of 10^11 sets
MAX_ARCHIVE_BYTES = tarstream.BLOCK << 32  # 2 TiB: what `block` can say
SIDECARS = (b".cls", b".json", b".txt")  # what WebDataset's shards hold beside a picture: its label
_CHUNK = 4096  # members that the compiled code walks at a time
_WORDS = np.arange(1, 2 * tarstream.BLOCK // 8, 2, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)


class Walked(NamedTuple):
    """What is in one archive."""

    records: np.ndarray  # RECORD, in the archive's order
    damage: str | None  # where and how it is broken; the records are of the members before


def digest(name):
    """What stands for the name (bytes) of a member in the index."""
    return hashlib.blake2b(name, digest_size=DIGEST_BYTES).digest()


def seal(header):
    """32 bits of a member's header (512 bytes): whether it is the one that was indexed. read_members.c has it too."""
    return int((np.frombuffer(header, "<u8") * _WORDS).sum(dtype=np.uint64) >> np.uint64(32))


def walk(path, number):
    """The Walked of the archive at `path`, which is number `number` of its folder.

    DataError where unpacking would refuse the archive: a member that is no file, or whose name leads elsewhere.
    """
    parts, damage = [np.empty(0, RECORD)], None
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_ARCHIVE_BYTES:
            raise DataError(f"{printable(path)}: {size:,} bytes; archives are read up to {MAX_ARCHIVE_BYTES:,}")
        reader = tarstream.Reader(file, seekable=True)
        try:
            for names, starts, sizes, seals in _members(file, reader, size):
                parts.append(_records(_checked(names, reader.comment), starts, sizes, seals))
        except tarstream.TarError as error:
            damage = f"{printable(path)}: {error}"
        except DataError as error:
            raise DataError(f"{printable(path)}: {error}") from None
    records = np.concatenate(parts)
    records["archive"] = number
    return Walked(records, damage)


def names_in(path):
    """Yield the names (bytes) of the pictures in an archive that was walked before, many at a time."""
    with contextlib.suppress(tarstream.TarError), open(path, "rb", buffering=0) as file:  # as far as it is whole
        reader = tarstream.Reader(file, seekable=True)
        for names, *_ in _members(file, reader, os.fstat(file.fileno()).st_size):
            yield [name for name in _checked(names, reader.comment) if not name.endswith(SIDECARS)]


def _members(file, reader, size):
    """Yield (names, starts, sizes, seals) of an archive's regular files, many at a time where they are plain."""
    while True:
        yield from _plain_members(file, reader, size)
        member = reader.next()
        if member is None:
            return
        if member.odd:
            raise DataError(
                f"member '{printable(os.fsdecode(member.name))}' is {member.odd}; pictures are read from archives of "
                "regular files and folders only. Unpack it without such members: download.sh --skip-odd-members"
            )
        tarstream.checked_name(member.name)  # a folder's too: an archive that unpacking refuses is refused
        if not member.folder and reader.offset + member.size <= size:
            yield [member.name], [reader.offset], [member.size], [seal(reader.header)]
        if reader.offset + member.size + -member.size % tarstream.BLOCK > size:
            raise tarstream.TarError(
                f"ends at byte {size:,} in the bytes of member {reader.count:,} "
                f"('{printable(os.fsdecode(member.name))}'): cut off",
                reader.count - 1,
            )


def _plain_members(file, reader, size):
    """As many members as come one after the other and need no decision; the reader is behind them then."""
    found, count = library.loaded(), _CHUNK
    if found is None:
        return
    reader.skip()
    starts, sizes = np.empty((2, _CHUNK), np.int64)
    seals, lengths, names = np.empty(_CHUNK, np.uint32), np.empty(_CHUNK, np.int32), np.empty((_CHUNK, 256), np.uint8)
    out = [array.ctypes.data for array in (starts, sizes, seals, names, lengths)]
    at = ctypes.c_int64(reader.offset)
    while count == _CHUNK:
        count = found.wv_walk_tar(file.fileno(), size, ctypes.byref(at), _CHUNK, tarstream.MAX_MEMBER_BYTES, *out)
        reader.passed(at.value, reader.count + count)
        text, ends = names[:count].tobytes(), lengths[:count].tolist()
        plain = [text[256 * i : 256 * i + length] for i, length in enumerate(ends)]
        yield plain, starts[:count], sizes[:count], seals[:count]


def _checked(names, comment):
    names = [tarstream.checked_name(name) for name in names]
    return [unescape(name) for name in names] if comment == COMMENT else names


def _records(names, starts, sizes, seals):
    """RECORDs of the members that are pictures, as far as their names tell."""
    kept = [at for at, name in enumerate(names) if not name.endswith(SIDECARS)]
    records = np.empty(len(kept), RECORD)
    digests = np.frombuffer(b"".join([digest(names[at]) for at in kept]), np.uint8).reshape(-1, DIGEST_BYTES)
    records.view(np.uint8).reshape(-1, RECORD.itemsize)[:, :DIGEST_BYTES] = digests
    records["size"], records["seal"] = np.asarray(sizes)[kept], np.asarray(seals, np.uint32)[kept]
    records["block"] = np.asarray(starts)[kept] // tarstream.BLOCK
    return records
