"""Pictures inside a folder's archives, with the face of pictures.folder.PictureFolder.

A picture is read by its place, and what comes is believed only if the member's header stands before it as it was
indexed. An archive that changed since is an error that ends the run: whatever is read from it may be another picture.
"""

import collections
import contextlib
import hashlib
import os
import threading
import time
from typing import NamedTuple

import numpy as np

from webvision.data.archives.building import archive_names, open_members
from webvision.data.archives.folder import ArchiveFolder
from webvision.data.archives.members import Members, StaleMembers, read_at
from webvision.data.archives.remote import Cache
from webvision.data.archives.tarstream import BLOCK
from webvision.data.archives.walk import names_in, seal
from webvision.data.pictures.folder import PictureFolder
from webvision.data.pictures.images import DEFAULT_POLICY, ImageError, ImagePolicy, unreadable
from webvision.errors import DataError, printable

OPEN_ARCHIVES = 256  # held open by a process; `ulimit -n` is 1024 as a rule
OPEN_COPIES = 4  # of what lies at addresses: an open one keeps its place on the disk, whatever the cache's limit
CHECK_S = 1.0  # an archive in use is looked at anew so often


class Places(NamedTuple):
    """Where the bytes of some members lie, in the order in which they are read best; their archives are open."""

    tried: int  # how many of the names asked for were looked at; there was no room for the rest
    order: np.ndarray  # int64 [n]: which of the names asked for
    files: np.ndarray  # int32 [n] descriptors
    starts: np.ndarray  # int64 [n]
    sizes: np.ndarray  # int64 [n]
    seals: np.ndarray  # uint32 [n]
    held: tuple  # the archives, open for as long as this is held


class _Open:
    """An open archive, which is the one that was indexed; closed with its last holder."""

    def __init__(self, path, facts):
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        self.path, self._facts = path, facts
        # The kernel would read ahead of members that are not wanted; what is wanted it is told.
        os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_RANDOM)
        self.check()

    def check(self):
        """DataError unless this is still the archive that was indexed, here and under its name."""
        try:
            # A copy of what lies at an address may go from under its name while it is used.
            states = os.fstat(self.fd), os.fstat(self.fd) if self._facts.is_remote else os.stat(self.path)
        except FileNotFoundError:
            states = (None,)
        if not all(state and self._facts.is_of(state) for state in states):
            raise _changed(self.path)
        self.checked = time.monotonic()

    def __del__(self):
        if hasattr(self, "fd"):
            os.close(self.fd)


