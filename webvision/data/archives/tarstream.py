"""A reader of tar headers that believes nothing: ustar, GNU long names, pax paths and sizes; no links, no devices.

It walks a file or a stream once, in constant memory, and says for every member what it is. What to do with a
member is the caller's decision (unpack.py); what is not a tar to its end mark is a TarError with the place.
"""

import os
import re
import zlib
from typing import NamedTuple

from webvision.errors import DataError, printable

BLOCK = 512
MAX_MEMBERS = 5_000_000  # WebVision's largest archives hold about half a million
MAX_MEMBER_BYTES = 1 << 30  # a picture is a few hundred kB; ILSVRC's inner tars about 200 MB
MAX_DEPTH = 16
MAX_NAME_BYTES, MAX_PATH_BYTES = 255, 1024
MAX_EXTENSION_BYTES = 1 << 16  # a long name or a pax header
MAX_EXTENSIONS = 8  # of one member; writers make three at most
_NO_END = "without an end mark"
# A name that cannot be wrong, as nearly all are: looked at in a tenth of the time.
_PLAIN_NAME = re.compile(rb"(?:[\w-][\w.-]{0,60}/){0,8}[\w-][\w.-]{0,60}").fullmatch
_ODD = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a FIFO",
    b"S": "a sparse file",
    b"M": "a piece of a multi-volume archive",
    b"V": "a volume label",
    b"D": "a GNU directory dump",
    b"N": "an old long name",
}


class TarError(DataError):
    """The archive is damaged, or no tar; `.members` were read well before the damage."""

    def __init__(self, message, members=0):
        super().__init__(message)
        self.members = members


class NoEndError(TarError):
    """The archive is whole as far as it goes, but its end mark is missing, or it holds nothing."""


class Member(NamedTuple):
    """`odd` says in words why a member is neither a regular file nor a folder, else None."""

    name: bytes
    size: int
    folder: bool
    odd: str | None


def _sum256(data):
    """The sum of up to 256 bytes: Adler-32's lower half counts them from 1, modulo 65521, which 256 x 255 stays below.
    (A tenth of the time of Python's own sum, which took a third of a walk.)"""
    return (zlib.adler32(data) & 0xFFFF) - 1


