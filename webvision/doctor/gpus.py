"""The GPUs, their driver, and the libraries that TensorFlow computes on them with."""

import ctypes
import os

from webvision import devices
from webvision.doctor.findings import BAD, GOOD, NOTE, Finding
from webvision.machine import cuda_libraries, gpu_facts, nvml, tensorflow_check
from webvision.machine.why_no_gpu import held_by_others, old_driver

OLDEST_CAPABILITY = (6, 0)  # of TensorFlow 2.21's wheel (tf.sysconfig.get_build_info); a start asks TensorFlow itself


def look():
    """Findings about GPUs; one that there is none, where no driver is."""
    try:
        machine = nvml.ask()
    except nvml.NvmlError as error:
        if not devices.device_files():
            return [Finding("gpus", NOTE, "no NVIDIA driver: everything runs on the CPU")]
        return [Finding("driver", BAD, f"does not answer: {error}", "after an update of the driver, reboot"), *_files()]
    return [_driver(machine), *_files(), *(_gpu(gpu) for gpu in machine.gpus), *_peers(machine), *_libraries()]


def count():
    """How many GPUs a command here would take: those that are there and visible."""
    return len(devices.choose_gpus(None))


def _driver(machine):
    found = f"{machine.driver}, runs CUDA up to {machine.cuda[0]}.{machine.cuda[1]}"
    reason = old_driver(machine)
    return Finding("driver", BAD if reason else GOOD, found, reason)


def _files():
    for path, code in gpu_facts.open_device_files():
        if code:
            yield Finding("device file", BAD, f"{path}: {os.strerror(code)}", f"`ls -l {path}` tells who may open it")


def _gpu(gpu):
    found = (
        f"{gpu.name}, {gpu.memory / 2**30:.1f} GiB, {gpu.memory_used / 2**30:.1f} taken, compute capability "
        f"{gpu.capability[0]}.{gpu.capability[1]}"
    )
    name = f"gpu {gpu.index}"
    if gpu.capability < OLDEST_CAPABILITY:
        return Finding(name, BAD, found, "TensorFlow is built for 6.0 and up: leave it out of --gpu")
    if gpu.prohibited:
        return Finding(name, BAD, found, f"its compute mode lets nobody in; `nvidia-smi -i {gpu.index} -c 0` opens it")
    reason = held_by_others(gpu)
    return Finding(name, BAD if reason else GOOD, found, reason)


def _peers(machine):
    if len(machine.gpus) > 1:
        alone = [gpu.index for gpu in machine.gpus if len(gpu.peers) < len(machine.gpus) - 1]
        found = "; ".join(f"{gpu.index} reads {', '.join(map(str, gpu.peers)) or 'none'}" for gpu in machine.gpus)
        advice = "gradients between the others go through the host's memory: slower, not wrong" if alone else ""
        yield Finding("peer access", NOTE if alone else GOOD, found, advice)


def _libraries():
    opened = cuda_libraries.open_libraries() or cuda_libraries.search_by_name()
    absent = cuda_libraries.missing(opened)
    if absent:
        names = ", ".join(library.name for library in absent)
        yield Finding("cuda libraries", BAD, f"missing: {names}", "`make setup GPU=1` installs them")
    elif tensorflow_check.finds_cuda_libraries() is False:
        yield Finding("cuda libraries", BAD, "open, and TensorFlow's own check fails", "`make check-gpu-lock`")
    else:
        yield Finding("cuda libraries", GOOD, "TensorFlow finds them all")
    yield from (_version(opened, *which) for which in _VERSIONS)


def _cudnn(library):
    number = library.cudnnGetVersion()
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}"


def _nccl(library):
    number = ctypes.c_int()
    library.ncclGetVersion(ctypes.byref(number))
    return f"{number.value // 10000}.{number.value // 100 % 100}.{number.value % 100}"


_VERSIONS = (
    ("cudnn", "libcudnn.so.9", _cudnn, "nothing runs without"),
    ("nccl", "libnccl.so.2", _nccl, "several GPUs need it"),
)


def _version(opened, name, library, ask, why):
    error = next(found.error for found in opened if found.name == library)
    if error:
        return Finding(name, BAD, error, f"`make setup GPU=1` installs it: {why}")
    try:
        return Finding(name, GOOD, ask(ctypes.CDLL(library)))  # open already: found by its name
    except (OSError, AttributeError) as failure:
        return Finding(name, BAD, str(failure), "`make setup GPU=1` installs it anew")
