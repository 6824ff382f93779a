"""Rewrite a data set once at a smaller size: most of a loader's time goes into pixels that the crop throws away again.

A file is in the new folder whole or not at all; the lists are written last, so a folder with lists is a finished one.
"""
import collections
import json
import os
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import cv2

from webvision.data.folders import open_split, read_meta_classes
from webvision.data.images import ImageError, data_folders, inspect, read_bytes, read_image
from webvision.errors import DataError, ResourceError, UsageError, printable
from webvision.files import atomic_write, directory_lock, write_json

_CHUNK = 2048               # rows at a time, so that memory does not grow with the list
_PROGRESS_S = 5.
KINDS = {"rewritten": "rewritten", "small": "copied, small enough", "damaged": "copied, damaged", "missing": "missing",
         "there": "there from before"}


def shrink_set(data, out, *, splits, short_side, quality, jobs):
    """Write `data`'s listed pictures to `out`, with their lists; returns the report as text."""
    here, there = os.path.realpath(data), os.path.realpath(out)
    if here == there or there.startswith(here + os.sep) or here.startswith(there + os.sep):
        raise UsageError("--out must lie outside --data: nothing in --data is ever changed")
    classes = read_meta_classes(os.path.join(data, "meta"))
    present = [split for split in splits if os.path.exists(os.path.join(data, "meta", f"{split}.txt"))]
    if not present:
        raise DataError(f"{printable(data)}/meta: none of the lists {', '.join(f'{printable(split)}.txt' for split in splits)} is here")
    os.makedirs(os.path.join(out, "meta"), exist_ok=True)
    lines = []
    with directory_lock(out, "shrink"), ThreadPoolExecutor(jobs) as pool:
        _keep_settings(out, {"short_side": short_side, "quality": quality})
        temporary = os.path.join(out, ".shrink")
        shutil.rmtree(temporary, ignore_errors=True)        # of a run that was killed
        os.mkdir(temporary)
        for split in present:
            index = open_split(data, split, classes=classes)
            job = _Split(os.path.join(data, split), os.path.join(out, split), temporary, short_side, quality)
            lines.append(f"{split}: {_run(job, index, pool, split)}")
        os.rmdir(temporary)
        os.sync()                   # the pictures are on the disk before the lists say so
        for name in [*(f"{split}.txt" for split in present), "synsets.txt"]:
            _copy_list(os.path.join(data, "meta", name), os.path.join(out, "meta", name))
    return "\n".join(lines)


def _keep_settings(out, settings):
    """Note the settings in OUT/meta/shrink.json; UsageError if another run began with other ones."""
    path = os.path.join(out, "meta", "shrink.json")
    if not os.path.exists(path):
        write_json(path, settings)
        return
    try:
        with open(path, encoding="utf-8") as file:
            before = json.load(file)
    except ValueError:
        raise DataError(f"{printable(path)} is no JSON; choose another --out") from None
    if before != settings:
        raise UsageError(f"{printable(out)} was begun with short side {before.get('short_side')} and quality "
                         f"{before.get('quality')}; use the same, or another --out")


class _Split:
    """One split's way from folder to folder, a picture at a time, from several threads."""

    def __init__(self, source, target, temporary, short_side, quality):
        self._source, self._target, self._temporary = source, target, temporary
        self._inside = data_folders(os.fsencode(source))
        self._short_side = short_side
        self._options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 0, cv2.IMWRITE_JPEG_PROGRESSIVE, 0]
        self.bytes_in = self.bytes_out = 0

    def shrink(self, numbered):
        """Bring one picture, (number, path below the split), over; returns (one of KINDS, bytes before, bytes after)."""
        number, path = numbered
        target = os.path.join(self._target, path)
        try:
            data = read_bytes(os.path.join(self._source, path), inside=self._inside)
        except ImageError as error:
            if error.reason in ("io", "permission"):
                raise ResourceError(f"{printable(os.path.join(self._source, path))}: {error}") from None
            return "missing", 0, 0
        if self._is_there(target):
            return "there", len(data), os.path.getsize(target)
        kind, small = self._smaller(data)
        try:
            self._write(number, target, small)
        except OSError as error:
            raise ResourceError(f"{printable(target)}: {error.strerror}; the same command continues from here") from None
        return kind, len(data), len(small)

    def _smaller(self, data):
        try:
            header = inspect(data)
            if min(header.width, header.height) <= self._short_side:
                return "small", data
            image = read_image(data)
        except ImageError:
            return "damaged", data          # kept: the list stays true, and loaders count and name it
        factor = self._short_side / min(image.shape[:2])
        size = tuple(max(self._short_side, round(side * factor)) for side in image.shape[1::-1])
        return "rewritten", cv2.imencode(".jpg", cv2.resize(image, size, interpolation=cv2.INTER_AREA), self._options)[1].tobytes()

    def _is_there(self, target):
        """Whether an earlier run finished this file: renamed into place, and not emptied by a power cut since."""
        try:
            return os.path.getsize(target) > 0
        except OSError:
            return False

    def _write(self, number, target, data):
        temporary = os.path.join(self._temporary, str(number))
        with open(temporary, "wb") as file:
            file.write(data)
        try:
            os.rename(temporary, target)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.rename(temporary, target)


def _run(job, index, pool, split):
    counts, before, after = collections.Counter(), 0, 0
    said = time.monotonic()
    for start in range(0, len(index), _CHUNK):
        rows = range(start, min(start + _CHUNK, len(index)))
        for kind, size, small in pool.map(job.shrink, zip(rows, index.paths(rows))):
            counts[kind] += 1
            before += size
            after += small
        if time.monotonic() - said > _PROGRESS_S:
            said = time.monotonic()
            print(f"{split}: {rows.stop} of {len(index)}", file=sys.stderr)
    parts = ", ".join(f"{counts[kind]} {text}" for kind, text in KINDS.items() if counts[kind])
    return f"{len(index)} listed: {parts}; {before / 1e6:.1f} MB became {after / 1e6:.1f} MB"


def _copy_list(source, target):
    with open(source, "rb") as file, atomic_write(target, "wb") as copy:
        shutil.copyfileobj(file, copy)
