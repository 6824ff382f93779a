"""What the driver says of its GPUs, through libraries that answer as a machine with GPUs would."""

import os

import pytest

from tests.support.driver import cuda_library, nvml_library
from webvision.machine import cuda_driver, nvml


def test_the_driver_tells_its_gpus(tmp_path):
    machine = nvml.ask(str(nvml_library(tmp_path, holder=4242)))
    assert (machine.driver, machine.cuda, len(machine.gpus)) == ("550.54.15", (12, 4), 4)
    gpu = machine.gpus[1]
    assert (gpu.index, gpu.name, gpu.uuid, gpu.capability) == (1, "Tesla T4", "GPU-0000001", (7, 5))
    assert (gpu.memory, gpu.memory_used, gpu.prohibited) == (16 << 30, 500 << 20, False)
    assert gpu.processes == ((4242, 5 << 30),)
    assert [gpu.peers for gpu in machine.gpus] == [(1,), (0,), (3,), (2,)]


@pytest.mark.parametrize(
    "answers, words", [({"init": 18}, "nvmlInit_v2: Driver/library version mismatch"), ({"init": 3}, "Not Supported")]
)
def test_a_driver_that_does_not_answer_is_one_line(tmp_path, answers, words):
    with pytest.raises(nvml.NvmlError, match=words):
        nvml.ask(str(nvml_library(tmp_path, **answers)))


def test_no_driver_is_one_line():
    with pytest.raises(nvml.NvmlError, match="libnone.so.1 cannot be opened"):
        nvml.ask("libnone.so.1")


def test_the_cuda_driver_tells_how_it_started(tmp_path):
    assert cuda_driver.start(str(cuda_library(tmp_path / "good"))) == (0, "CUDA_SUCCESS")
    assert cuda_driver.start(str(cuda_library(tmp_path / "none", 100, "CUDA_ERROR_NO_DEVICE"))) == (
        100,
        "CUDA_ERROR_NO_DEVICE",
    )
    code, why = cuda_driver.start(os.path.join(tmp_path, "libcuda.so.1"))
    assert code is None and "No such file" in why
