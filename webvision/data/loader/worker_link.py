"""The parent's end of one worker process: its pipes, the batches it owes, and whether it lives."""

import contextlib
import errno
import json
import os
import signal
import subprocess

from webvision.data.loader.ring import inheritable
from webvision.data.loader.spawn import cannot_start, start_worker
from webvision.errors import HangError
from webvision.processes import stat_fields


class WorkerLink:
    """A started worker, number `spec['worker']`, that shares the memory of `ring`."""

    def __init__(self, spec, ring):
        fds = []
        try:
            for _ in range(2):
                fds += os.pipe2(os.O_CLOEXEC)
            for place, fd in enumerate(fds):
                fds[place] = inheritable(fd)
            job_end, self.job_fd, self.answer_fd, answer_end = fds
            self._process = start_worker(
                {**spec, "jobs": job_end, "answers": answer_end, "memory": ring.fd}, (job_end, answer_end, ring.fd)
            )
        except BaseException as error:
            for fd in fds:
                os.close(fd)
            if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
                raise cannot_start(spec, error) from None
            raise
        os.close(job_end)
        os.close(answer_end)
        os.set_blocking(self.job_fd, False)
        os.set_blocking(self.answer_fd, False)
        self.pid = self._process.pid
        self.owed = []  # numbers of the batches it was given and has not answered, in order
        self.ready = False
        self.stalled_s = 0.0  # time waited for it without a heart-beat
        self.beat = -1
        self._outbox = b""
        self._inbox = b""

    def send(self, number, line):
        """Give it the job `line`; what the pipe does not take now goes out with a later `flush`."""
        self.owed.append(number)
        self._outbox += line + b"\n"
        self.flush()

    def flush(self):
        """Write what the pipe takes; whether that was all. Never blocks: a stopped worker reads nothing."""
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            while self._outbox:
                self._outbox = self._outbox[os.write(self.job_fd, self._outbox) :]
        return not self._outbox

    def receive(self):
        """(messages since the last call, whether the worker has closed its end: it died or is dying)."""
        ended = False
        with contextlib.suppress(BlockingIOError):
            while True:
                part = os.read(self.answer_fd, 1 << 16)
                if not part:
                    ended = True
                    break
                self._inbox += part
        *lines, self._inbox = self._inbox.split(b"\n")
        return [json.loads(line) for line in lines], ended

    def is_stopped(self):
        """Whether somebody stopped it (SIGSTOP, a debugger)."""
        try:
            return stat_fields(self.pid)[0] in ("T", "t")
        except OSError:
            return False

    def kill(self):
        """Kill it, without waiting."""
        self._process.kill()

    def end(self, patience_s=10.0):
        """See it dead and close the pipes; returns how it ended, as text.

        Only a dead worker writes no more into its slot. One that the kernel holds (a dead network mount) raises
        HangError.
        """
        for grace in (1.0, patience_s):  # one that closed its pipe ends by itself, as a rule
            try:
                how = self._process.wait(grace)
                break
            except subprocess.TimeoutExpired:
                self._process.kill()
        else:
            raise HangError(f"loader worker {self.pid} cannot be killed; the storage it reads from does not answer")
        fds, self.job_fd, self.answer_fd = (self.job_fd, self.answer_fd), None, None
        for fd in fds:
            if fd is not None:  # a second close would hit a file that somebody else has opened since
                os.close(fd)
        return f"killed by {signal.Signals(-how).name}" if how < 0 else f"exit status {how}"
