"""Fetch one file, whatever the server does: resumed, checked at every joint, and done only when it is proven whole.

The part file grows in place; beside it a small state file holds what the server said about the file (size, validators)
and how much of it is known to be on the disk. A new connection first reads again the last bytes that are already
here and compares them, so that two different files are never glued together.
"""
import json
import os
import random
import threading
import time
from typing import NamedTuple

from webvision.errors import DataError, NetworkError
from webvision.files import write_json
from webvision.prep.progress import amount, duration
from webvision.prep.transfer import TransferError, content_range, pieces, redact, stated_length
from webvision.prep.unpack import boot_id

OVERLAP = 1 << 16                # bytes compared at a joint
SYNC_BYTES = 1 << 26             # at most this much is fetched again after a power cut
MAX_STRIKES = 3                  # times an address may send what is not the file before it is given up
MAX_RESTARTS = 8                 # of one file in one run: a server that neither finishes nor continues never will
SIGN_BYTES = 1 << 16             # fewer than these are no sign of life: a byte a second would keep us for ever
FIRST_WAIT, LONGEST_WAIT = 1., 60.
SPEAK_SECONDS = 300.             # between two lines about an outage
MIRROR_PATIENCE = 600.           # seconds without a byte before a begun file is sought elsewhere: it may start anew there


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


class Part:
    """The begun file on the disk and what is known about it."""

    def __init__(self, path):
        self.path, self.state_path = path, path + ".state.json"
        self.state = self._read_state()
        if os.path.exists(path):
            self._distrust_after_a_reboot()
        else:
            self.state = {}

    def size(self):
        return os.path.getsize(self.path) if os.path.exists(self.path) else 0

    def total(self):
        return self.state.get("size")

    def restart(self):
        """Forget everything that was fetched."""
        self.state = {}
        with open(self.path, "wb"):
            pass

    def remember(self, fd):
        """Bring the file's bytes to the disk, then note how many are safe."""
        os.fdatasync(fd)
        self.state.update(synced=os.fstat(fd).st_size, boot=boot_id())
        write_json(self.state_path, self.state)

    def _read_state(self):
        try:
            with open(self.state_path, encoding="utf-8") as file:
                state = json.load(file)
            numbers = state.get("size") is None or isinstance(state["size"], int)
            return state if numbers and isinstance(state.get("synced"), int) and isinstance(state.get("url"), str) else {}
        except (FileNotFoundError, ValueError, AttributeError):
            return {}

    def _distrust_after_a_reboot(self):
        safe = self.state.get("synced", 0)
        if self.state.get("boot") != boot_id() and self.size() > safe:
            os.truncate(self.path, safe)


def fetch(urls, path, transfer, *, looks_right):
    """Fetch the file at one of `urls` into `path`, resuming what is there; returns the facts, e.g. {'size': ...}.

    `looks_right(first bytes)` returns None, or says in words why this can't be the file. Whether the whole is whole is
    for the caller to prove. NetworkError after `max_wait` without a byte; DataError if no address has the file.
    """
    part = Part(path)
    urls = list(urls)
    if part.state.get("url") in urls:                   # go on where it was begun
        urls.insert(0, urls.pop(urls.index(part.state["url"])))
    strikes, failures, last_progress = dict.fromkeys(urls, 0), 0, time.monotonic()
    facts = {"attempts": 0, "restarts": 0}
    refused = {}
    while True:
        transfer.patience.check()
        facts["attempts"] += 1
        before = part.size()
        try:
            _attempt(urls[0], part, transfer, facts, looks_right)
            transfer.patience.good_sign(SIGN_BYTES)
            return {**facts, "size": part.size(), "url": redact(part.state.get("url", urls[0]))}
        except TransferError as error:
            problem = error
        if part.size() > before:
            failures, last_progress = 0, time.monotonic()
        failures += 1
        if not problem.again:
            strikes[urls[0]] += 1
        if strikes[urls[0]] >= MAX_STRIKES or problem.gone:
            refused[urls.pop(0)] = str(problem)
            if not urls:
                raise DataError("; ".join(dict.fromkeys(refused.values())) + ". Is the address right? --mirror names another server")
            continue
        if facts["restarts"] > MAX_RESTARTS:
            raise NetworkError(f"{problem}; it was started anew {facts['restarts']} times and never came to its end. Another server "
                               "(--mirror), or the same command later, may do better")
        if transfer.patience.left() <= 0:
            raise NetworkError(f"{problem}; nothing came for {duration(transfer.patience.max_wait)}. What is here is kept: run the "
                               "same command again when the server is back, or give it more time with --max-wait")
        _wait(problem, failures, transfer)
        if len(urls) > 1 and (not part.size() or time.monotonic() - last_progress > MIRROR_PATIENCE):
            urls.append(urls.pop(0))


