"""Processes that start others, or are started: end with the parent, look at one, end one.

Imports nothing of the project and nothing heavy: a loader's worker asks for `end_with_parent` before anything else.
"""

import contextlib
import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1


def end_with_parent(parent):
    """The kernel kills this process when the thread of process `parent` that started it ends; at once if it did."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the line above
        os._exit(0)


def stat_fields(pid):
    """Fields of /proc/PID/stat from the state on (the name before it may hold anything); OSError if it is gone."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()


def children(parent=None):
    """The process numbers of the children of `parent` (None: of this process)."""
    parent = str(parent or os.getpid())
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                if stat_fields(name)[1] == parent:
                    found.append(int(name))
    return sorted(found)


def send_signal(pid, number=signal.SIGKILL):
    """Signal a process, whether or not it is there and ours."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
