"""What can be found out about the GPUs of this process, for whoever has to say why there are too few."""

import os
from dataclasses import dataclass, replace

from webvision import devices
from webvision.errors import UsageError
from webvision.machine import cuda_driver, cuda_libraries, nvml


@dataclass(frozen=True)
class Facts:
    """What can be found out about the GPUs of this process."""

    asked: int
    offered: int  # by TensorFlow
    built_for: tuple | None = (6, 0)  # the oldest compute capability of this TensorFlow; None: built without CUDA
    libraries: tuple = ()  # of cuda_libraries
    device_files: tuple = ()  # (path, errno or 0) of opening each
    visible: str | None = None  # CUDA_VISIBLE_DEVICES
    machine: object = None  # nvml.Machine, or None
    nvml_error: str = ""
    started: tuple = (0, "CUDA_SUCCESS")  # cuda_driver.start()
    session_error: str = ""  # TensorFlow's own words, where it raised


def visible_gpus(machine, visible):
    """Those that CUDA_VISIBLE_DEVICES=`visible` shows, in its order; all where it is None."""
    if visible is None:
        return list(machine.gpus)
    by_name = {str(gpu.index): gpu for gpu in machine.gpus} | {gpu.uuid: gpu for gpu in machine.gpus}
    return [by_name[entry.strip()] for entry in visible.split(",") if entry.strip() in by_name]


def known_gpus(entries):
    """The nvml.Gpu of each CUDA_VISIBLE_DEVICES entry that the driver knows; none where it does not answer."""
    try:
        return visible_gpus(nvml.ask(), ",".join(entries))
    except nvml.NvmlError:
        return []


def chosen_gpus(entries):
    """The nvml.Gpu of each CUDA_VISIBLE_DEVICES entry; UsageError where the driver does not answer."""
    if not entries:
        return []
    try:
        return visible_gpus(nvml.ask(), ",".join(entries))
    except nvml.NvmlError as error:
        raise UsageError(f"what fits these GPUs cannot be told: {error}; name a precision and a number") from None


def gather(asked, offered, *, libraries=(), built_for=(6, 0), session_error=""):
    """The Facts of this process. Asks the CUDA driver, so only right where TensorFlow has asked it already."""
    facts = Facts(
        asked,
        offered,
        built_for=built_for,
        libraries=tuple(libraries) or tuple(cuda_libraries.search_by_name()),
        device_files=tuple(open_device_files()),
        visible=os.environ.get("CUDA_VISIBLE_DEVICES"),
        started=cuda_driver.start(),
        session_error=session_error,
    )
    try:
        return replace(facts, machine=nvml.ask())
    except nvml.NvmlError as error:
        return replace(facts, nvml_error=str(error))


def open_device_files(paths=None, opener=os.open):
    """(path, errno or 0) of opening each of the driver's device files; whoever computes opens all of them."""
    needed = [*devices.device_files(), "/dev/nvidiactl", "/dev/nvidia-uvm"] if paths is None else paths
    found = []
    for path in needed:
        try:
            os.close(opener(path, os.O_RDWR | os.O_CLOEXEC))
            found.append((path, 0))
        except OSError as error:
            found.append((path, error.errno))
    return found
