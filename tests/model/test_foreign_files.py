"""Files of PyTorch, safetensors and Keras: the right arrays or a reason, and nothing in them is ever run."""

import os
import pickle
import random
import struct
import tracemalloc

import h5py
import numpy as np
import pytest

from tests.support.data_set import ROOT
from webvision.errors import CheckpointError
from webvision.model.foreign.keras_file import read_keras
from webvision.model.foreign.pretrained import open_pretrained
from webvision.model.foreign.safetensors_file import read_safetensors
from webvision.model.foreign.torch_file import LEGACY_MAGIC, read_torch

FOLDER = os.path.join(ROOT, "tests", "data", "torch")
FILES = {"zip.pth": read_torch, "legacy.pth": read_torch, "weights.safetensors": read_safetensors}


def arrays(path, read):
    tensors, to_array = read(path)
    return {name: to_array(tensor) for name, tensor in tensors.items()}


@pytest.mark.parametrize("name", ["zip.pth", "legacy.pth", "checkpoint.pth"])
def test_pytorchs_files_hold_what_safetensors_holds(name):
    ours, theirs = arrays(f"{FOLDER}/{name}", read_torch), arrays(f"{FOLDER}/weights.safetensors", read_safetensors)
    assert list(ours) == list(theirs) or set(ours) == set(theirs)
    for key, array in theirs.items():
        assert ours[key].dtype == array.dtype and np.array_equal(ours[key], array), key
    assert theirs["turned"].shape == (6, 4) and theirs["part"].shape == (2, 3) and theirs["brain"].dtype == np.float32


@pytest.mark.parametrize("name", ["model.pth", "model_legacy.pth"])
def test_a_pickled_model_is_refused_by_name(name):
    with pytest.raises(CheckpointError, match="torch.nn.modules.linear.Linear, which is code"):
        read_torch(f"{FOLDER}/{name}")


class Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_nothing_that_a_pickle_asks_for_is_run(tmp_path):
    mark, path = tmp_path / "touched", tmp_path / "evil.pth"
    for protocol in range(5):
        evil = pickle.dumps({"state_dict": Touch(mark)}, protocol)
        path.write_bytes(b"".join(pickle.dumps(part, 2) for part in (LEGACY_MAGIC, 1001, {})) + evil)
        with pytest.raises(CheckpointError, match="system|pickle operation"):
            read_torch(path)
        path.write_bytes(evil)
        with pytest.raises(CheckpointError):
            read_torch(path)
    assert not mark.exists()


def test_a_key_that_would_be_hashed_by_recursion_is_refused(tmp_path):
    nested = b"N" + b"\x85" * 1_000_000  # a million tuples, one in the other
    path = tmp_path / "deep.pth"
    path.write_bytes(
        b"".join(pickle.dumps(part, 2) for part in (LEGACY_MAGIC, 1001, {})) + b"\x80\x02}" + nested + b"Ns."
    )
    with pytest.raises(CheckpointError, match="neither text nor a number"):
        read_torch(path)


def test_a_tensor_takes_no_more_memory_than_its_file(tmp_path):
    """A view of one number as a billion of them."""
    good = open(f"{FOLDER}/legacy.pth", "rb").read()
    path = tmp_path / "wide.pth"
    # the shape (4, 6) of strides (6, 1) stands in the file as numbers of one byte
    path.write_bytes(good.replace(b"K\x06K\x04\x86", b"J" + struct.pack("<i", 1 << 30) + b"K\x04\x86"))
    tracemalloc.start()
    with pytest.raises(CheckpointError, match="beyond its storage"):
        arrays(path, read_torch)
    assert tracemalloc.get_traced_memory()[1] < 5 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("name", FILES)
def test_mutated_files_give_a_reason_or_arrays(name, tmp_path):
    good, read = open(f"{FOLDER}/{name}", "rb").read(), FILES[name]
    path, pick, refused = tmp_path / name, random.Random(1), 0
    for _ in range(100):
        data = bytearray(good)
        for _ in range(pick.randint(1, 4)):
            data[pick.randrange(len(data))] = pick.randrange(256)
        if pick.random() < 0.2:
            del data[pick.randrange(len(data)) :]
        path.write_bytes(data)
        try:
            arrays(path, read)
        except CheckpointError:
            refused += 1
    assert refused


def test_keras_files_are_read_in_a_process_of_their_own(tmp_path):
    path = tmp_path / "keras.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"Conv1"]
        group = file.create_group("Conv1")
        group.attrs["weight_names"] = [b"Conv1/kernel:0"]
        group["Conv1/kernel:0"] = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.array_equal(arrays(path, read_keras)["Conv1/kernel"], [[0, 1, 2], [3, 4, 5]])
    data = bytearray(path.read_bytes())
    data[: len(data) // 2] = data[: len(data) // 2][:8] + bytes(len(data) // 2 - 8)
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="not readable as Keras weights"):
        read_keras(path)


def test_a_file_of_another_backbone_is_refused_by_what_is_in_it(tmp_path):
    with pytest.raises(CheckpointError, match="no weights of resnet18 that are known .*begins with conv.weight"):
        open_pretrained(f"{FOLDER}/zip.pth", "resnet18")
    with pytest.raises(ValueError, match="did you mean resnet50"):
        open_pretrained(f"{FOLDER}/zip.pth", "resnet_50")
