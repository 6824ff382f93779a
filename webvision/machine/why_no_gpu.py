"""Why TensorFlow offers fewer GPUs than were asked for, in one line: what is in the way, and what to do.

Each reason is a function of the facts, and the first that holds is told, in the order in which a start meets them.
"""

import errno
import os

from webvision.environment import DOOR
from webvision.errors import ResourceError, UsageError
from webvision.machine import cuda_driver, cuda_libraries
from webvision.machine.gpu_facts import visible_gpus

ROOM = 1 << 30  # bytes that a context, cuDNN and the smallest network take; with less free nothing can start
CUDA_MAJOR = 12  # of the wheels in requirements-gpu.lock; a driver runs every CUDA of the major version that it knows
OLDEST_DRIVER = "525.60.13"  # the first of CUDA 12 (NVIDIA's table of minor version compatibility)
DOCTOR = f"`{DOOR} doctor` looks at everything"


def explain(facts):
    """The UsageError (exit 2) or ResourceError (7) to raise."""
    kind, reason = next(filter(None, (reason(facts) for reason in REASONS)))
    offers = f"TensorFlow offers {facts.offered or 'none'} of the {facts.asked} GPUs asked for"
    if facts.asked == 1:
        offers = "TensorFlow does not offer the GPU asked for"
    return kind(f"{offers}: {reason}. --gpu -1 computes on the CPU")


def _without_cuda(facts):
    if facts.built_for is None:
        return UsageError, "this TensorFlow is built without CUDA; `make setup GPU=1` installs the one of the lock"


def _library(facts):
    if absent := cuda_libraries.missing(facts.libraries):
        rest = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        return UsageError, (
            f"it opens {absent[0].name}{rest}, which cannot be ({absent[0].error}); `make setup GPU=1` installs "
            "the CUDA libraries"
        )


def _permission(facts):
    denied = [path for path, code in _wanted_files(facts) if code in (errno.EACCES, errno.EPERM)]
    if denied:
        return ResourceError, (
            f"{denied[0]} may not be opened by this user; `ls -l {denied[0]}` names the group that may (in a "
            "container: start it with --gpus all)"
        )


def _device_file(facts):
    absent = [(path, code) for path, code in _wanted_files(facts) if code]
    if absent:
        path, code = absent[0]
        return UsageError, (
            f"{path} does not open ({os.strerror(code)}); "
            "`nvidia-modprobe -u -c 0` makes it (in a container: start it with --gpus all)"
        )


def _wanted_files(facts):
    """The device files without those of GPUs that are not asked for: a scheduler closes those of others' GPUs."""
    numbers = [entry.strip() for entry in (facts.visible or "").split(",")]
    if facts.visible is None or not all(number.isdigit() for number in numbers):
        return facts.device_files
    own = {f"/dev/nvidia{number}" for number in numbers}
    return [(path, code) for path, code in facts.device_files if path in own or not path[-1].isdigit()]


def _driver_library(facts):
    code, words = facts.started
    if code is None:
        return UsageError, (
            f"the driver's {cuda_driver.LIBRARY} cannot be opened ({words}); install NVIDIA's driver (in a container: "
            "start it with --gpus all)"
        )


def _two_drivers(facts):
    if facts.started[0] == cuda_driver.MISMATCH or "mismatch" in facts.nvml_error:
        return UsageError, (
            "the driver's library and its kernel module are of different versions, as after an update; reboot "
            "(in a container: start it anew)"
        )


def _old_driver(facts):
    if facts.machine and facts.machine.cuda < (CUDA_MAJOR, 0):
        return UsageError, old_driver(facts.machine)


def old_driver(machine):
    """What to say of a driver that is older than the CUDA of the lock; '' where it is not."""
    if machine.cuda >= (CUDA_MAJOR, 0):
        return ""
    return (
        f"driver {machine.driver} runs CUDA up to {machine.cuda[0]}.{machine.cuda[1]}, and the libraries in "
        f"requirements-gpu.lock are CUDA {CUDA_MAJOR}; install driver {OLDEST_DRIVER} or newer"
    )


