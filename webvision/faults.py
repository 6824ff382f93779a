"""Faults on purpose, so that anyone can rehearse what a crash at the worst moment does: WEBVISION_FAULT=POINT:N[:HOW].

The process is hit when it comes past POINT for the Nth time. HOW is `kill` (-9, the default), `term`, `int`, `stop`
(the whole process frozen), `hang` (waits for ever there, as for a dead file system), `full` (the disk is full from here
on) or `full-once`. Several, separated by commas.

Points: start, step, save, save-data, save-manifest, save-pointer, prune, validate, epoch-end, predict, predictions,
own-folder, own-stage.
"""

import errno
import os
import signal
import time
from collections import Counter

VARIABLE = "WEBVISION_FAULT"
_SIGNALS = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "int": signal.SIGINT, "stop": signal.SIGSTOP}
_passed = Counter()


def point(name):
    """Come past `name`: nothing happens, unless WEBVISION_FAULT says so."""
    plan = os.environ.get(VARIABLE)
    if not plan:
        return
    _passed[name] += 1
    for fault in plan.split(","):
        where, number, how = (fault.split(":") + ["kill"])[:3]
        if where != name or _passed[name] < int(number):
            continue
        if how == "full" or how == "full-once" and _passed[name] == int(number):
            raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} (by {VARIABLE}={fault})")
        if how == "hang":
            time.sleep(1 << 30)
        if how in _SIGNALS and _passed[name] == int(number):
            os.kill(os.getpid(), _SIGNALS[how])
