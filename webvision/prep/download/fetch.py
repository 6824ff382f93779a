"""Fetch one file, whatever the server does: resumed, checked at every joint, and done only when it is proven whole.

The part file grows in place; beside it a small state file holds what the server said about the file (size, validators)
and how much of it is known to be on the disk. A new connection first reads again the last bytes that are already
here and compares them, so that two different files are never glued together.
"""

import errno
import os
import random
import threading
import time
from typing import NamedTuple

from webvision.errors import DataError, NetworkError
from webvision.prep.download.http import TransferError, content_range, pieces, redact, stated_length
from webvision.prep.download.partfile import Part
from webvision.progress import amount, duration

OVERLAP = 1 << 16  # bytes compared at a joint
SYNC_BYTES = 1 << 26  # at most this much is fetched again after a power cut
MAX_STRIKES = 3  # times an address may send what is not the file before it is given up
MAX_RESTARTS = 8  # of one file in one run: a server that neither finishes nor continues never will
SIGN_BYTES = 1 << 16  # fewer than these are no sign of life: a byte a second would keep us for ever
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
SPEAK_SECONDS = 300.0  # between two lines about an outage
MIRROR_PATIENCE = 600.0  # seconds without a byte before a begun file is sought elsewhere: it may start anew there


class Patience:
    """When to give up: `max_wait` seconds after the last byte that came from anywhere. Shared by all downloads."""

    def __init__(self, max_wait, *, stopping=None):
        self.max_wait = max_wait
        self._bytes, self._spoke = 0, time.monotonic()
        self.last_byte = time.monotonic()
        self.stopping = stopping or threading.Event()

    def good_sign(self, count):
        """`count` new bytes came."""
        self._bytes += count
        if self._bytes >= SIGN_BYTES:
            self._bytes, self.last_byte = 0, time.monotonic()

    def left(self):
        return self.max_wait - (time.monotonic() - self.last_byte)

    def may_speak(self):
        """True once in SPEAK_SECONDS: an outage is one story, not one line per attempt and archive."""
        now = time.monotonic()
        if now - self._spoke < SPEAK_SECONDS:
            return False
        self._spoke = now
        return True

    def check(self):
        if self.stopping.is_set():
            raise Stopped

    def sleep(self, seconds):
        if self.stopping.wait(seconds):
            raise Stopped


class Stopped(Exception):
    """Another part of the program asked all downloads to end; what is here is kept."""


class Transfer(NamedTuple):
    """What downloads share. `limiter(bytes)` may sleep; `remark(text)` speaks to the user; `progress(bytes)` counts."""

    client: object
    patience: Patience
    limiter: object = lambda count: None
    remark: object = lambda text: None
    progress: object = lambda count: None
    first_wait: float = FIRST_WAIT


def fetch(urls, path, transfer, *, looks_right, follower=lambda: None):
    """Fetch the file at one of `urls` into `path`, resuming what is there; returns {attempts, restarts, size, url}.

    `looks_right(first bytes)` returns None, or says in words why this can't be the file. Where the server does not say
    how long it is, `follower()` gives an object whose `feed(bytes)` raises DataError once it can't be. Whether the
    whole is whole is for the caller to prove. NetworkError after `max_wait` without a byte; DataError if no address has
    the file.
    """
    return _Fetch(urls, Part(path), transfer, looks_right=looks_right, follower=follower).run()


