"""Makes tests/data/torch/: small files by PyTorch and safetensors themselves.

Not run by any test; in the environment of reference_backbones.py (with safetensors), from the project's root:
python tests/support/reference_files.py
"""

import collections
import os

import torch
from safetensors.torch import save_file

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data", "torch")


def tensors():
    torch.manual_seed(1)
    base = torch.randn(4, 6)
    return collections.OrderedDict(
        [
            ("conv.weight", torch.randn(3, 2, 3, 3)),
            ("conv.bias", torch.nn.Parameter(torch.randn(3))),
            ("turned", base.t()),  # a view: strides
            ("part", base[1:3, 2:5]),  # a view: offset
            ("half", torch.randn(5).half()),
            ("brain", torch.randn(5).bfloat16()),
            ("double", torch.randn(2).double()),
            ("num_batches_tracked", torch.tensor(7)),
            ("flags", torch.tensor([True, False])),
            ("empty", torch.zeros(0, 3)),
        ]
    )


def main():
    state = tensors()
    plain = {name: tensor.detach().contiguous().clone() for name, tensor in state.items()}
    save_file(plain, os.path.join(FOLDER, "weights.safetensors"))
    save = lambda value, name, **how: torch.save(value, os.path.join(FOLDER, name), **how)  # noqa: E731
    save(state, "zip.pth")
    save(state, "legacy.pth", _use_new_zipfile_serialization=False)
    wrapped = {"epoch": 3, "state_dict": {f"module.{name}": tensor for name, tensor in state.items()}, "best": 0.5}
    save(wrapped, "checkpoint.pth")
    save(torch.nn.Linear(2, 2), "model.pth")
    save(torch.nn.Linear(2, 2), "model_legacy.pth", _use_new_zipfile_serialization=False)


main()
