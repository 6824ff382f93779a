"""What makes no progress is ended, and says where it stood: time limits, the stacks of all processes, exit code 10.

Long work is cut into sections; `reach` says that a piece of the present one is done. Without `watch` around them all of
this does nothing. Time in which the whole process was stopped (Ctrl-Z, a suspended machine) is not counted.
"""

import contextlib
import faulthandler
import os
import resource
import signal
import threading
import time

from webvision import processes
from webvision.errors import HangError
from webvision.files import NotOwnError, append_own

# seconds without progress: until the first step is done; a step; a batch of validation or evaluation; a save
LIMITS = {"start-up": 600.0, "step": 180.0, "validation": 420.0, "evaluation": 420.0, "saving": 300.0}
SLOWER = 3  # a section may also take this many times as long as it took before: some machines are slow, not stuck
DUMP_SECONDS = 10.0  # for writing the stacks, to a terminal or a disk that may be what hangs
_STACKS = "PYTHONFAULTHANDLER"
_active = None


@contextlib.contextmanager
def watch(seconds=None, *, folder=None):
    """Watch the block, which begins in the section 'start-up'.

    `seconds` replaces every limit, 0 switches the watch off; the stacks go to stderr, and into hang.log in `folder`.
    """
    global _active
    if seconds == 0:
        yield
        return
    kept = os.environ.get(_STACKS)
    os.environ[_STACKS] = "1"  # loader workers started from here on print their stacks when told to abort
    _active = _Watch(seconds, folder)
    try:
        yield
    finally:
        _active.stop()
        _active = None
        del os.environ[_STACKS]
        if kept is not None:
            os.environ[_STACKS] = kept


def reach(name=None):
    """Progress was made; from here on it is section `name` (None: the same one)."""
    if _active is not None:
        _active.reach(name)


@contextlib.contextmanager
def section(name):
    """The block is section `name`; after it, the one before goes on, its clock at zero."""
    before = _active.section if _active is not None else None
    reach(name)
    try:
        yield
    finally:
        reach(before)


class _Watch:
    def __init__(self, seconds, folder):
        self._limits = dict.fromkeys(LIMITS, float(seconds)) if seconds else LIMITS
        self._folder = folder
        self._slowest = {}
        self._stopped = threading.Event()
        self.section, self._idle, self._since = "start-up", 0.0, time.monotonic()
        threading.Thread(target=self._look, name="watchdog", daemon=True).start()

    def reach(self, name):
        now = time.monotonic()
        # What the start took tells what the first step may have taken.
        done = "step" if self.section == "start-up" else self.section
        self._slowest[done] = max(self._slowest.get(done, 0.0), min(now - self._since, self._idle + 1))
        self.section, self._idle, self._since = name or self.section, 0.0, now

    def stop(self):
        self._stopped.set()

    def _look(self):
        tick = min(1.0, min(self._limits.values()) / 10)
        while not self._stopped.wait(tick):
            self._idle += tick
            limit = max(self._limits[self.section], SLOWER * self._slowest.get(self.section, 0.0))
            if self._idle > limit:
                self._end(limit)

    def _end(self, limit):
        dump = threading.Thread(target=self._dump, args=(limit,), daemon=True)
        dump.start()
        dump.join(DUMP_SECONDS)
        for pid in processes.children():
            processes.send_signal(pid)
        os._exit(HangError.exit_code)

    def _dump(self, limit):
        lines = [
            f"error: no progress for {limit:.0f} s ({self.section}); the same command goes on from what is saved, and "
            "--hang-limit sets the seconds. Where it stood:"
        ]
        lines += [f"child process {pid}: {_doing(pid)}" for pid in processes.children()]
        text = "\n".join(lines) + "\n"
        os.write(2, text.encode())
        faulthandler.dump_traceback(2, all_threads=True)
        for pid in processes.children():  # a Python process that was told to prints its stack and dies
            with contextlib.suppress(OSError, ValueError):
                resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
            processes.send_signal(pid, signal.SIGABRT)
        if self._folder:
            path = os.path.join(self._folder, "hang.log")
            with contextlib.suppress(NotOwnError), append_own(path, encoding="utf-8") as file:
                file.write(text)
                file.flush()
                faulthandler.dump_traceback(file, all_threads=True)
        time.sleep(1.0)


def _doing(pid):
    try:
        fields = processes.stat_fields(pid)
        with open(f"/proc/{pid}/wchan", encoding="utf-8", errors="replace") as file:
            waits_in = file.read()
    except OSError as error:
        return f"gone ({error.strerror})"
    seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return f"state {fields[0]}, {seconds:.1f} s of CPU" + (
        f", waits in {waits_in}" if waits_in not in ("", "0") else ""
    )
