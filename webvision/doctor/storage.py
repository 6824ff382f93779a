"""The disks that a run writes to and reads from: room, speed, and whether their clock is this machine's."""

import os
import tempfile
import time

from webvision.doctor.findings import BAD, GOOD, NOTE, Finding

PROBE = 64 << 20  # bytes written and read back
ROOM = 10 << 30  # bytes: ten checkpoints of ResNet-50 with momentum are 2 GB
SLOW = 50e6  # bytes a second; a checkpoint of 200 MB then takes 4 s
SKEW = 2.0  # seconds


def look(folder):
    """Findings about the file system that `folder`, or its nearest existing parent, lies on."""
    folder = os.path.abspath(folder)
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return [_room(folder), *_probe(folder)]


def _room(folder):
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    found = f"{free / 2**30:.1f} GiB free at {folder}"
    if not status.f_favail and status.f_files:
        return Finding(
            "disk room", BAD, f"{found}, and no file more (inodes)", "remove files, or choose another folder"
        )
    return Finding("disk room", GOOD if free >= ROOM else BAD, found, "" if free >= ROOM else "checkpoints need 10 GiB")


def _probe(folder):
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            start = time.perf_counter()
            block = os.urandom(1 << 20)
            for _ in range(PROBE >> 20):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
            written = time.perf_counter() - start
            ahead = os.fstat(file.fileno()).st_mtime - time.time()
            read = _read_back(file)
    except OSError as error:
        yield Finding("disk speed", BAD, f"{folder} cannot be written to: {error.strerror}", "choose another folder")
        return
    rates = [PROBE / max(seconds, 1e-9) for seconds in (written, read)]
    slow = min(rates) < SLOW
    found = f"writes {rates[0] / 1e6:.0f} MB/s, reads {rates[1] / 1e6:.0f} MB/s"
    yield Finding("disk speed", NOTE if slow else GOOD, found, "saving and loading will be felt" if slow else "")
    skewed = abs(ahead) > SKEW
    found = f"{abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} this machine's"
    yield Finding(
        "disk clock",
        BAD if skewed else GOOD,
        found,
        "set both by NTP: `make` and side files go by it" if skewed else "",
    )


def _read_back(file):
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # from the disk, not from memory
    file.seek(0)
    start = time.perf_counter()
    while file.read(1 << 20):
        pass
    return time.perf_counter() - start
