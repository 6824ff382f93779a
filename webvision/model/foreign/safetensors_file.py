"""Tensors in safetensors files: 8 bytes of length, a JSON header, raw little-endian numbers."""

import json
import os

import numpy as np

from webvision.errors import CheckpointError, printable
from webvision.model.foreign.torch_file import bfloat16_to_float32

MAX_HEADER = 100_000_000  # the format's own limit
KINDS = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U8": "u1", "BOOL": "?",
}  # fmt: skip


def looks_like_safetensors(magic, size):
    """Whether a file of `size` bytes that begins with `magic` can be one."""
    return len(magic) > 9 and magic[8:9] == b"{" and 2 <= int.from_bytes(magic[:8], "little") <= size - 8


def read_safetensors(path):
    """({name: entry}, read) as `read_torch` gives them; an entry is (type, shape, first byte, count)."""
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(MAX_HEADER, size - 8):
                raise ValueError(f"a header of {length} bytes in a file of {size}")
            header = json.loads(file.read(length).decode("utf-8"), object_pairs_hook=_no_name_twice)
        start = 8 + length
        tensors = {name: _entry(name, entry, start, size) for name, entry in header.items() if name != "__metadata__"}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{printable(path)}: not a safetensors file, or a damaged one ({printable(error)}); download it again"
        ) from None

    def read(entry):
        kind, shape, first, count = entry
        with open(path, "rb") as file:
            file.seek(first)
            numbers = np.fromfile(file, KINDS[kind], count)
        numbers = bfloat16_to_float32(numbers) if kind == "BF16" else numbers
        return numbers.reshape(shape)

    return tensors, read


def _no_name_twice(pairs):
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands in it twice")
    return found


def _entry(name, entry, start, size):
    kind, shape, (first, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    if kind not in KINDS:
        raise ValueError(f"{name} is of type {kind}, which is none of {', '.join(KINDS)}")
    if len(shape) > 8 or any(type(number) is not int or number < 0 for number in (*shape, first, end)):
        raise ValueError(f"{name} has no proper shape or place")
    count = 1
    for side in shape:
        count *= side
    if end - first != count * np.dtype(KINDS[kind]).itemsize or start + end > size:
        raise ValueError(f"{name} has other bytes than its shape {shape} needs, or they are not in the file")
    return kind, shape, start + first, count