class PictureArchives:
    """The pictures in the archives of `root`, found through their index `members`, read as `policy` allows."""

    in_archives = True

    def __init__(self, root, members, policy=DEFAULT_POLICY, *, cache=None):
        self.root, self.policy = root, policy
        self.members = members
        stamp = hashlib.blake2b(members.stamp.encode(), digest_size=8).digest()
        is_local = not any(archive.facts.is_remote for archive in members.archives)  # copies are told by size only
        self._stamp = int.from_bytes(stamp, "little") if is_local else 0
        self.waiting = lambda: None  # called now and then while an archive is fetched: a worker's sign of life
        self._archives = ArchiveFolder(root, cache)
        self._open = collections.OrderedDict()  # number -> _Open, the one used last at the end
        self._lock = threading.Lock()

    def to_json(self):
        """As what json.dumps takes, for worker processes."""
        return {
            "root": os.fsdecode(self.root),
            "policy": self.policy.to_json(),
            "members": self.members.path,
            "stamp": self.members.stamp,
            "cache": self._archives.cache,
        }

    @classmethod
    def from_json(cls, fields):
        """The PictureArchives that `to_json` described: of the same index, or a DataError."""
        try:
            members = Members(fields["members"])
        except StaleMembers:
            members = None
        if members is None or members.stamp != fields["stamp"]:
            raise DataError(f"{printable(fields['root'])}: its archives were indexed anew while in use; start again")
        cache = fields["cache"] and Cache(*fields["cache"])
        return cls(fields["root"], members, ImagePolicy.from_json(fields["policy"]), cache=cache)

    def has(self, names):
        """bool [n]: which of `names` (bytes) are members."""
        return self.members.find(names)[0]

    def stamp(self, name):
        """64 bits that tell the archives as they stand from any others, the same for each member, or 0: whoever reads
        one finds out that it changed."""
        return self._stamp

    def size(self, name):
        """The bytes that the picture `name` has; ImageError if there is none."""
        found, records = self.members.find([name])
        if not found[0]:
            raise ImageError("missing", f"no member of that name in {printable(os.fsdecode(self.root))}/*.tar")
        return int(records[0]["size"])

    def read(self, name):
        """The bytes of the picture `name` (bytes); ImageError if there are none."""
        found, records = self.members.find([name])
        if not found[0]:
            raise ImageError("missing", f"no member of that name in {printable(os.fsdecode(self.root))}/*.tar")
        _, _, size, block, number, sealed = records[0].item()
        if size > self.policy.max_bytes:
            raise ImageError("file-too-large", f"{size} bytes; at most {self.policy.max_bytes} are read")
        archive = self._archive(number)
        try:
            data = read_at(archive.fd, BLOCK + size, (block - 1) * BLOCK)
        except OSError as error:
            raise unreadable(error) from None
        if len(data) != BLOCK + size or seal(data[:BLOCK]) != sealed:
            archive.check()
            raise ImageError("io", "its header in the archive is not the one that was indexed")
        return data[BLOCK:]

    def expect(self, names):
        """Tell the kernel that these pictures are read next."""
        self._advise(names, os.POSIX_FADV_WILLNEED)

    def forget(self, names):
        """Drop these from the page cache, where the system agrees: to see what reading them costs."""
        self._advise(names, os.POSIX_FADV_DONTNEED)

    def _advise(self, names, advice):
        places = self.places(names)
        for file, start, size in zip(places.files.tolist(), places.starts.tolist(), places.sizes.tolist()):
            os.posix_fadvise(file, start - BLOCK, size + BLOCK, advice)

    def walk(self):
        """Yield the names (bytes) of all members, many at a time, as the archives have them."""
        for archive in self.members.archives:
            yield from names_in(self._archives.path(archive.facts, self.waiting))

    def places(self, names, *, largest=1 << 62, room=1 << 62):
        """The Places of those of `names` (bytes) that are members of at most `largest` bytes: of the first of them,
        where all together are more than `room` bytes."""
        found, records = self.members.find(names)
        sizes = np.where(found & (records["size"] <= largest), records["size"], 0).astype(np.int64)
        tried = int(np.searchsorted(np.cumsum(sizes), room, "right"))
        order = np.flatnonzero(found[:tried] & (records["size"][:tried] <= largest))
        held = {}
        for number in np.unique(records["archive"][order]).tolist():
            with contextlib.suppress(ImageError):  # whoever reads its pictures singly says why not
                held[number] = self._archive(number)
        order = order[np.isin(records["archive"][order], list(held))]
        order = order[np.lexsort((records["block"][order], records["archive"][order]))]
        records = records[order]
        return Places(
            tried,
            order,
            np.array([held[number].fd for number in records["archive"].tolist()], np.int32),
            records["block"].astype(np.int64) * BLOCK,
            records["size"].astype(np.int64),
            np.ascontiguousarray(records["seal"]),
            tuple(held.values()),
        )

    def _opened(self, facts):
        for last in (False, False, True):
            path = self._archives.path(facts, self.waiting)
            try:
                return _Open(path, facts)
            except FileNotFoundError:
                if last or not facts.is_remote:  # a copy may be gone again, for others
                    raise _changed(path) from None
            except OSError as error:
                raise unreadable(error) from None
        raise AssertionError("the last turn returns or raises")

    def _archive(self, number):
        """The _Open archive `number`, looked at within the last second."""
        with self._lock:
            archive = self._open.get(number)
            if archive is None:
                facts = self.members.archives[number].facts
                archive = self._opened(facts)
                self._open[number] = archive
                if len(self._open) > (OPEN_COPIES if facts.is_remote else OPEN_ARCHIVES):
                    self._open.popitem(last=False)
            else:
                self._open.move_to_end(number)
        if time.monotonic() - archive.checked > CHECK_S:
            archive.check()
        return archive


def _changed(path):
    return DataError(
        f"{printable(path)}: this archive changed while it was in use; start again once it is whole, and it is indexed "
        "anew"
    )


def open_pictures(folder, policy=DEFAULT_POLICY, *, beside=None, sample=()):
    """The pictures of a split's folder: a PictureArchives where it holds archives and none of the names `sample`
    (bytes) as a file, else a PictureFolder. (Sets are unpacked beside their archives, too.)"""
    loose = PictureFolder(folder, policy)
    if not archive_names(folder) or loose.has(sample).any():
        return loose
    return PictureArchives(folder, open_members(folder, beside=beside), policy)


def pictures_from_json(fields):
    """What the `to_json` of a PictureFolder or PictureArchives described."""
    return (PictureArchives if "members" in fields else PictureFolder).from_json(fields)