class _Fetch:
    """One file's way through as many connections as it takes."""

    def __init__(self, urls, part, transfer, *, looks_right, follower=lambda: None):
        self.part, self.transfer, self.looks_right, self.follower = part, transfer, looks_right, follower
        self.urls = sorted(urls, key=lambda url: url != part.state.get("url"))  # go on where it was begun
        self.strikes, self.refused = dict.fromkeys(urls, 0), []
        self.attempts = self.restarts = self.failures = 0
        self.last_progress = time.monotonic()

    def run(self):
        while True:
            self.transfer.patience.check()
            self.attempts += 1
            before = self.part.size()
            try:
                self._attempt(self.urls[0])
            except TransferError as error:
                problem = error
            else:
                self.transfer.patience.good_sign(SIGN_BYTES)
                return {
                    "attempts": self.attempts,
                    "restarts": self.restarts,
                    "size": self.part.size(),
                    "url": redact(self.part.state.get("url", self.urls[0])),
                }
            if self.part.size() > before:
                self.failures, self.last_progress = 0, time.monotonic()
            self.failures += 1
            if not self._give_up_address(problem):
                self._give_up_file(problem)
                self._wait(problem)
                self._try_elsewhere()

    def _give_up_address(self, problem):
        """Drop an address that has no such file, or keeps sending something else; DataError if it was the last."""
        url = self.urls[0]
        self.strikes[url] += not problem.again
        if self.strikes[url] < MAX_STRIKES and not problem.gone:
            return False
        self.urls.pop(0)
        self.refused.append(str(problem))
        if not self.urls:
            raise DataError(
                "; ".join(dict.fromkeys(self.refused)) + ". Is the address right? --mirror names another server"
            )
        return True

    def _give_up_file(self, problem):
        if self.restarts > MAX_RESTARTS:
            raise NetworkError(
                f"{problem}; it was started anew {self.restarts} times and never came to its end. Another server "
                "(--mirror), or the same command later, may do better"
            )
        patience = self.transfer.patience
        if patience.left() <= 0:
            raise NetworkError(
                f"{problem}; nothing came for {duration(patience.max_wait)}. What is here is kept: run the same "
                "command again when the server is back, or give it more time with --max-wait"
            )

    def _wait(self, problem):
        """Back off, doubling, with jitter so that a thousand clients don't return at once; or as the server asked."""
        patience = self.transfer.patience
        wait = min(LONGEST_WAIT, self.transfer.first_wait * 2 ** min(self.failures - 1, 10)) * random.uniform(0.5, 1)
        if problem.wait is not None:
            wait = max(problem.wait, wait)
        wait = min(wait, max(patience.left(), 0) + 0.1)
        if self.failures == 1 or patience.may_speak():
            self.transfer.remark(f"{problem}; trying again in {duration(max(wait, 1))}")
        patience.sleep(wait)

    def _try_elsewhere(self):
        """The next mirror, unless this one still holds the rest of what was begun: another may have to start anew."""
        if not self.part.size() or time.monotonic() - self.last_progress > MIRROR_PATIENCE:
            self.urls.append(self.urls.pop(0))

    def _attempt(self, url):
        """One connection: from where the part ends, to the end if all goes well."""
        part = self.part
        have = part.size()
        if have and part.total() == have and part.state.get("url") == url:
            return  # killed between the last byte and the proof
        asked = max(0, have - OVERLAP)
        headers = {}
        if have:
            headers["Range"] = f"bytes={asked}-"
            if validator := part.state.get("etag") or part.state.get("modified"):
                headers["If-Range"] = validator
        response = self.transfer.client.open(url, headers)
        try:
            offset = self._accept(response, url, asked)
            if offset is not None:
                self._receive(response, url, offset)
        finally:
            response.close()

    def _accept(self, response, url, asked):
        """Where in the file this answer's body starts; None if there is nothing left to fetch. Restarts the part if it
        must."""
        part = self.part
        have, known = part.size(), part.total()
        first, total = content_range(response)
        if response.status == 416:
            if have and total == have and known in (None, have):
                part.state["size"] = total
                return None
            self._restart(
                f"{url}: has {'no such' if total is None else f'only {total:,}'} bytes to go on from {have:,}"
            )
            raise TransferError(f"{url}: starting this file anew")
        if response.status == 206:
            if have and first == asked and (known is None or total in (None, known)) and self._same_file(response):
                part.state["size"] = total or known
                return asked
            self._restart(f"{url}: answers with bytes from {first}, of {total}, where {asked} of {known} was asked")
            raise TransferError(f"{url}: starting this file anew")
        length = stated_length(response)
        if have:
            same = self._same_file(response) and known in (None, length)
            self._restart(
                f"{url}: {'the server cannot continue a file' if same else 'the file changed on the server'}; "
                f"{amount(have, 'bytes')} are fetched again"
            )
        part.state = {
            "url": url,
            "size": length,
            "etag": _strong(response.headers.get("ETag")),
            "modified": response.headers.get("Last-Modified"),
            "synced": 0,
        }
        return 0

    def _same_file(self, response):
        """Whether the validators that both answers carry agree."""
        pairs = (
            (_strong(response.headers.get("ETag")), self.part.state.get("etag")),
            (response.headers.get("Last-Modified"), self.part.state.get("modified")),
        )
        return all(new == old for new, old in pairs if new and old)

    def _restart(self, why):
        self.restarts += 1
        self.transfer.remark(why)
        self.part.restart()

    def _receive(self, response, url, offset):
        """Write the body from `offset` on; the bytes that are here already are compared instead."""
        part, transfer = self.part, self.transfer
        part.state["url"] = url
        position = synced = offset
        head = b"" if offset == 0 else None
        follower = self.follower() if offset == 0 and part.total() is None else None
        fd = os.open(part.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            here = os.fstat(fd).st_size
            _check_room(fd, (part.total() or 0) - here, part.path)
            for piece in pieces(response, url, transfer.client.limits):
                transfer.patience.check()
                transfer.limiter(len(piece))
                if head is not None:
                    head = self._check_head(head + piece, url)
                old = piece[: max(0, here - position)]
                if os.pread(fd, len(old), position) != old:
                    self._restart(f"{url}: its bytes before {here:,} are not the ones that were fetched")
                    raise TransferError(f"{url}: starting this file anew")
                if follower:
                    self._follow(follower, piece, url)
                fresh = piece[len(old) :]
                _write(fd, fresh, here)
                position += len(piece)
                here += len(fresh)
                transfer.progress(len(fresh))
                transfer.patience.good_sign(len(fresh))
                if position - synced >= SYNC_BYTES:
                    part.remember(fd)
                    synced = position
            if head is not None:
                self._check_head(head, url, whole=True)
            if part.total() not in (None, here):
                raise TransferError(f"{url}: {here:,} bytes came where the server had stated {part.total():,}")
        finally:
            part.remember(fd)
            os.close(fd)

    def _follow(self, follower, piece, url):
        try:
            follower.feed(piece)
        except DataError as error:
            self.part.restart()
            raise TransferError(f"{url}: {error}", again=False) from None

    def _check_head(self, head, url, *, whole=False):
        """`head` until there is enough of it to judge, then None. What is not the file leaves no trace."""
        if len(head) < 1024 and not whole:
            return head
        if problem := self.looks_right(head):
            self.part.restart()
            raise TransferError(f"{url}: {problem}", again=False)
        return None


def _check_room(fd, wanted, path):
    """OSError as of a full disk if `wanted` bytes more will not fit: nothing is gained by filling it first."""
    state = os.fstatvfs(fd)
    if wanted > state.f_bavail * state.f_frsize:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


def _strong(etag):
    """A weak validator must not be used for ranges (RFC 9110, 13.1.5)."""
    return etag if etag and not etag.startswith("W/") else None


def _write(fd, data, offset):
    while data:
        count = os.pwrite(fd, data, offset)
        data, offset = data[count:], offset + count
