"""What the machine gives this process: cores, memory, shared memory, open files, the clock."""

import os
import resource
import time

from webvision.devices import cpu_cores
from webvision.doctor.findings import BAD, GOOD, NOTE, Finding
from webvision.machine import limits

FILES = 1024  # open files: a worker needs a dozen, the loader five a worker
SHARED = 1 << 30  # bytes of /dev/shm that NCCL may take between the GPUs of one machine
MEMORY = 4 << 30  # bytes: TensorFlow, a ResNet-50 and four batches of 256 pictures


def look(*, gpus=0):
    """Findings about cores, memory, limits and the clock."""
    return [_cores(), _memory(), _shared_memory(gpus), _open_files(), _clock(time.time())]


def _cores():
    given, quota = cpu_cores(), limits.cpu_quota()
    found = f"{given} of {os.cpu_count()} given to this process"
    if quota is None:
        return Finding("cores", GOOD, found)
    found += f", and {quota:g} cores' worth of time (the container's quota)"
    if quota >= given:
        return Finding("cores", GOOD, found)
    return Finding("cores", BAD, found, f"--workers {max(1, round(quota))}: more only slow each other down")


def _memory():
    free, limit = limits.memory_available(), limits.memory_limit()
    found = f"{free / 2**30:.1f} GiB available" + (f", limit {limit / 2**30:.1f} GiB" if limit else "")
    smallest = min(free, limit or free)
    return Finding(
        "memory", GOOD if smallest >= MEMORY else BAD, found, _unless(smallest >= MEMORY, "a smaller --batch")
    )


def _shared_memory(gpus):
    try:
        status = os.statvfs("/dev/shm")
    except OSError as error:
        return Finding("/dev/shm", BAD if gpus > 1 else NOTE, error.strerror, "NCCL between GPUs needs it")
    free = status.f_bavail * status.f_frsize
    found = f"{free / 2**30:.2f} GiB free of {status.f_blocks * status.f_frsize / 2**30:.2f}"
    if free >= SHARED:
        return Finding("/dev/shm", GOOD, found)
    state = BAD if gpus > 1 else NOTE
    return Finding("/dev/shm", state, found, "several GPUs want 1 GiB for NCCL (in a container: --shm-size=8g)")


def _open_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = soft == resource.RLIM_INFINITY or soft >= FILES
    return Finding(
        "open files", GOOD if enough else BAD, f"{soft} allowed", _unless(enough, f"ulimit -n {min(hard, 65536)}")
    )


def _clock(now):
    found = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(now))
    right = now > os.path.getmtime(__file__) - 86400
    return Finding(
        "clock", GOOD if right else BAD, found, _unless(right, "it is before this program was written: set it")
    )


def _unless(good, advice):
    return "" if good else advice
