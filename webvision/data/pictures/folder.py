"""Where pictures lie, and what is accepted as one: a folder of files. (archives.store has the same face for a folder of
archives.)"""

import contextlib
import dataclasses
import functools
import hashlib
import os
import stat
import struct
import time
from collections.abc import Iterator, Sequence

import numpy as np

from webvision.data.pictures import images
from webvision.data.pictures.images import DEFAULT_POLICY, ImageError, ImagePolicy

_STATE = struct.Struct("<QQqq")  # inode, size, mtime, ctime
_YOUNG_NS = 2_000_000_000  # a file may change again within its time stamps' grain: 2 s on FAT, 10 ms on ext4


@dataclasses.dataclass(frozen=True)
class PictureFolder:
    """The files below `root`, read as `policy` allows."""

    root: str | bytes
    policy: ImagePolicy = DEFAULT_POLICY

    in_archives = False  # not a field: of the class

    def path(self, name: bytes) -> bytes:
        """Of the file called `name` (bytes), as bytes."""
        return os.fsencode(self.root) + b"/" + name

    @functools.cached_property
    def inside(self) -> tuple[bytes, ...]:
        """The folders that links may lead to, as `images.read_bytes` wants them."""
        return images.data_folders(os.fsencode(self.root))

    def read(self, name: bytes) -> bytes:
        """The bytes of the picture called `name` (bytes); ImageError if there are none."""
        return images.read_bytes(self.path(name), self.policy, inside=self.inside)

    def size(self, name: bytes) -> int:
        """How many bytes it has, without reading them; ImageError if it is not there, or not a regular file."""
        try:
            state, _ = images.look_at(self.path(name), self.policy, inside=self.inside)
        except OSError as error:
            raise images.unreadable(error) from None
        if not stat.S_ISREG(state.st_mode):
            raise ImageError("not-a-file", "not a regular file")
        return state.st_size

    def stamp(self, name: bytes) -> int:
        """64 bits that tell the file called `name` (or that it links to) and its last change from any other; 0 where
        that cannot be told: none is there, or it changed just now. No program can choose a ctime."""
        try:
            state = os.stat(self.path(name))
        except (OSError, ValueError):
            return 0
        if time.time_ns() - state.st_ctime_ns < _YOUNG_NS:
            return 0
        packed = _STATE.pack(state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
        return int.from_bytes(hashlib.blake2b(packed, digest_size=8).digest(), "little")

    def has(self, names: Sequence[bytes]) -> np.ndarray:
        """bool [n]: which of `names` (bytes) are there."""
        return np.array([os.path.lexists(self.path(name)) for name in names], bool)

    def walk(self) -> Iterator[list[bytes]]:
        """Yield the names (bytes) of all that lies in the folder and is no folder; links are not followed."""
        stack = [b""]
        while stack:
            folder = stack.pop()
            names = []
            with os.scandir(os.path.join(os.fsencode(self.root), folder)) as entries:
                for entry in entries:
                    name = folder + b"/" + entry.name if folder else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        stack.append(name)
                    else:
                        names.append(name)
            if names:
                yield names

    def expect(self, names: Sequence[bytes]) -> None:
        """Nothing is read ahead: a file must be opened first, which is most of the work."""

    def forget(self, names: Sequence[bytes]) -> None:
        """Drop these from the page cache, where the system agrees: to see what reading them costs."""
        for name in names:
            with contextlib.suppress(OSError), open(self.path(name), "rb", opener=_open_now) as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def to_json(self) -> dict:
        """As what json.dumps takes, for worker processes."""
        return {"root": os.fsdecode(self.root), "policy": self.policy.to_json()}

    @classmethod
    def from_json(cls, fields: dict) -> "PictureFolder":
        """The PictureFolder that `to_json` described."""
        return cls(fields["root"], ImagePolicy.from_json(fields["policy"]))


def _open_now(path, flags):
    return os.open(path, flags | os.O_NONBLOCK)  # a FIFO would block
