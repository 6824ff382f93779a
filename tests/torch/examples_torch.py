"""examples/torch_training.py with a real PyTorch: `make test-torch`."""

import os
import re
import subprocess
import sys

import torch

from tests.support.data_set import ROOT, write_data_set


def test_the_example_trains_validates_and_writes_weights_that_load(tmp_path):
    data = write_data_set(tmp_path / "data")
    done = subprocess.run(
        [sys.executable, os.path.join(ROOT, "examples", "torch_training.py"), "--data", str(data)]
        + ["--epochs", "2", "--batch", "8", "--size", "32", "--workers", "1", "--out", "w.pth"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    lines = re.findall(r"^epoch (\d)/2: loss ([\d.]+), val error ([\d.]+), \d+ images/s", done.stdout, re.MULTILINE)
    assert [line[0] for line in lines] == ["1", "2"] and all(0 <= float(line[2]) <= 1 for line in lines)
    sys.path.insert(0, os.path.join(ROOT, "examples"))
    try:
        import torch_training
    finally:
        sys.path.pop(0)
    model = torch_training.resnet18(3)
    model.load_state_dict(torch.load(tmp_path / "w.pth", weights_only=True))
    assert sum(weight.numel() for weight in torch_training.resnet18().parameters()) == 11_689_512  # as published
    assert "tensorflow" not in sys.modules