class Reader:
    """Iterates over Members; between two of them `read(n)` gives up to the current member's bytes. `stream` needs
    read(n); with `seekable` (and seek) the payload is skipped, not read."""

    def __init__(self, stream, *, seekable=False):
        self._stream, self._seekable = stream, seekable
        self._left = self._padding = 0
        self.offset = 0  # of the next byte: while a member is out, of its first
        self.header = b""  # the block before it
        self.comment = b""  # of the archive as a whole (pax), as pack writes one
        self.count = 0

    def __iter__(self):
        while (member := self.next()) is not None:
            yield member

    def next(self):
        """The next Member; None at the archive's end mark."""
        self.skip()
        member = self._next()
        if member is None:
            if not self.count:
                raise NoEndError("holds no member at all")
            return None
        self.passed(self.offset, self.count + 1)
        return member

    def passed(self, offset, count):
        """Another reader of the same file has come to byte `offset`, with `count` members so far."""
        if count > MAX_MEMBERS:
            raise TarError(f"more than {MAX_MEMBERS:,} members", count)
        if offset != self.offset:
            self._stream.seek(offset)
        self.offset, self.count = offset, count

    def read(self, size):
        """Up to `size` bytes of the current member; b'' at its end."""
        data = self._exactly(min(size, self._left), "in a member's bytes")
        self._left -= len(data)
        return data

    def check_first(self):
        """TarError unless the first block is a tar header (or the zeros of an empty archive)."""
        block = self._exactly(BLOCK, "in the first header")
        if block.strip(b"\0"):
            self._check(block)

    def _exactly(self, size, where):
        data = self._stream.read(size)
        while len(data) < size:
            more = self._stream.read(size - len(data))
            if not more:
                kind = NoEndError if where == _NO_END and not data else TarError
                raise kind(
                    f"ends at byte {self.offset + len(data):,} {where}, after {self.count:,} members: cut off",
                    self.count,
                )
            data += more
        self.offset += size
        return data

    def skip(self):
        left, self._left = self._left + self._padding, 0
        if self._seekable and left > BLOCK:
            self._stream.seek(left - 1, 1)
            self.offset += left - 1
            left = 1  # one real read at the far end: seeking beyond the end of a file succeeds
        while left:
            left -= len(self._exactly(min(left, 1 << 20), "in a member's bytes"))
        self._padding = 0

    def _next(self):
        """The next Member, or None at the end mark (two blocks of zeros)."""
        long_name, pax = None, {}
        for _ in range(MAX_EXTENSIONS + 1):
            block = self._exactly(BLOCK, _NO_END)
            if not block.strip(b"\0"):
                if self._exactly(BLOCK, _NO_END).strip(b"\0"):
                    raise TarError(f"a lone block of zeros before byte {self.offset:,}", self.count)
                return None
            self._check(block)
            self.header = block
            size = self._number(block[124:136])
            kind = block[156:157]
            if kind in (b"L", b"K", b"x", b"X", b"g"):
                body = self._extension(size)
                if kind == b"L":
                    long_name = body.rstrip(b"\0")
                elif kind in (b"x", b"X"):
                    pax = self._pax(body)
                elif kind == b"g":
                    self.comment = self._pax(body).get(b"comment", self.comment)
                continue
            return self._member(block, kind, size, long_name=long_name, pax=pax)
        raise TarError(f"more than {MAX_EXTENSIONS} headers for one member before byte {self.offset:,}", self.count)

    def _member(self, block, kind, size, *, long_name, pax):
        name = block[:100].split(b"\0")[0]
        if block[257:263] == b"ustar\0" and (prefix := block[345:500].split(b"\0")[0]):
            name = prefix + b"/" + name
        name = pax.get(b"path", long_name if long_name is not None else name)
        odd = _ODD.get(kind) or (None if kind in (b"0", b"\0", b"7", b"5") else f"of unknown type {kind!r}")
        if any(key.startswith(b"GNU.sparse") for key in pax):
            odd = _ODD[b"S"]
        if b"size" in pax:
            size = int(pax[b"size"]) if pax[b"size"].isdigit() and len(pax[b"size"]) < 20 else -1
        folder = kind == b"5" or (kind in (b"0", b"\0") and name.endswith(b"/"))
        if kind in (b"1", b"2", b"3", b"4", b"5", b"6"):
            size = 0  # these carry no bytes, whatever the header says
        if not 0 <= size <= MAX_MEMBER_BYTES:
            raise TarError(
                f"member {self.count + 1:,} claims {size:,} bytes; at most {MAX_MEMBER_BYTES:,} are believed",
                self.count,
            )
        self._left, self._padding = size, -size % BLOCK
        return Member(name, size, folder, odd)

    def _extension(self, size):
        if size > MAX_EXTENSION_BYTES:
            raise TarError(f"a name or pax header of {size:,} bytes before byte {self.offset:,}", self.count)
        return self._exactly(size + -size % BLOCK, "in a long name")[:size]

    def _check(self, block):
        """The header's own checksum (POSIX: unsigned; some old writers: signed)."""
        stated = self._number(block[148:156])
        blanked = 8 * 32 - sum(block[148:156])  # the checksum's own field counts as blanks
        unsigned = _sum256(block[:256]) + _sum256(block[256:]) + blanked
        if stated != unsigned:
            rest = block[:148] + block[156:]
            if stated != unsigned - 256 * sum(byte > 127 for byte in rest):
                raise self._no_header()

    def _no_header(self):
        where = f"at byte {self.offset - BLOCK:,}, after {self.count:,} members"
        return TarError(f"no tar header {where}: damaged, or not a tar", self.count)

    def _number(self, field):
        """An octal field, or base 256 as GNU writes large ones."""
        if field[0] == 0x80:
            return int.from_bytes(field[1:], "big")
        text = field.strip(b" \0")
        if text.strip(b"01234567"):
            raise self._no_header()
        return int(text or b"0", 8)

    def _pax(self, body):
        """{key: value} of 'length key=value\\n' records."""
        found = {}
        while body:
            length, blank, _ = body.partition(b" ")
            size = int(length) if length.isdigit() and len(length) < 8 else 0
            record = body[len(length) + 1 : size]
            if not blank or size > len(body) or size <= len(length) + 1 or record[-1:] != b"\n" or b"=" not in record:
                raise TarError(f"a damaged pax header before byte {self.offset:,}", self.count)
            key, _, value = record[:-1].partition(b"=")
            found[key] = value
            body = body[size:]
        return found


def payload_after(block):
    """How many bytes follow a header block, up to the next one; TarError if it is none."""
    reader = Reader(None)
    reader.offset = BLOCK
    reader._check(block)
    kind, size = block[156:157], reader._number(block[124:136])
    if kind in (b"1", b"2", b"3", b"4", b"5", b"6"):
        return 0
    if size > (MAX_EXTENSION_BYTES if kind in (b"L", b"K", b"x", b"X", b"g") else MAX_MEMBER_BYTES):
        raise TarError(f"a member claims {size:,} bytes")
    return size + -size % BLOCK


def checked_name(name):
    """`name` without './' and a final '/', if it is a path below a folder; DataError for every other."""
    if _PLAIN_NAME(name):
        return name
    parts = [part for part in name.split(b"/") if part != b"."]
    if parts and not parts[-1]:
        parts.pop()
    problem = (
        "is absolute"
        if name[:1] == b"/"
        else "leads out of its folder"
        if b".." in parts
        else "has an empty part"
        if b"" in parts
        else "contains a NUL"
        if b"\0" in name
        else f"lies deeper than {MAX_DEPTH} folders"
        if len(parts) > MAX_DEPTH
        else f"is longer than {MAX_NAME_BYTES} bytes in a part or {MAX_PATH_BYTES} in all"
        if len(name) > MAX_PATH_BYTES or any(len(part) > MAX_NAME_BYTES for part in parts)
        else None
    )
    if problem:
        raise DataError(
            f"member '{printable(os.fsdecode(name[:200]))}' {problem}; this archive is refused whole: is it the right "
            "file?"
        )
    return b"/".join(parts)
