"""Look at one listed picture: is it there, what are its bytes, can training read it?"""

import hashlib
import struct
from dataclasses import dataclass

import cv2
import numpy as np

from webvision.data.lists.text import encode_name
from webvision.data.pictures.images import DEFAULT_POLICY, REASONS, ImageError, ImagePolicy, read_image

# One row's finding, 50 bytes. `path`: hash of where it lies; `content`: of its bytes; `look`: of what it shows;
# `sound`: stamp of the file that was decoded without a complaint, or 0.
RECORD = np.dtype(
    [
        ("path", "<u8"),
        ("size", "<i8"),
        ("content", "<u8", (2,)),
        ("look", "<u8"),
        ("reason", "u1"),
        ("flags", "u1"),
        ("sound", "<u8"),
    ]
)
_PACK = struct.Struct("<Qq16sQBBQ")
assert _PACK.size == RECORD.itemsize
READ, DECODED = 1, 2  # flags: `content` holds; the picture was decoded (`look` holds)
LEVELS = ("names", "content", "decode", "near")


@dataclass(frozen=True)
class ScanOptions:
    """How closely the pictures are looked at."""

    level: str = "content"  # of LEVELS, each closer: the file is there; its bytes; its pixels; what they look like
    policy: ImagePolicy = DEFAULT_POLICY

    def at_least(self, level):
        return LEVELS.index(self.level) >= LEVELS.index(level)


def path_hash(path):
    """A 64-bit hash of a path's bytes, the same in every process."""
    return int.from_bytes(hashlib.blake2b(path, digest_size=8).digest(), "little")


def examine(pictures, path, options):
    """The packed RECORD of the one of `pictures` that is called `path` (str), judged as training judges it."""
    name = encode_name(path)
    reason, size, content, look, flags, sound = "ok", -1, b"", 0, 0, 0
    try:
        before = pictures.stamp(name) if options.at_least("decode") else 0
        size = pictures.size(name)
        if size == 0:
            raise ImageError("empty", "an empty file")
        if options.at_least("content"):
            data = pictures.read(name)
            content = hashlib.sha256(data).digest()[:16]
            flags |= READ
            if options.at_least("decode"):
                image = read_image(data, options.policy)
                flags |= DECODED
                if pictures.stamp(name) == before and not options.policy.accept_truncated:
                    sound = before
                look = look_of(image) if options.at_least("near") else 0
    except ImageError as error:
        reason = error.reason
    return _PACK.pack(path_hash(name), size, content, look, REASONS.index(reason), flags, sound)


def condemned(path, reason):
    """The packed RECORD of a picture at which workers died or hung."""
    return _PACK.pack(path_hash(encode_name(path)), -1, b"", 0, REASONS.index(reason), 0, 0)


def look_of(image):
    """A 64-bit hash of what a picture shows: whether each of 8 x 8 cells is brighter than its right neighbour.

    Survives resizing and recompression; pictures that differ in at most three bits are as good as equal.
    """
    small = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    while min(small.shape) >= 64:  # halving even sizes is OpenCV's fast case: 19 us instead of 214 for 341 x 256
        height, width = (side // 2 for side in small.shape)
        small = cv2.resize(small[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)
    small = cv2.resize(small, (9, 8), interpolation=cv2.INTER_AREA)
    return int.from_bytes(np.packbits(small[:, 1:] < small[:, :-1]).tobytes(), "little")
