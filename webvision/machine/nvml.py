"""The GPUs as the driver's management library tells them (NVML, which nvidia-smi stands on): no context, no TensorFlow.

It sees every GPU, whatever CUDA_VISIBLE_DEVICES says, and costs no memory on them.
"""

import contextlib
import ctypes
from dataclasses import dataclass

LIBRARY = "libnvidia-ml.so.1"
_OK = 0
_PEER_READ = 0  # NVML_P2P_CAPS_INDEX_READ
_TEXT = 96


class NvmlError(Exception):
    """The management library is missing, or does not answer: the message says which."""


@dataclass(frozen=True)
class Gpu:
    """One GPU, by the driver's number."""

    index: int
    name: str
    uuid: str
    capability: tuple  # compute capability, as (8, 0)
    memory: int  # bytes
    memory_used: int  # bytes, by everybody
    processes: tuple  # (pid, bytes or None) of those that compute on it; a container does not see those outside
    prohibited: bool  # its compute mode lets nobody in
    peers: tuple  # indices of those whose memory it reads directly


@dataclass(frozen=True)
class Machine:
    """What the driver says of the whole machine."""

    driver: str  # as "550.54.15"
    cuda: tuple  # the newest CUDA that this driver runs, as (12, 4)
    gpus: tuple


class _Memory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


class _Process(ctypes.Structure):
    _fields_ = [
        ("pid", ctypes.c_uint),
        ("memory", ctypes.c_ulonglong),
        ("gpu_instance", ctypes.c_uint),
        ("compute_instance", ctypes.c_uint),
    ]


def ask(library=None):
    """The Machine; NvmlError with one line where there is no driver or it does not answer."""
    library = library or LIBRARY
    try:
        nvml = ctypes.CDLL(library)
    except OSError as error:
        raise NvmlError(f"{library} cannot be opened ({error})") from None
    _call(nvml, "nvmlInit_v2")
    try:
        return _machine(nvml)
    finally:
        nvml.nvmlShutdown()


def _machine(nvml):
    version = ctypes.c_int()
    _call(nvml, "nvmlSystemGetCudaDriverVersion_v2", ctypes.byref(version))
    handles = [_handle(nvml, index) for index in range(_number(nvml, "nvmlDeviceGetCount_v2"))]
    return Machine(
        _text(nvml, "nvmlSystemGetDriverVersion"),
        (version.value // 1000, version.value % 1000 // 10),
        tuple(_gpu(nvml, index, handles) for index in range(len(handles))),
    )


def _gpu(nvml, index, handles):
    handle, memory = handles[index], _Memory()
    major, minor, mode = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    _call(nvml, "nvmlDeviceGetMemoryInfo", handle, ctypes.byref(memory))
    _call(nvml, "nvmlDeviceGetCudaComputeCapability", handle, ctypes.byref(major), ctypes.byref(minor))
    with contextlib.suppress(NvmlError):  # what not every GPU or virtual machine tells
        _call(nvml, "nvmlDeviceGetComputeMode", handle, ctypes.byref(mode))
    return Gpu(
        index=index,
        name=_text(nvml, "nvmlDeviceGetName", handle),
        uuid=_text(nvml, "nvmlDeviceGetUUID", handle),
        capability=(major.value, minor.value),
        memory=memory.total,
        memory_used=memory.used,
        processes=_processes(nvml, handle),
        prohibited=mode.value == 2,
        peers=tuple(other for other in range(len(handles)) if other != index and _reads(nvml, handle, handles[other])),
    )


def _processes(nvml, handle):
    count, table = ctypes.c_uint(64), (_Process * 64)()
    with contextlib.suppress(NvmlError):
        _call(nvml, "nvmlDeviceGetComputeRunningProcesses_v3", handle, ctypes.byref(count), table)
        unknown = 2**64 - 1
        return tuple((p.pid, None if p.memory == unknown else p.memory) for p in table[: count.value])
    return ()


def _reads(nvml, handle, other):
    status = ctypes.c_int(-1)
    with contextlib.suppress(NvmlError):
        _call(nvml, "nvmlDeviceGetP2PStatus", handle, other, _PEER_READ, ctypes.byref(status))
    return status.value == _OK


def _handle(nvml, index):
    handle = ctypes.c_void_p()
    _call(nvml, "nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(handle))
    return handle


def _number(nvml, function):
    number = ctypes.c_uint()
    _call(nvml, function, ctypes.byref(number))
    return number.value


def _text(nvml, function, *arguments):
    text = ctypes.create_string_buffer(_TEXT)
    _call(nvml, function, *arguments, text, ctypes.c_uint(_TEXT))
    return text.value.decode("ascii", "replace")


def _call(nvml, function, *arguments):
    call = getattr(nvml, function, None)
    if call is None:
        raise NvmlError(f"the driver's library has no {function}: it is older than anything TensorFlow 2.21 runs on")
    status = call(*arguments)
    if status != _OK:
        nvml.nvmlErrorString.restype = ctypes.c_char_p
        raise NvmlError(f"{function}: {nvml.nvmlErrorString(status).decode('ascii', 'replace')}")