def _wait(problem, failures, transfer):
    """Back off, doubling, with jitter so that a thousand clients don't return at once; or as the server asked."""
    wait = min(LONGEST_WAIT, transfer.first_wait * 2 ** min(failures - 1, 10)) * random.uniform(.5, 1)
    if problem.wait is not None:
        wait = max(problem.wait, wait)
    wait = min(wait, max(transfer.patience.left(), 0) + .1)
    if failures == 1 or transfer.patience.may_speak():
        transfer.remark(f"{problem}; trying again in {duration(max(wait, 1))}")
    transfer.patience.sleep(wait)


def _attempt(url, part, transfer, facts, looks_right):
    """One connection: fetch from where the part ends, to the end if all goes well."""
    have = part.size()
    if have and part.total() == have and part.state.get("url") == url:
        return                                           # killed between the last byte and the proof
    offset = max(0, have - OVERLAP)
    headers = {}
    if have:
        headers["Range"] = f"bytes={offset}-"
        validator = part.state.get("etag") or part.state.get("modified")
        if validator:
            headers["If-Range"] = validator
    response = transfer.client.open(url, headers)
    try:
        offset = _accept(response, url, part, offset, facts, transfer)
        if offset is not None:
            _receive(response, url, part, offset, transfer=transfer, facts=facts, looks_right=looks_right)
    finally:
        response.close()


def _accept(response, url, part, offset, facts, transfer):
    """Where in the file this answer's body starts; None if there is nothing left to fetch. Restarts the part if it must."""
    have, known = part.size(), part.total()
    first, total = content_range(response)
    if response.status == 416:
        if total == have and have and known in (None, have):
            part.state.setdefault("size", total)
            return None
        _restart(part, facts, transfer, f"{url}: has {'no such' if total is None else f'only {total:,}'} bytes to go on from {have:,}")
        raise TransferError(f"{url}: starting this file anew")
    if response.status == 206:
        if have and first == offset and (known is None or total in (None, known)) and _same_file(response, part):
            if total is not None:
                part.state["size"] = total
            return offset
        _restart(part, facts, transfer, f"{url}: answers with bytes from {first}, of {total}, where {offset} of {known} was asked")
        raise TransferError(f"{url}: starting this file anew")
    length = stated_length(response)
    if have:
        same = _same_file(response, part) and known in (None, length)
        changed = "the server can't continue a file" if same else "the file changed on the server"
        _restart(part, facts, transfer, f"{url}: {changed}; {amount(have, 'bytes')} are fetched again")
    part.state = {"url": url, "size": length, "etag": _strong(response.headers.get("ETag")),
                  "modified": response.headers.get("Last-Modified"), "synced": 0}
    return 0


def _same_file(response, part):
    """Whether the validators that both answers carry agree."""
    etag, modified = _strong(response.headers.get("ETag")), response.headers.get("Last-Modified")
    old_etag, old_modified = part.state.get("etag"), part.state.get("modified")
    return not (etag and old_etag and etag != old_etag) and not (modified and old_modified and modified != old_modified)


def _strong(etag):
    """A weak validator must not be used for ranges (RFC 9110, 13.1.5)."""
    return etag if etag and not etag.startswith("W/") else None


def _restart(part, facts, transfer, why):
    facts["restarts"] += 1
    transfer.remark(why)
    part.restart()


def _receive(response, url, part, offset, *, transfer, facts, looks_right):
    """Write the body from `offset` on; the bytes that are here already are compared instead."""
    part.state["url"] = url
    position = synced = offset
    head = b"" if offset == 0 else None
    fd = os.open(part.path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        here = os.fstat(fd).st_size
        for piece in pieces(response, url, transfer.client.limits):
            transfer.patience.check()
            transfer.limiter(len(piece))
            if head is not None:
                head = _check_head(head + piece, url, part, looks_right)
            old = piece[:max(0, here - position)]
            if os.pread(fd, len(old), position) != old:
                _restart(part, facts, transfer, f"{url}: its bytes before {here:,} are not the ones that were fetched")
                raise TransferError(f"{url}: starting this file anew")
            fresh = piece[len(old):]
            _write(fd, fresh, here)
            position += len(piece)
            here += len(fresh)
            transfer.progress(len(fresh))
            transfer.patience.good_sign(len(fresh))
            if position - synced >= SYNC_BYTES:
                part.remember(fd)
                synced = position
        if head is not None:
            _check_head(head, url, part, looks_right, whole=True)
        if part.total() not in (None, here):
            raise TransferError(f"{url}: {here:,} bytes came where the server had stated {part.total():,}")
    finally:
        part.remember(fd)
        os.close(fd)


def _write(fd, data, offset):
    while data:
        count = os.pwrite(fd, data, offset)
        data, offset = data[count:], offset + count


def _check_head(head, url, part, looks_right, *, whole=False):
    """`head` until there is enough of it to judge, then None. What is not the file leaves no trace."""
    if len(head) < 1024 and not whole:
        return head
    problem = looks_right(head)
    if problem:
        part.restart()
        raise TransferError(f"{url}: {problem}", again=False)
    return None
