"""What a container or scheduler allows this process, beside what the machine has: the kernel's control groups."""

import os

GROUPS = "/sys/fs/cgroup"
MEMINFO = "/proc/meminfo"


def cpu_quota(root=GROUPS):
    """Cores' worth of time that the container may use, or None: `docker --cpus 2` hides no core, it only stops all."""
    quota, period = (_read(root, "cpu.max").split() + ["", ""])[:2]  # version 2
    if not period:
        quota, period = _read(root, "cpu/cpu.cfs_quota_us"), _read(root, "cpu/cpu.cfs_period_us")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else None


def memory_limit(root=GROUPS):
    """Bytes, or None."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        value = _read(root, name)
        if value.isdigit() and int(value) < 1 << 60:  # version 1 writes a huge number for none
            return int(value)
    return None


def memory_available(path=MEMINFO):
    """Bytes that the kernel can give without swapping, on the whole machine."""
    with open(path, encoding="ascii") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("MemAvailable"))


def _read(root, name):
    try:
        with open(os.path.join(root, name), encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""
