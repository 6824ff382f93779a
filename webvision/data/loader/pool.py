"""Worker processes that build whole batches, handed over in order through shared memory.

The parent deals out jobs; a worker writes each into its slot and says so. There is no thread in between: jobs go out as
slots become free, so a slow consumer holds the workers back and a fast one finds `AHEAD` batches per worker waiting.

What can go wrong with a worker, while the parent waits for a batch:

    it died                 noticed at once by its pipe; its unfinished batches are built again by a new one
    it is stopped           noticed after STOPPED_S (state T of /proc); killed and replaced
    it hangs in a picture   noticed after `timeout` seconds; killed and replaced

A picture at which workers died twice, or hung once, is named and not opened again (reason 'crash' or 'time-out').
"""

import collections
import contextlib
import json
import os
import select
import sys
import threading
import time
import weakref

from webvision.data.loader.builder import Slot
from webvision.data.loader.ring import Ring
from webvision.data.loader.worker_link import WorkerLink
from webvision.data.pictures.images import REASONS
from webvision.errors import LESS_MEMORY, DataError, ResourceError, printable

AHEAD = 2  # batches per worker, finished or in the making, beyond those handed over
LEASES = 7  # batches that a consumer may hold before they are copied for it: training's queue, staging and step
TIMEOUT_S = 60.0  # without a heart-beat: for one picture, on a cold network mount
STOPPED_S = 4.0
START_S = 120.0  # for a worker to import NumPy from a cold disk
_TICK_S = 0.5
_STRIKES = 2  # deaths at the same picture: one may be chance (the kernel's memory killer), two are the picture


def _to_stderr(text):
    if sys.stderr is not None:  # print would write to stdout
        with contextlib.suppress(OSError, ValueError):  # closed, or nobody reads it any more: no reason to end a run
            print(f"loader: {text}", file=sys.stderr, flush=True)


class _Pending:
    """A batch between its dealing out and its handing over."""

    def __init__(self, tag, job, slot):
        self.tag, self.job, self.slot = tag, job, slot
        self.done = self.dropped = False


