"""The header of a .npy array from a stranger: what is in it, before anything is allocated for it."""

import math
import re
import struct

import numpy as np

MAX_HEADER = 1 << 12  # bytes; NumPy's own are 118, of an array of 32 dimensions a few hundred
_HEADER = re.compile(
    rb"\{'descr': '([<>|=]?[biuf]\d)', 'fortran_order': (True|False), 'shape': \(((?:\d{1,18}L?,? ?){0,32})\),? ?\}\s*"
)


def read_npy_header(file):
    """(shape, dtype, whether in Fortran's order) of the array that begins in `file`; ValueError if it is none of plain
    numbers. The file then stands at its first value."""
    start = file.read(8)
    if start[:6] != b"\x93NUMPY" or start[6:7] not in (b"\1", b"\2", b"\3"):
        raise ValueError("no .npy array")
    kind = "<H" if start[6] == 1 else "<I"
    stated = file.read(struct.calcsize(kind))
    size = struct.unpack(kind, stated)[0] if len(stated) == struct.calcsize(kind) else 0
    header = file.read(size) if size <= MAX_HEADER else b""
    match = _HEADER.fullmatch(header)
    if not match:
        raise ValueError(_complaint(size, header))
    shape = tuple(int(side.rstrip(b"L")) for side in re.findall(rb"\d+L?", match[3]))
    try:
        dtype = np.dtype(match[1].decode())
    except TypeError as error:
        raise ValueError(str(error)) from None
    return shape, dtype, match[2] == b"True"


def _complaint(size, header):
    if size > MAX_HEADER:
        return f"a header of {size:,} bytes; at most {MAX_HEADER:,} are read"
    if b"'|O'" in header or b"'O'" in header:
        return "it holds Python objects (a pickle), which are never loaded"
    return "its header does not describe an array of numbers"


def read_npy(file, *, most_bytes):
    """The array in `file`, whose end must be the file's; ValueError if it is not, or has more than `most_bytes`."""
    shape, dtype, fortran = read_npy_header(file)
    size = math.prod(shape) * dtype.itemsize
    if size > most_bytes:
        raise ValueError(f"an array of shape {shape}: {size:,} bytes, where {most_bytes:,} are expected")
    data = file.read(size)
    if len(data) < size or file.read(1):
        raise ValueError(f"an array of shape {shape} whose bytes are not as many")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
