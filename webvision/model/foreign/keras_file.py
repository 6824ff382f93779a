"""Arrays in the .h5 files that Keras's save_weights writes, read in a process of its own with limits.

HDF5 is read by a C library, and a file comes from strangers: what goes wrong there ends that process alone. Of the file
only names and arrays are read, never `model_config`, which can name code. The child, `python -m
webvision.model.foreign.keras_file FILE OUT`, writes them as safetensors, and the parent reads those.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile

import numpy as np

from webvision.environment import ROOT
from webvision.errors import CheckpointError, printable
from webvision.model.foreign.safetensors_file import KINDS, read_safetensors

SECONDS = 120
MEMORY = 4 << 30  # address space; libraries alone take 1 GB of it


def read_keras(path):
    """({'LAYER/kernel': entry}, read) of a Keras weights file; CheckpointError says what is wrong with others."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "weights.safetensors")
        command = [sys.executable, "-m", "webvision.model.foreign.keras_file", os.path.abspath(path), out]
        try:
            child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=SECONDS)
        except subprocess.TimeoutExpired:
            raise CheckpointError(f"{printable(path)}: HDF5 does not come to an end with it; it is damaged") from None
        if child.returncode:
            reason = (child.stderr.strip().splitlines() or [f"the reader ended with {child.returncode}"])[-1]
            raise CheckpointError(f"{printable(path)}: not readable as Keras weights: {printable(reason[:300])}")
        tensors, read = read_safetensors(out)
        arrays = {name: read(entry) for name, entry in tensors.items()}
    return arrays, lambda array: array


def _export(path, out):
    import h5py

    limit = os.path.getsize(path)
    arrays = {}
    with h5py.File(path, "r") as file:
        root = file["model_weights"] if "model_weights" in file else file
        if "layer_names" not in root.attrs:
            raise ValueError("no layer_names in it: save it with Keras 2's save_weights('NAME.h5')")
        for layer in map(_text, root.attrs["layer_names"]):
            group = root[layer]
            for weight in map(_text, group.attrs["weight_names"]):
                data = group[weight]
                if data.dtype.str not in KINDS.values() or data.size * data.dtype.itemsize > 20 * limit + 4096:
                    raise ValueError(f"{weight} is {data.dtype} {data.shape}, more than the file can hold")
                arrays[f"{layer}/{weight.rsplit('/', 1)[-1].removesuffix(':0')}"] = np.array(data)
    _write_safetensors(out, arrays)


def _write_safetensors(path, arrays):
    names, header, first = {kind: name for name, kind in KINDS.items() if name != "BF16"}, {}, 0
    for name, array in arrays.items():
        end = first + array.nbytes
        header[name] = {"dtype": names[array.dtype.str.replace("|", "")], "shape": array.shape}
        header[name]["data_offsets"] = [first, end]
        first = end
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in arrays.values():
            file.write(array.tobytes())


def _text(name):
    return name.decode("utf-8") if isinstance(name, bytes) else str(name)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        _export(sys.argv[1], sys.argv[2])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, MemoryError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
