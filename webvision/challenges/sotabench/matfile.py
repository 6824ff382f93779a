"""Read the subset of MATLAB's MAT-file level 5 that ILSVRC's meta.mat is written in, with nothing but NumPy.

Format: "MAT-File Format", The MathWorks, chapter 1. Known here: numbers, text, cells and structures, compressed or not,
in either byte order. Objects, functions and sparse matrices are refused: they occur in no devkit, and a devkit may come
from a stranger. Every length is checked against the bytes that are there before anything is allocated.
"""

import struct
import zlib
from typing import NamedTuple

import numpy as np

from webvision.errors import DataError

MAX_BYTES = 8 << 20  # of all variables, decompressed; the real meta.mat holds 2 MB
MAX_PARTS = 200_000  # arrays within arrays, of 8 bytes or more each and 200 as an object; the real one has 15,000
MAX_DEPTH = 16  # cells within structures within cells ...
MAX_DIMENSIONS = 32
_HEADER = 128

_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXT = {16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CELL, _STRUCT, _CHAR = 1, 2, 4
_ARRAYS = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}


class MatError(DataError):
    """The bytes are not a MAT-file of the kind read here."""


class Variable(NamedTuple):
    """One array: its name, its shape, and its elements in column order (a list of dicts, lists, a text, or numbers)."""

    name: str
    shape: tuple
    value: object


def read_mat(data):
    """The variables in the bytes `data` as {name: Variable}; MatError says what is wrong."""
    if len(data) < _HEADER or data[126:128] not in (b"IM", b"MI"):
        raise MatError("not a MAT-file of level 5 (save it in MATLAB with '-v6' or '-v7')")
    order = "<" if data[126:128] == b"IM" else ">"
    variables, reader, allowance = {}, _Reader(memoryview(data)[_HEADER:], order), _Allowance()
    while reader.left:
        kind, body = reader.element()
        if kind == _COMPRESSED:
            kind, body = _Reader(_inflate(body, allowance), order).element()
        if kind != _MATRIX:
            raise MatError(f"element type {kind} where a variable should stand")
        variable = _matrix(body, order, allowance, depth=0)
        variables[variable.name] = variable
    return variables


class _Allowance:
    """What the file may still become."""

    def __init__(self):
        self.bytes, self.parts = MAX_BYTES, MAX_PARTS

    def take_parts(self, count):
        self.parts -= count
        if self.parts < 0:
            raise MatError(f"more than {MAX_PARTS} arrays within arrays")


def _inflate(body, allowance):
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(body, allowance.bytes + 1)
    except zlib.error as error:
        raise MatError(f"damaged compressed variable ({error})") from None
    allowance.bytes -= len(plain)
    if not inflater.eof or allowance.bytes < 0:
        raise MatError(f"a compressed variable is cut, or its file larger than {MAX_BYTES} bytes")
    return memoryview(plain)


class _Reader:
    """Walks the data elements in `data`: a tag of type and length, and that many bytes, padded to a multiple of 8."""

    def __init__(self, data, order):
        self.data, self.order, self.at = data, order, 0

    @property
    def left(self):
        return len(self.data) - self.at

    def element(self):
        """The next element as (type, its bytes)."""
        if self.left < 8:
            raise MatError("it ends in the middle of a data element")
        word, size = struct.unpack_from(self.order + "II", self.data, self.at)
        if word >> 16:  # small data element: up to 4 bytes within the tag itself
            kind, size = word & 0xFFFF, word >> 16
            if size > 4:
                raise MatError("a small data element of more than 4 bytes")
            start, end = self.at + 4, self.at + 8
        else:
            kind, start = word, self.at + 8
            end = start + size + (-size % 8 if kind != _COMPRESSED else 0)
        if start + size > len(self.data):
            raise MatError(f"a data element of {size} bytes, and {len(self.data) - start} are left")
        self.at = min(end, len(self.data))
        return kind, self.data[start : start + size]

    def numbers(self):
        """The next element as an array of numbers."""
        kind, body = self.element()
        if kind not in _NUMBERS:
            raise MatError(f"element type {kind} where numbers should stand")
        dtype = np.dtype(self.order + _NUMBERS[kind])
        if len(body) % dtype.itemsize:
            raise MatError("a length that is no multiple of its numbers'")
        return np.frombuffer(body, dtype)

    def integers(self):
        """The next element as an array of whole numbers."""
        found = self.numbers()
        if found.dtype.kind not in "iu":
            raise MatError("fractions where whole numbers should stand")
        return found

    def text(self):
        """The next element as text, whether it is stored as text or as numbers."""
        kind, body = self.element()
        if kind in _TEXT:
            codec = _TEXT[kind] + ("" if kind == 16 else "-le" if self.order == "<" else "-be")
        elif _NUMBERS.get(kind) in ("i1", "u1", "u2"):
            codec = "latin-1" if kind in (1, 2) else "utf-16-le" if self.order == "<" else "utf-16-be"
        else:
            raise MatError(f"element type {kind} where text should stand")
        return bytes(body).decode(codec, "replace")


def _matrix(body, order, allowance, *, depth):
    if not len(body):  # how an empty field is stored
        return Variable("", (0, 0), np.zeros((0, 0)))
    if depth > MAX_DEPTH:
        raise MatError(f"nested more than {MAX_DEPTH} deep")
    reader = _Reader(body, order)
    flags, dims = reader.integers(), reader.integers()
    if len(flags) < 1 or not 2 <= len(dims) <= MAX_DIMENSIONS or min(dims) < 0:
        raise MatError("an array without class or shape")
    name, kind, shape = reader.text(), int(flags[0]) & 0xFF, tuple(map(int, dims))
    count = 1
    for side in shape:
        count *= side
    if kind == _STRUCT:
        value = _structures(reader, count, allowance, depth=depth)
    elif kind == _CELL:
        value = [_child(reader, allowance, depth) for _ in range(_affordable(count, reader, allowance))]
    elif kind == _CHAR:
        value = reader.text()
    elif kind in _ARRAYS:
        value = reader.numbers()
        if len(value) != count:
            raise MatError(f"{len(value)} numbers for the shape {shape}")
        value = value.astype(_ARRAYS[kind]).reshape(shape, order="F")
    else:
        raise MatError(f"array class {kind} is not read here")
    return Variable(name, shape, value)


def _structures(reader, count, allowance, *, depth):
    width = reader.integers()
    if len(width) != 1 or width[0] < 1:
        raise MatError("a structure without field names")
    names = reader.text()
    names = [names[at : at + int(width[0])].split("\0")[0] for at in range(0, len(names), int(width[0]))]
    rows = _affordable(count, reader, allowance, len(names))
    return [{name: _child(reader, allowance, depth) for name in names} for _ in range(rows)]


def _affordable(count, reader, allowance, fields=1):
    """`count`, if the bytes left can hold that many elements of `fields` parts, each of 8 bytes or more."""
    if fields < 1 and count or count * fields * 8 > reader.left:
        raise MatError(f"{count} elements announced, and {reader.left} bytes are left for them")
    allowance.take_parts(count * fields)
    return count


def _child(reader, allowance, depth):
    kind, body = reader.element()
    if kind != _MATRIX:
        raise MatError(f"element type {kind} where an array should stand")
    return _matrix(body, reader.order, allowance, depth=depth + 1).value
