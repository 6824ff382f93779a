"""Archives at http(s):// and s3:// addresses, read through a cache of whole archives on this machine.

`archives.txt` in a split's folder names them, an address a line. An archive is fetched when a picture of it is first
wanted, by one process while the others wait, in ranges that go on where a connection broke; the ones used longest ago
go when the cache is full. What a server says an archive is (size, ETag) is part of the member index: another object
under the address is another archive, and in mid-run the end of the run.

WEBVISION_ARCHIVE_CACHE=FOLDER:SIZE says where and how large, as /nvme/archives:500G. A cache that holds the set is
filled once; with a smaller one a training in random order fetches most archives again and again.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import time
from typing import NamedTuple
from urllib.parse import urlsplit

from webvision.data.archives.clients import S3, Again, Http, shown
from webvision.data.archives.members import Facts
from webvision.data.lists.index import cache_folders
from webvision.errors import DataError, NetworkError, ResourceError, UsageError, printable

ADDRESSES = "archives.txt"
VARIABLE = "WEBVISION_ARCHIVE_CACHE"
DEFAULT_LIMIT = 100 << 30
PATIENCE_S = 300.0  # without a byte
MAX_WAIT_S = 30.0  # between two attempts


class Cache(NamedTuple):
    """Where archives are kept, and how many bytes of them."""

    folder: str
    limit: int


def addresses(folder):
    """{name: address} of the archives that `folder`/archives.txt lists; {} where there is no such file."""
    path = os.path.join(folder, ADDRESSES)
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except UnicodeDecodeError:
        raise DataError(f"{printable(path)}: not a list of addresses") from None
    found = {}
    for number, line in enumerate(lines, 1):
        parts = urlsplit(line.strip())
        name = os.path.basename(parts.path)
        if parts.scheme not in ("http", "https", "s3") or not parts.hostname or not name.endswith(".tar"):
            raise DataError(f"{printable(path)}:{number}: not the http(s):// or s3:// address of a .tar")
        if name in found:
            raise DataError(f"{printable(path)}:{number}: a second archive called {printable(name)}")
        found[name] = line.strip()
    return found


def open_cache():
    """The Cache that the environment names, or one in the user's cache folder."""
    folder, _, size = os.environ.get(VARIABLE, "").rpartition(":")
    if not folder:
        return Cache(os.path.join(next(cache_folders()), "archives"), DEFAULT_LIMIT)
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([MGT])", size)
    if not match:
        raise UsageError(f"{VARIABLE} is FOLDER:SIZE, as /nvme/archives:500G")
    return Cache(folder, int(float(match[1]) * 1000 ** (" MGT".index(match[2]) + 1)))


def look_at(name, address):
    """The Facts of the archive at `address`; NetworkError or DataError if it cannot be told."""
    size, tag = _patiently(address, lambda: _client(address).head(address))
    return Facts(name, size, _number(tag), 0, 0)


def local_path(address, facts, *, cache, waiting=lambda: None):
    """Where the archive at `address` lies on this machine, fetched if need be. `waiting()` is called now and then.

    DataError if the object there is another one than `facts` says.
    """
    os.makedirs(cache.folder, mode=0o700, exist_ok=True)
    which = hashlib.sha256(f"{address} {facts.size} {facts.mtime_ns}".encode()).hexdigest()[:16]
    path = os.path.join(cache.folder, f"{which}-{facts.name}")
    while not os.path.exists(path):
        with _alone(path + ".part", waiting) as part:
            if part and os.path.exists(path):  # it came between the two looks
                os.unlink(path + ".part")
            elif part:
                _make_room(cache, facts.size, path)
                _fetch(address, facts, part, waiting)
                os.replace(path + ".part", path)
    with contextlib.suppress(FileNotFoundError):  # gone again: whoever opens it asks once more
        os.utime(path)
    return path


def _number(tag):
    """What stands for an ETag in an index of numbers."""
    return int.from_bytes(hashlib.sha256(tag.encode()).digest()[:7], "big")


@contextlib.contextmanager
def _alone(path, waiting):
    """The file `path`, open and locked; None if another process had it and is done with it."""
    with open(path, "a+b") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waiting()
                time.sleep(0.05)
        try:
            same = os.path.samestat(os.fstat(file.fileno()), os.stat(path))
        except FileNotFoundError:
            same = False
        yield file if same else None


def _make_room(cache, size, path):
    """Remove the archives that were used longest ago, until `size` bytes more fit."""
    if size > cache.limit:
        raise ResourceError(
            f"{printable(os.path.basename(path))} has {size:,} bytes, and the cache {cache.folder} holds "
            f"{cache.limit:,}; a larger one: {VARIABLE}=FOLDER:SIZE"
        )
    kept = []
    with os.scandir(cache.folder) as entries:
        for entry in entries:
            if re.fullmatch(r"[0-9a-f]{16}-.+\.tar", entry.name):
                with contextlib.suppress(FileNotFoundError):
                    state = entry.stat()
                    kept.append((state.st_mtime_ns, state.st_size, entry.path))
    room = cache.limit - sum(bytes_ for _, bytes_, _ in kept)
    for _, bytes_, old in sorted(kept):
        if room >= size:
            return
        with contextlib.suppress(FileNotFoundError):
            os.unlink(old)
        room += bytes_


def _fetch(address, facts, part, waiting):
    """Append to `part` until it is the whole archive."""

    def go_on():
        have = part.seek(0, os.SEEK_END)
        if have > facts.size:
            part.truncate(0)
            have = 0
        if have == facts.size:
            return True
        size, tag, pieces = _client(address).read(address, have)
        if (size, _number(tag)) != (facts.size, facts.mtime_ns):
            part.truncate(0)
            raise DataError(
                f"{shown(address)}: this archive changed while it was in use; start again, and it is indexed anew"
            )
        for piece in pieces:
            part.write(piece)
            waiting()
        part.flush()
        return part.tell() == facts.size or None

    _patiently(address, go_on, waiting=waiting, progress=lambda: part.tell())
    os.fsync(part.fileno())


def _patiently(address, attempt, *, waiting=lambda: None, progress=lambda: 0):
    """What `attempt()` gives, once it gives something: it may raise Again for as long as the patience lasts, which
    begins anew with every byte."""
    pause, since, last = 0.2, time.monotonic(), progress()
    while True:
        reason = "the connection ended early"
        try:
            if (found := attempt()) is not None:
                return found
        except Again as error:
            reason = str(error)
        if progress() != last:
            pause, since, last = 0.2, time.monotonic(), progress()
        if time.monotonic() - since > PATIENCE_S:
            raise NetworkError(f"{shown(address)}: {reason}; the same command goes on from here")
        until = time.monotonic() + pause
        while time.monotonic() < until:
            waiting()
            time.sleep(min(0.1, pause))
        pause = min(2 * pause, MAX_WAIT_S)


_clients = {}


def _client(address):
    scheme = urlsplit(address).scheme
    key = "s3" if scheme == "s3" else "http", os.getpid()  # connections are not shared with a fork
    if key not in _clients:
        _clients[key] = (S3 if scheme == "s3" else Http)()
    return _clients[key]