def _visible(facts):
    if facts.visible is None:
        return None
    entries = [entry.strip() for entry in facts.visible.split(",") if entry.strip()]
    count = len(facts.machine.gpus) if facts.machine else None
    wrong = [entry for entry in entries if entry.lstrip("-").isdigit() and not 0 <= int(entry) < (count or 1 << 16)]
    if wrong:
        here = (
            f"this machine has {count}" + (f" (0 to {count - 1})" if count else "")
            if count is not None
            else "no GPU is"
        )
        return UsageError, (
            f"CUDA_VISIBLE_DEVICES={facts.visible} names {wrong[0]}, and {here}; CUDA ignores it and all after it"
        )
    if facts.machine and not any(entry.isdigit() for entry in entries):
        uuids = [gpu.uuid for gpu in facts.machine.gpus]
        unknown = [e for e in entries if e.startswith("GPU-") and not any(uuid.startswith(e) for uuid in uuids)]
        if unknown:
            return UsageError, f"CUDA_VISIBLE_DEVICES={facts.visible} names {unknown[0]}; here are {', '.join(uuids)}"
    if len(entries) < facts.asked:
        return UsageError, f"CUDA_VISIBLE_DEVICES={facts.visible} shows {len(entries)} to this process"
    return None


def _capability(facts):
    for gpu in _asked_gpus(facts):
        if gpu.capability < facts.built_for:
            have, need = (".".join(map(str, version)) for version in (gpu.capability, facts.built_for))
            return UsageError, (
                f"GPU {gpu.index} ({gpu.name}) has compute capability {have}, and TensorFlow is built for {need} "
                "and up; leave it out of --gpu"
            )


def _prohibited(facts):
    for gpu in _asked_gpus(facts):
        if gpu.prohibited:
            return ResourceError, (
                f"GPU {gpu.index} ({gpu.name}) is in compute mode 'prohibited'; `nvidia-smi -i {gpu.index} -c 0` "
                "opens it"
            )


def _held(facts):
    for gpu in _asked_gpus(facts):
        if reason := held_by_others(gpu):
            return ResourceError, reason


def held_by_others(gpu, room=ROOM, own=None):
    """Who holds the memory of a GPU of which less than `room` bytes are free; '' where that much is. `own`: a process
    that does not count."""
    if gpu.memory - gpu.memory_used >= room:
        return ""
    held = (
        f"{gpu.memory_used / 2**30:.1f} of the {gpu.memory / 2**30:.1f} GiB of GPU {gpu.index} ({gpu.name}) are taken"
    )
    others = others_on(gpu, own)
    if not others:
        return f"{held} by processes that this one cannot see; wait for them, or choose another with --gpu"
    return f"{held}, by {others}; wait for it, or choose another GPU with --gpu"


def refuse_full(gpus):
    """ResourceError if one of `gpus` has no room, which others hold; right before this process takes any of it."""
    for reason in filter(None, map(held_by_others, gpus)):
        raise ResourceError(reason)


def others_on(gpu, own=None):
    """The processes that compute on a GPU, besides `own`, in words; '' where there are none to be seen."""
    return ", ".join(_process(*process) for process in gpu.processes[:4] if process[0] != own)


def _process(pid, memory):
    size = f", {memory / 2**30:.1f} GiB" if memory else ""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            command = file.read(200).replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        command = ""
    return f"process {pid} ({command[:60]}{size})" if command else f"process {pid}{size}"


_CODES = {
    2: (ResourceError, "the GPU's memory is full; `nvidia-smi` names the processes on it"),
    34: (UsageError, "a stub of libcuda.so.1 is found before the driver's own; take its folder out of LD_LIBRARY_PATH"),
    46: (ResourceError, "another process has the GPU for itself (compute mode 'exclusive'); wait for it"),
    100: (UsageError, "it sees no GPU; does `nvidia-smi` list one? (in a container: start it with --gpus all)"),
    802: (ResourceError, "the links between the GPUs are not ready; start nvidia-fabricmanager"),
    804: (
        UsageError,
        "a 'cuda-compat' package is in the way that this GPU does not take; remove it, or take its folder out of "
        "LD_LIBRARY_PATH",
    ),
    999: (ResourceError, "as after a suspend; reload nvidia_uvm (`rmmod nvidia_uvm; modprobe nvidia_uvm`) or reboot"),
}


def _refused(facts):
    code, name = facts.started
    if code:
        kind, advice = _CODES.get(code, (UsageError, f"{DOCTOR}; `dmesg | grep -i nvrm` tells the driver's side"))
        return kind, f"the CUDA driver answers {name} ({code}): {advice}"


def _unknown(facts):
    said = facts.session_error or facts.nvml_error
    return UsageError, (
        f"{'it says: ' + said if said else 'nothing here tells why'}; TF_CPP_MIN_LOG_LEVEL=0 shows its log, and "
        f"{DOCTOR}"
    )


REASONS = (
    _without_cuda,
    _permission,
    _device_file,
    _driver_library,
    _two_drivers,
    _old_driver,
    _library,
    _visible,
    _capability,
    _prohibited,
    _held,
    _refused,
    _unknown,
)


def _asked_gpus(facts):
    """Those of the machine's GPUs that this process may use."""
    if not facts.machine:
        return []
    return visible_gpus(facts.machine, facts.visible)
