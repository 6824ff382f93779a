"""Several archives at a time: a few threads, one patience, one rate, one progress line, one list of results."""

import os
import queue
import shutil
import sys
import threading
import time
from typing import NamedTuple
from urllib.parse import urlsplit

from webvision.errors import NetworkError, ResourceError, WebvisionError, advice, printable
from webvision.prep.download import acquire, fetch, http
from webvision.prep.download.proof import Manifest
from webvision.progress import Progress, amount

INTERRUPTED = 130


class Settings(NamedTuple):
    """What the command line says; sizes in bytes, times in seconds."""

    target: str
    state: str
    parallel: int = 3
    limit_rate: float | None = None
    max_wait: float = 7200.0
    stall: float = 30.0
    keep: bool = False
    skip_odd: bool = False
    check_space: bool = True
    manifests: tuple = ()
    in_archives: bool = False


class RateLimit:
    """Sleeps so that all callers together pass `rate` bytes a second; None is no limit."""

    def __init__(self, rate):
        self.rate, self._free_at = rate, time.monotonic()
        self._lock = threading.Lock()

    def __call__(self, count):
        if self.rate:
            with self._lock:
                self._free_at = max(self._free_at, time.monotonic() - 0.1) + count / self.rate
                wait = self._free_at - time.monotonic()
            if wait > 0:
                time.sleep(min(wait, 60))


class Counter:
    """Bytes fetched and files unpacked so far, by all threads, shown on one line."""

    def __init__(self, progress, fetched):
        self._lock, self._progress = threading.Lock(), progress
        self.fetched, self.files = fetched, 0

    def add_bytes(self, count):
        with self._lock:
            self.fetched += count
            self._show()

    def add_files(self, count):
        with self._lock:
            self.files += count
            self._show()

    def _show(self):
        self._progress.update(self.fetched, f"{self.files:,} files unpacked")


def run(archives, settings):
    """Acquire all `archives`; {name: facts, or {'error', 'exit_code'}} in their order. ResourceError before the start
    if the disk is too small."""
    client = http.Client(
        http.Limits(connect=min(20, settings.stall), read=settings.stall, rate_window=2 * settings.stall)
    )
    manifest = Manifest(os.path.join(settings.state, "manifest.json"), settings.manifests)
    todo = [one for one in archives if not acquire.done_mark(one, settings.state)]
    sizes = stated_sizes(todo, client)
    here = {one.name: _bytes_here(one, settings.state) for one in todo}
    if settings.check_space:
        check_space(sizes, here, settings)
    stopping = threading.Event()
    patience = fetch.Patience(settings.max_wait, stopping=stopping)
    total = sum(sizes.values()) if len(sizes) == len(todo) else None
    with Progress("downloading", total, "bytes") as progress:
        counter = Counter(progress, sum(here.values()))
        shared = fetch.Transfer(client, patience, RateLimit(settings.limit_rate), _remark, counter.add_bytes)
        job = acquire.Job(
            settings.target,
            settings.state,
            shared,
            manifest,
            keep=settings.keep,
            in_archives=settings.in_archives,
            skip_odd=settings.skip_odd,
            unpacked=counter.add_files,
        )
        return _work(archives, job, parallel=settings.parallel, stopping=stopping)


def _work(archives, job, *, parallel, stopping):
    results, bugs, waiting = {}, [], queue.SimpleQueue()
    for archive in archives:
        waiting.put(archive)

    def worker():
        while not stopping.is_set():
            try:
                archive = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                results[archive.name] = _one(archive, job, stopping)
            except Exception as error:  # a bug of ours: let the others end, then show it
                bugs.append(error)
                stopping.set()

    threads = [threading.Thread(target=worker, daemon=True) for _ in range(min(parallel, len(archives)))]
    interrupted = False
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:
        interrupted = True
        stopping.set()
        deadline = time.monotonic() + 3  # threads look up between two pieces; one in a silent read is left behind
        for thread in threads:
            thread.join(max(0, deadline - time.monotonic()))
    if bugs:
        raise bugs[0]
    left = (
        {"error": "interrupted; the same command goes on from here", "exit_code": INTERRUPTED}
        if interrupted
        else {"error": "not begun, because another archive could not go on", "exit_code": ResourceError.exit_code}
    )
    return {archive.name: results.get(archive.name, left) for archive in archives}


def _one(archive, job, stopping):
    start = time.monotonic()
    try:
        facts = acquire.acquire(archive, job)
        return {**facts, "seconds": round(time.monotonic() - start, 1)}
    except fetch.Stopped:
        return {
            "error": "stopped half-way, because another archive could not go on; what is here is kept",
            "exit_code": NetworkError.exit_code,
        }
    except WebvisionError as error:
        return {"error": str(error), "exit_code": error.exit_code}
    except OSError as error:
        stopping.set()  # a full disk or a dead one: nobody else can go on either
        mend = advice(error.errno, "mend it and run the same command again")
        return {"error": f"{error}; {mend}", "exit_code": ResourceError.exit_code}


def stated_sizes(archives, client):
    """{name: bytes} as the servers state them now, without waiting for a server that is down."""
    sizes, silent = {}, set()
    for archive in archives:
        for url in archive.urls:
            host = urlsplit(url).netloc
            if host in silent:
                continue
            try:
                response = client.open(url, {}, method="HEAD")
                response.close()
            except http.TransferError as error:
                if error.again:
                    silent.add(host)
                    _remark(f"{error}; its sizes are not known yet")
                continue
            if length := http.stated_length(response):
                sizes[archive.name] = length
            break
    return sizes


def check_space(sizes, here, settings):
    """ResourceError if what is to come can't fit: each archive's content, and the archives that lie here meanwhile."""
    ordered = sorted(sizes.values(), reverse=True)
    at_once = 0 if settings.in_archives else len(ordered) if settings.keep else settings.parallel
    meanwhile = sum(ordered[:at_once])
    need = sum(ordered) + meanwhile - sum(here.values())
    free = shutil.disk_usage(settings.target).free
    if need > free:
        raise ResourceError(
            f"{settings.target}: {amount(need, 'bytes')} are needed ({amount(sum(ordered), 'bytes')} of pictures and "
            f"{amount(meanwhile, 'bytes')} of archives waiting to be unpacked), {amount(free, 'bytes')} are free. Free "
            "some, choose another folder or fewer --parts; --skip-space-check starts anyway"
        )


def _bytes_here(archive, state):
    path = os.path.join(state, archive.name)
    return next((os.path.getsize(one) for one in (path, path + ".part") if os.path.exists(one)), 0)


def _remark(text):
    print(f"download.sh: {printable(text)}", file=sys.stderr, flush=True)  # servers choose some of these words