class Pool:
    """`workers` processes building batches as `spec` says from `pictures`. Not for two consumers at once."""

    def __init__(self, pictures, spec, *, workers, timeout=None, log=_to_stderr):
        self._slots = AHEAD * workers + 1 + LEASES
        self._spec = {"pictures": pictures.to_json(), "batch": spec.to_json(), "workers": workers, "slots": self._slots}
        self._make_ring = lambda: Ring(spec, slots=self._slots, workers=workers)
        self._timeout = timeout or TIMEOUT_S
        self._log = log
        self._ring, self._links = None, {}  # number -> WorkerLink
        self._free = collections.deque(range(self._slots))  # consumers append to it when they drop a batch
        self._leased = set()  # slots that consumers hold
        self._pending = collections.OrderedDict()  # number -> _Pending, in order of dealing out
        self._strikes = collections.Counter()  # name -> deaths
        self.banned = {}  # name -> index into REASONS
        self._restarts = collections.deque(maxlen=3 * workers + 5)
        self._delivered = self._serial = 0
        self._closed, self._parent = False, os.getpid()
        self._turn = threading.Lock()  # held while a run looks at the pipes

    @property
    def pids(self):
        """Process numbers of the workers, in order; empty before the first batch."""
        return [link.pid for _, link in sorted(self._links.items())]

    def run(self, jobs):
        """Yield (tag, Slot) for each (tag, Job) of `jobs`, in order. A Slot is the caller's for as long as it holds the
        arrays."""
        self._start()
        for pending in self._pending.values():  # of a run that was left early
            pending.dropped = True
        jobs, mine, exhausted = iter(jobs), collections.deque(), False
        try:
            while not self._closed:
                while self._free and not exhausted:
                    dealt = next(jobs, None)
                    exhausted = dealt is None
                    if not exhausted:
                        mine.append(self._deal(*dealt))
                if mine and mine[0].done:
                    yield mine[0].tag, self._hand_over(mine.popleft())
                elif exhausted and not mine or not self._wait():  # (none may be ours yet: an earlier run has all slots)
                    return
        finally:
            self._free.extend(pending.slot for pending in mine if pending.done)

    def close(self):
        """End all workers; a run in another thread ends as well. Arrays that are held stay valid."""
        self._closed = True
        if os.getpid() != self._parent:  # a copy of the process that owns them
            return
        with self._turn:
            for link in self._links.values():
                link.kill()
            for link in self._links.values():
                link.end()
            self._links = {}
            if self._ring is not None:
                self._ring.close()

    def __del__(self):
        if getattr(self, "_links", None):
            self.close()

    def _start(self):
        with self._turn:
            if self._closed:
                return
            if self._ring is None:
                self._ring = self._make_ring()
            for number in range(self._spec["workers"]):
                if number not in self._links:
                    self._start_worker(number)

    def _start_worker(self, number):
        """Start worker `number`, and have it build what no worker is at, since its predecessor ended."""
        link = WorkerLink({**self._spec, "worker": number}, self._ring)
        self._links[number] = link
        owed = {serial for other in self._links.values() for serial in other.owed}
        for serial, pending in self._pending.items():
            if serial not in owed:
                self._give(link, pending)

    def _deal(self, tag, job):
        with self._turn:
            pending = _Pending(tag, job._replace(number=self._serial), self._free.popleft())
            self._pending[self._serial] = pending
            self._serial += 1
            if not self._closed:
                self._give(min(self._links.values(), key=lambda link: len(link.owed)), pending)
        return pending

    def _give(self, link, pending):
        names = [os.fsdecode(name) for name in pending.job.names]
        banned = (
            [(position, self.banned[name]) for position, name in enumerate(names) if name in self.banned]
            if self.banned
            else []
        )
        line = json.dumps([pending.slot, *pending.job._replace(names=names, banned=banned)])
        link.send(pending.job.number, line.encode("ascii"))

    def _wait(self):
        """Look at the pipes for at most a tick, and after the workers; False once the pool is closed."""
        with self._turn:
            if self._closed:
                return False
            poll = select.poll()
            for link in self._links.values():
                poll.register(link.answer_fd, select.POLLIN)
                if not link.flush():  # a long line: the rest as soon as the worker has read
                    poll.register(link.job_fd, select.POLLOUT)
            began = time.monotonic()
            poll.poll(_TICK_S * 1000)
            # At most a tick is counted: a suspended machine, or a job stopped and continued, is no hang.
            waited = min(time.monotonic() - began, _TICK_S)
            for number, link in list(self._links.items()):
                messages, ended = link.receive()
                for message in messages:
                    self._note(link, message)
                trouble = "died" if ended else self._trouble(number, link, waited)
                if trouble:
                    self._replace(number, trouble)
            return True

    def _note(self, link, message):
        if "done" in message:
            link.owed.remove(message["done"])
            pending = self._pending.pop(message["done"])
            pending.done = True
            if pending.dropped:
                self._free.append(pending.slot)
        elif "memory" in message:
            raise ResourceError(f"a loader worker is out of memory; {LESS_MEMORY}")
        elif "resource" in message:
            raise ResourceError(f"in a loader worker: {message['resource']}")
        elif "data" in message:
            raise DataError(message["data"])
        elif "error" in message:
            raise RuntimeError(f"in a loader worker:\n{message['error']}")
        else:
            link.ready = True

    def _trouble(self, number, link, waited):
        """Why a worker that is still there must go ('stopped', 'time-out'), or None."""
        beat = int(self._ring.beats[number, 0])
        if not link.owed or beat != link.beat:
            link.beat, link.stalled_s = beat, 0.0
            return None
        link.stalled_s += waited
        if link.stalled_s >= STOPPED_S and link.is_stopped():
            return "stopped"
        return "time-out" if link.stalled_s >= (self._timeout if link.ready else START_S) else None

    def _replace(self, number, trouble):
        """End worker `number`, start another, and have it build what the old one owed."""
        link = self._links[number]
        if trouble != "died":
            link.kill()
        how = link.end()
        del self._links[number]  # before anything below can fail
        blamed = self._blame(number, link, trouble)
        at = f" at {printable(blamed)}" if blamed else ""
        self._log(f"worker {number + 1} (pid {link.pid}) {how if trouble == 'died' else trouble}{at}; replaced")
        self._restarts.append(self._delivered)
        if len(self._restarts) == self._restarts.maxlen and self._delivered - self._restarts[0] < 100:
            raise ResourceError(
                f"loader workers ended {len(self._restarts)} times within 100 batches, the last one {how}{at}; "
                "if memory ran out, use fewer --workers; messages above may say more"
            )
        self._start_worker(number)

    def _blame(self, number, link, trouble):
        """The name of the picture that the worker was at, counted against it; None if it was at none."""
        _, serial, position, _ = self._ring.beats[number].tolist()
        if trouble == "stopped" or not link.ready or serial not in link.owed or position < 0:
            return None
        name = os.fsdecode(self._pending[serial].job.names[position])
        self._strikes[name] += 1
        if trouble == "time-out" or self._strikes[name] >= _STRIKES:
            self.banned[name] = REASONS.index("time-out" if trouble == "time-out" else "crash")
        return name

    def _hand_over(self, pending):
        """The finished batch: the shared memory itself while few are out, a copy for a consumer that keeps many."""
        self._delivered += 1
        slot = self._ring.slot(pending.slot)
        slot = Slot(
            *(field if name == "images" or field is None else field.copy() for name, field in zip(Slot._fields, slot))
        )
        if len(self._leased) >= LEASES:
            slot = slot._replace(images=slot.images.copy())
            self._free.append(pending.slot)
            return slot
        self._leased.add(pending.slot)
        weakref.finalize(slot.images, _give_back, self._leased, self._free, pending.slot).atexit = False
        return slot


def _give_back(leased, free, slot):
    leased.discard(slot)  # called by whichever thread drops the last reference; both operations are atomic
    free.append(slot)
