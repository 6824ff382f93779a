"""Tensors in the files that torch.save writes, without PyTorch and without unpickling (pickle_machine).

Both kinds are read: a zip (`NAME/data.pkl`, `NAME/data/KEY`, since PyTorch 1.6), and the older five pickles, which are
followed by each storage as a count and raw little-endian numbers.
"""

import contextlib
import os
import struct
import zipfile
import zlib

import numpy as np

from webvision.errors import CheckpointError, printable
from webvision.model.foreign.pickle_machine import Refused, Tensor, described, run_pickle

_FOR_DAMAGE = (ValueError, LookupError, TypeError, EOFError, struct.error, zipfile.BadZipFile, zlib.error)
_FOR_DAMAGE += (NotImplementedError, OverflowError, RuntimeError, AttributeError)
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
MAX_PICKLE = 64 << 20  # a ResNet-152's is 0.1 MB


def read_torch(path):
    """({name: Tensor}, read) of the tensors in a file of torch.save; read(tensor) gives an array. CheckpointError says
    what is wrong with others, or with the numbers of a tensor."""
    with _explained(path):
        with open(path, "rb") as file:
            is_zip = file.read(4) == b"PK\x03\x04"
        content, read_storage = _open_zip(path) if is_zip else _open_legacy(path)
        tensors = _tensors_in(content)

    def read(tensor):
        with _explained(path):
            return _array(tensor, read_storage)

    return tensors, read


@contextlib.contextmanager
def _explained(path):
    """What damaged bytes raise within becomes a CheckpointError."""
    try:
        yield
    except Refused as error:
        raise CheckpointError(f"{printable(path)}: {printable(error)}") from None
    except _FOR_DAMAGE as error:
        raise CheckpointError(
            f"{printable(path)}: not a file that torch.save wrote, or a damaged one ({printable(error)}); "
            "download it again, or save it again with torch.save(model.state_dict(), PATH)"
        ) from None


def _open_zip(path):
    archive = zipfile.ZipFile(path)
    members = {info.filename: info for info in archive.infolist()}
    programs = [name for name in members if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(programs) != 1:
        raise Refused("a zip, but not of torch.save: there is no NAME/data.pkl in it")
    folder = programs[0][: -len("data.pkl")]
    if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
        raise Refused("its parts are compressed, which torch.save's never are")
    order = members.get(folder + "byteorder")
    if order and archive.read(order).strip() != b"little":
        raise Refused("its numbers are big-endian; save it again on another machine")
    if members[programs[0]].file_size > MAX_PICKLE:
        raise Refused(f"its data.pkl has over {MAX_PICKLE >> 20} MB: that is no dictionary of weights")

    def read_storage(storage):
        info = members[f"{folder}data/{storage.key}"]
        if info.file_size < storage.count * _size(storage):
            raise ValueError(f"storage {storage.key} is cut short")
        return archive.read(info)

    with archive.open(programs[0]) as file:
        return run_pickle(file), read_storage


def _open_legacy(path):
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        if run_pickle(file) != LEGACY_MAGIC:
            raise Refused("a Python pickle, but not one of torch.save; pickles can run code and are never loaded")
        run_pickle(file)  # the protocol's number
        if not run_pickle(file).get("little_endian", True):
            raise Refused("its numbers are big-endian; save it again on another machine")
        known, places = {}, {}
        content = run_pickle(file, known)
        for key in run_pickle(file):
            count = struct.unpack("<q", file.read(8))[0]
            storage = known[key]
            if count != storage.count or not 0 <= count * _size(storage) <= size - file.tell():
                raise ValueError(f"storage {key} is cut short, or of another size than it says")
            places[key] = file.tell()
            file.seek(count * _size(storage), os.SEEK_CUR)

    def read_storage(storage):
        with open(path, "rb") as file:
            file.seek(places[storage.key])
            return file.read(storage.count * _size(storage))

    return content, read_storage


def _size(storage):
    return 2 if storage.kind == "bfloat16" else np.dtype(storage.kind).itemsize


def _array(tensor, read_storage):
    storage = tensor.storage
    kind = "<u2" if storage.kind == "bfloat16" else storage.kind
    numbers = np.frombuffer(read_storage(storage), kind, storage.count)
    if storage.kind == "bfloat16":
        numbers = bfloat16_to_float32(numbers)
    strides = [stride * numbers.itemsize for stride in tensor.strides]
    view = np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, strides, writeable=False)
    return np.array(view)


def bfloat16_to_float32(bits):
    """float32 numbers whose upper halves are the uint16 `bits`."""
    return (bits.astype("<u4") << 16).view("<f4")


def _tensors_in(content):
    """{name: Tensor} of what was saved: a dictionary of tensors, or one that holds it as so many trainers write it."""
    if type(content) is not dict:
        raise Refused(f"it holds {described(content)}, not a dictionary of tensors (a model's state_dict)")
    for key in ("state_dict", "model", "model_state_dict", "net"):
        if type(content.get(key)) is dict:
            content = content[key]
            break
    tensors = {name: value for name, value in content.items() if type(name) is str and isinstance(value, Tensor)}
    if not tensors:
        raise Refused("there are no tensors in it, nor in its 'state_dict' or 'model'")
    for prefix in ("module.", "model.", "backbone."):
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name[len(prefix) :]: tensor for name, tensor in tensors.items()}
    return tensors
