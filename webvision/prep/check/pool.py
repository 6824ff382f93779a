"""Worker processes for a scan. A picture that kills or stops its decoder is named and passed over; the scan goes on.

Workers are forked, talk over pipes of their own, and end with their parent however it ends.
"""

import collections
import contextlib
import mmap
import os
import select
import signal
import struct
import time
import traceback

from webvision.errors import DataError, ResourceError, WebvisionError
from webvision.files import let_go_of_locks
from webvision.processes import end_with_parent, send_signal

_STRIKES = (
    2  # deaths or time-outs at one row: the first may be chance (the kernel's memory killer), two are the picture
)
_TICK_S = 0.5
_MAX_EARLY_DEATHS = 5  # of workers that had not begun a row
_COMMAND = struct.Struct("<QI")  # block, number of verdicts that follow
_ANSWER = struct.Struct("<IB")  # length of what follows, its kind
_DATA, _DATA_ERROR, _SCARCE, _BUG = range(4)
_SLOT = struct.Struct("<qd")  # row being looked at (-1: none), since when (monotonic)


class _Worker:
    def __init__(self, number):
        self.number = number
        self.pid = self.commands = self.answers = self.block = None
        self.inbox = b""


class ScanPool:
    """`jobs` processes that call `work(block, row_begins, verdicts)` for blocks of rows.

    work: returns bytes; calls row_begins(row) before each row; verdicts {row: 'crash' | 'time-out'} are rows it must
    not open.
    """

    def __init__(self, work, *, jobs, timeout_s=60.0):
        self._work, self._timeout_s = work, timeout_s
        self._slots = mmap.mmap(-1, _SLOT.size * jobs)
        self._workers = [_Worker(number) for number in range(jobs)]
        self._strikes = collections.Counter()
        self._verdicts = collections.defaultdict(dict)  # block -> {row: reason}
        self._early_deaths = 0

    def run(self, blocks):
        """Yield (block, bytes) for each of `blocks` (integers), in the order in which they get done."""
        waiting = collections.deque(blocks)
        try:
            for worker in self._workers[: len(waiting)]:
                self._start(worker)
                self._give(worker, waiting.popleft())
            while busy := [worker for worker in self._workers if worker.block is not None]:
                for worker in self._ready(busy):
                    answer = self._receive(worker)
                    if answer is None:
                        continue
                    yield worker.block, answer
                    worker.block = None
                    if waiting:
                        self._give(worker, waiting.popleft())
                self._stop_hanging(busy)
        finally:
            self.close()

    def close(self):
        """End all workers."""
        for worker in self._workers:
            if worker.pid:
                send_signal(worker.pid)
                self._bury(worker)

    def _ready(self, workers):
        poll = select.poll()
        for worker in workers:
            poll.register(worker.answers, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(_TICK_S * 1000)}
        return [worker for worker in workers if worker.answers in ready]

    def _receive(self, worker):
        """The whole answer of a worker, or None if it is still coming, or will not come."""
        part = os.read(worker.answers, 1 << 20)
        if not part:
            self._replace(worker, "crash")
            return None
        worker.inbox += part
        if len(worker.inbox) < _ANSWER.size:
            return None
        length, kind = _ANSWER.unpack_from(worker.inbox)
        if len(worker.inbox) < _ANSWER.size + length:
            return None
        answer, worker.inbox = worker.inbox[_ANSWER.size :], b""
        if kind != _DATA:
            text = answer.decode("utf-8", "surrogateescape")
            known = {_DATA_ERROR: DataError, _SCARCE: ResourceError}.get(kind)
            raise known(text) if known else RuntimeError(f"in a worker process:\n{text}")
        return answer

    def _stop_hanging(self, workers):
        now = time.monotonic()
        for worker in workers:
            row, since = _SLOT.unpack_from(self._slots, worker.number * _SLOT.size)
            if worker.block is not None and row >= 0 and now - since > self._timeout_s:
                send_signal(worker.pid)
                self._replace(worker, "time-out")

    def _replace(self, worker, reason):
        """Bury a worker, judge the row it was at, and give its block to a new one."""
        block = worker.block
        self._bury(worker)
        row, _ = _SLOT.unpack_from(self._slots, worker.number * _SLOT.size)
        if row >= 0:
            self._strikes[row] += 1
            if self._strikes[row] >= _STRIKES:
                self._verdicts[block][row] = reason
        else:
            self._early_deaths += 1
            if self._early_deaths > _MAX_EARLY_DEATHS:
                raise ResourceError("workers die before they begin; is there enough memory? Fewer --jobs need less")
        self._start(worker)
        self._give(worker, block)

    def _give(self, worker, block):
        verdicts = self._verdicts.get(block, {})
        message = _COMMAND.pack(block, len(verdicts)) + b"".join(
            struct.pack("<QB", row, reason == "crash") for row, reason in verdicts.items()
        )
        worker.block = block
        with contextlib.suppress(BrokenPipeError):  # it died waiting; its answer pipe tells
            os.write(worker.commands, message)

    def _start(self, worker):
        _SLOT.pack_into(self._slots, worker.number * _SLOT.size, -1, 0.0)
        command_end, worker.commands = os.pipe()
        worker.answers, answer_end = os.pipe()
        worker.inbox = b""
        parent = os.getpid()
        worker.pid = os.fork()
        if not worker.pid:
            try:
                end_with_parent(parent)
                let_go_of_locks()  # or they outlive a killed parent by a moment, and the same command is refused
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
                for other in self._workers:  # or a sibling would hold our pipes open
                    for fd in {other.commands, other.answers} - {None}:
                        with contextlib.suppress(OSError):
                            os.close(fd)
                self._serve(worker.number, command_end, answer_end)
            finally:
                os._exit(1)
        os.close(command_end)
        os.close(answer_end)

    def _serve(self, number, commands, answers):
        """A worker's life: blocks in, bytes out, until the parent closes the pipe."""
        position = number * _SLOT.size

        def row_begins(row):
            _SLOT.pack_into(self._slots, position, row, time.monotonic())

        with os.fdopen(commands, "rb") as pipe, os.fdopen(answers, "wb") as out:
            while head := pipe.read(_COMMAND.size):
                block, count = _COMMAND.unpack(head)
                verdicts = dict(struct.unpack("<QB", pipe.read(9)) for _ in range(count))
                try:
                    kind = _DATA
                    data = self._work(
                        block, row_begins, {row: "crash" if crash else "time-out" for row, crash in verdicts.items()}
                    )
                except WebvisionError as error:
                    kind = _SCARCE if isinstance(error, ResourceError) else _DATA_ERROR
                    data = str(error).encode("utf-8", "surrogateescape")
                except Exception:  # ours, not the picture's: the parent shows it
                    kind, data = _BUG, traceback.format_exc().encode("utf-8", "surrogateescape")
                _SLOT.pack_into(self._slots, position, -1, 0.0)
                out.write(_ANSWER.pack(len(data), kind) + data)
                out.flush()

    def _bury(self, worker):
        for fd in (worker.commands, worker.answers):
            os.close(fd)
        os.waitpid(worker.pid, 0)
        worker.pid = worker.commands = worker.answers = worker.block = None
