"""Each thing that can be in the way of a GPU is said by its name, with what to do and the right exit code."""

import errno
import os
from dataclasses import replace

import pytest

from tests.support.driver import cuda_library, nvml_library
from webvision.machine import cuda_driver, gpu_facts, nvml
from webvision.machine.cuda_libraries import Library
from webvision.machine.gpu_facts import Facts, gather, open_device_files, visible_gpus
from webvision.machine.nvml import Gpu, Machine
from webvision.machine.why_no_gpu import explain, held_by_others

GiB = 1 << 30
T4 = Gpu(0, "Tesla T4", "GPU-1a", (7, 5), 15 * GiB, GiB, (), False, ())
K80 = replace(T4, index=1, name="Tesla K80", uuid="GPU-2b", capability=(3, 7))
FULL = replace(T4, memory_used=15 * GiB - 1000, processes=((os.getpid(), 14 * GiB),))
MACHINE = Machine("550.54.15", (12, 4), (T4,))
FILES = (("/dev/nvidia0", 0), ("/dev/nvidiactl", 0), ("/dev/nvidia-uvm", 0))
FACTS = Facts(1, 0, machine=MACHINE, device_files=FILES)


def denied(path, code):
    return tuple((name, code if name == path else 0) for name, _ in FILES)


CASES = {
    "not built for GPUs": ({"built_for": None}, 2, "this TensorFlow is built without CUDA; `make setup GPU=1`"),
    "a library": (
        {"libraries": (Library("libcusolver.so.11", error="no such file"), Library("libcudart.so.12", "/x"))},
        2,
        "it opens libcusolver.so.11, which cannot be (no such file); `make setup GPU=1` installs",
    ),
    "permission": (
        {"device_files": denied("/dev/nvidia0", errno.EACCES)},
        7,
        "/dev/nvidia0 may not be opened by this user; `ls -l /dev/nvidia0`",
    ),
    "a container's rules": (
        {"device_files": denied("/dev/nvidiactl", errno.EPERM)},
        7,
        "/dev/nvidiactl may not be opened",
    ),
    "a device file": (
        {"device_files": denied("/dev/nvidia-uvm", errno.ENOENT)},
        2,
        "/dev/nvidia-uvm does not open (No such file or directory); `nvidia-modprobe -u -c 0`",
    ),
    "no driver": (
        {"started": (None, "cannot open shared object file"), "machine": None},
        2,
        "the driver's libcuda.so.1 cannot be opened (cannot open shared object file); install NVIDIA's driver",
    ),
    "an updated driver": (
        {"started": (803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH")},
        2,
        "of different versions, as after",
    ),
    "an updated driver, by NVML": (
        {"machine": None, "nvml_error": "nvmlInit_v2: Driver/library version mismatch"},
        2,
        "of different versions, as after an update; reboot",
    ),
    "an old driver": (
        {"machine": replace(MACHINE, driver="470.82.01", cuda=(11, 4))},
        2,
        "driver 470.82.01 runs CUDA up to 11.4, and the libraries in requirements-gpu.lock are CUDA 12; install driver",
    ),
    "a number too many": (
        {"visible": "0,5", "asked": 2, "offered": 1},
        2,
        "1 of the 2 GPUs asked for: CUDA_VISIBLE_DEVICES=0,5 names 5, and this machine has 1 (0 to 0); CUDA ignores it",
    ),
    "an unknown UUID": ({"visible": "GPU-9f"}, 2, "CUDA_VISIBLE_DEVICES=GPU-9f names GPU-9f; here are GPU-1a"),
    "fewer shown": ({"visible": "0", "asked": 2, "offered": 1}, 2, "CUDA_VISIBLE_DEVICES=0 shows 1 to this process"),
    "an old GPU": (
        {"machine": replace(MACHINE, gpus=(T4, K80)), "asked": 2, "offered": 1},
        2,
        "GPU 1 (Tesla K80) has compute capability 3.7, and TensorFlow is built for 6.0 and up; leave it out of --gpu",
    ),
    "compute mode": (
        {"machine": replace(MACHINE, gpus=(replace(T4, prohibited=True),))},
        7,
        "GPU 0 (Tesla T4) is in compute mode 'prohibited'; `nvidia-smi -i 0 -c 0`",
    ),
    "held memory": (
        {"machine": replace(MACHINE, gpus=(FULL,))},
        7,
        f"15.0 of the 15.0 GiB of GPU 0 (Tesla T4) are taken, by process {os.getpid()} (",
    ),
    "held by a stranger": (
        {"machine": replace(MACHINE, gpus=(replace(FULL, processes=()),))},
        7,
        "are taken by processes that this one cannot see; wait for them",
    ),
    "exclusive": (
        {"started": (46, "CUDA_ERROR_DEVICE_UNAVAILABLE")},
        7,
        "CUDA_ERROR_DEVICE_UNAVAILABLE (46): another process",
    ),
    "no device": ({"started": (100, "CUDA_ERROR_NO_DEVICE")}, 2, "CUDA_ERROR_NO_DEVICE (100): it sees no GPU"),
    "a code without advice": (
        {"started": (719, "CUDA_ERROR_LAUNCH_FAILED")},
        2,
        "CUDA_ERROR_LAUNCH_FAILED (719): `python3",
    ),
    "TensorFlow's own words": ({"session_error": "out of memory"}, 2, "it says: out of memory; TF_CPP_MIN_LOG_LEVEL=0"),
    "nothing": ({}, 2, "TensorFlow does not offer the GPU asked for: nothing here tells why"),
}


@pytest.mark.parametrize("change, code, words", CASES.values(), ids=CASES)
def test_what_is_in_the_way_is_said(change, code, words):
    error = explain(replace(FACTS, **change))
    assert error.exit_code == code
    assert words in str(error) and "\n" not in str(error) and str(error).endswith("--gpu -1 computes on the CPU")


def test_what_is_wrong_with_gpus_that_nobody_asked_for_is_not_the_reason():
    others_file = (("/dev/nvidia1", errno.EPERM), *FILES)
    facts = replace(FACTS, visible="0", device_files=others_file, machine=replace(MACHINE, gpus=(T4, K80)))
    assert "nothing here tells why" in str(explain(facts))


def test_visible_gpus_come_in_the_order_asked_for():
    machine = replace(MACHINE, gpus=(T4, K80))
    assert visible_gpus(machine, None) == [T4, K80]
    assert visible_gpus(machine, "1, 0") == [K80, T4]
    assert visible_gpus(machine, "GPU-2b") == [K80] and visible_gpus(machine, "") == []


def test_memory_that_is_free_is_nobodys():
    assert held_by_others(T4) == ""
    assert f"process {os.getpid()} (" in held_by_others(T4, room=15 * GiB) or "cannot see" in held_by_others(
        T4, room=15 * GiB
    )
    assert str(os.getpid()) not in held_by_others(FULL, own=os.getpid())


def test_device_files_are_opened_as_cuda_opens_them(tmp_path):
    (tmp_path / "nvidia0").write_text("")

    def refuse(path, flags):
        if path.endswith("ctl"):
            raise PermissionError(errno.EPERM, "by a container")
        return os.open(path, flags)

    paths = [str(tmp_path / name) for name in ("nvidia0", "nvidiactl", "nvidia-uvm")]
    assert open_device_files(paths, refuse) == [(paths[0], 0), (paths[1], errno.EPERM), (paths[2], errno.ENOENT)]


def test_the_facts_are_gathered_where_they_are(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu_facts, "open_device_files", lambda: [("/dev/nvidia0", 0)])
    monkeypatch.setattr(nvml, "LIBRARY", str(nvml_library(tmp_path, used=16000, holder=os.getpid())))
    monkeypatch.setattr(cuda_driver, "LIBRARY", str(cuda_library(tmp_path, 2, "CUDA_ERROR_OUT_OF_MEMORY")))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    facts = gather(1, 0, libraries=[Library("libcudart.so.12", "/x")])
    assert (facts.started, facts.visible, len(facts.machine.gpus)) == ((2, "CUDA_ERROR_OUT_OF_MEMORY"), "2", 4)
    assert f"GPU 2 (Tesla T4) are taken, by process {os.getpid()} (" in str(explain(facts))
    monkeypatch.setattr(nvml, "LIBRARY", str(nvml_library(tmp_path / "updated", init=18)))
    assert "of different versions" in str(explain(gather(1, 0, libraries=[Library("libcudart.so.12", "/x")])))
