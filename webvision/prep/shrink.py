"""Rewrite a data set once at a smaller size: most of a loader's time goes into pixels that the crop throws away again.

A file is in the new folder whole or not at all; the lists are written last, so a folder with lists is a finished one.
"""

import collections
import errno
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import cv2

from webvision.data.data_set import DataSet
from webvision.data.lists.repeats import is_repeated
from webvision.data.lists.text import encode_name
from webvision.data.pictures.images import DEFAULT_POLICY, ImageError, inspect, read_image
from webvision.errors import DataError, ResourceError, UsageError, printable
from webvision.files import atomic_write, directory_lock, write_json
from webvision.progress import Progress

_CHUNK = 2048  # rows at a time, so that memory does not grow with the list
KINDS = {
    "rewritten": "rewritten",
    "small": "copied, small enough",
    "damaged": "copied, damaged",
    "copied": "copied",
    "there": "there from before",
    "repeated": "listed before",
}
# Why a picture is not in the new folder: reasons of an ImageError, in words.
LEFT_OUT = {
    "missing": "missing",
    "outside": "links out of the data folder",
    "not-a-file": "not regular files",
    "file-too-large": "too large a file",
}


class Report(NamedTuple):
    """What shrink_set did."""

    text: str
    incomplete: tuple  # splits of which a larger share than `max_bad` was left out; then no lists were written


def shrink_set(data, out, *, splits, short_side, quality, jobs, max_bad=0.01, policy=DEFAULT_POLICY):
    """Write `data`'s listed pictures to `out`, then their lists, unless too many pictures were left out; returns a
    Report. With `short_side` None they are copied as they are: out of archives, into files."""
    here, there = os.path.realpath(data), os.path.realpath(out)
    if here == there or there.startswith(here + os.sep) or here.startswith(there + os.sep):
        raise UsageError("--out must lie outside --data: nothing in --data is ever changed")
    source = DataSet.open(data, policy=policy)
    present = [split for split in splits if os.path.exists(os.path.join(data, "meta", f"{split}.txt"))]
    if not present:
        raise DataError(
            f"{printable(data)}/meta: none of the lists {', '.join(f'{printable(split)}.txt' for split in splits)} is "
            "here"
        )
    _make_folder(out)
    lines, incomplete = [], []
    with directory_lock(out, "shrink"), ThreadPoolExecutor(jobs) as pool:
        _keep_settings(out, {"short_side": short_side, "quality": quality})
        temporary = os.path.join(out, ".shrink")
        shutil.rmtree(temporary, ignore_errors=True)  # of a run that was killed
        os.mkdir(temporary)
        for split in present:
            part = source.split(split)
            job = _Split(part.pictures, os.path.join(out, split), temporary, short_side, quality)
            with Progress(f"shrinking {split}", len(part.index), "pictures") as progress:
                line, left_out = _run(job, part.index, pool, progress)
            lines.append(f"{split}: {line}")
            if left_out > max_bad * len(part.index):
                incomplete.append(split)
        os.rmdir(temporary)
        if not incomplete:
            os.sync()  # the pictures are on the disk before the lists say so
            for name in [*(f"{split}.txt" for split in present), "synsets.txt"]:
                _copy_list(os.path.join(data, "meta", name), os.path.join(out, "meta", name))
    return Report("\n".join(lines), tuple(incomplete))


def _make_folder(out):
    """Make OUT/meta; UsageError if there can be no such folder."""
    try:
        os.makedirs(os.path.join(out, "meta"), exist_ok=True)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTDIR, errno.ENOENT, errno.ELOOP, errno.ENAMETOOLONG):
            raise
        raise UsageError(
            f"--out {printable(out)} cannot be made a folder ({printable(error.filename)}: {error.strerror}); "
            "name a folder, or a new one"
        ) from None


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
        raise UsageError(
            f"{printable(out)} was begun with short side {before.get('short_side')} and quality "
            f"{before.get('quality')}; use the same, or another --out"
        )


class _Split:
    """One split's way from folder to folder, a picture at a time, from several threads."""

    def __init__(self, pictures, target, temporary, short_side, quality):
        self._pictures, self._target, self._temporary = pictures, target, temporary
        self._short_side, self._policy = short_side, pictures.policy
        self._options = [
            cv2.IMWRITE_JPEG_QUALITY,
            quality,
            cv2.IMWRITE_JPEG_OPTIMIZE,
            0,
            cv2.IMWRITE_JPEG_PROGRESSIVE,
            0,
        ]

    def shrink(self, numbered):
        """Bring one picture, (number, path below the split), over; returns (of KINDS or LEFT_OUT, bytes before, bytes
        after)."""
        number, path = numbered
        target = os.path.join(self._target, path)
        try:
            data = self._pictures.read(encode_name(path))
        except ImageError as error:
            if error.reason in ("io", "permission"):
                folder = os.fsdecode(self._pictures.root)
                raise ResourceError(f"{printable(os.path.join(folder, path))}: {error}") from None
            return error.reason, 0, 0
        if self._is_there(target, data):
            return "there", len(data), os.path.getsize(target)
        kind, small = self._smaller(data)
        try:
            self._write(number, target, small)
        except OSError as error:
            raise ResourceError(
                f"{printable(target)}: {error.strerror}; the same command continues from here"
            ) from None
        return kind, len(data), len(small)

    def _smaller(self, data):
        if self._short_side is None:
            return "copied", data
        try:
            header = inspect(data, self._policy)
            if min(header.width, header.height) <= self._short_side:
                return "small", data
            image = read_image(data, self._policy)
        except ImageError:
            return "damaged", data  # kept: the list stays true, and loaders count and name it
        factor = self._short_side / min(image.shape[:2])
        size = tuple(max(self._short_side, round(side * factor)) for side in image.shape[1::-1])
        return "rewritten", cv2.imencode(".jpg", cv2.resize(image, size, interpolation=cv2.INTER_AREA), self._options)[
            1
        ].tobytes()

    def _is_there(self, target, data):
        """Whether an earlier run finished this file: renamed into place, and not emptied by a power cut since."""
        try:
            return os.path.getsize(target) > 0 or not data
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


def _run(job, index, pool, progress):
    """Bring a split over; returns (what was done, as text; how many pictures were left out)."""
    counts, before, after = collections.Counter(), 0, 0
    repeated = is_repeated(index)
    progress.update(0)
    for rows in _chunks(index):
        numbered = list(zip(rows, index.paths(rows)))
        again = [pair for pair in numbered if repeated[pair[0]]]
        # The first line of a picture brings it over, whichever thread is faster; the others find it there.
        for turn in ([pair for pair in numbered if not repeated[pair[0]]], again):
            for kind, size, small in pool.map(job.shrink, turn):
                kind = "repeated" if turn is again and kind == "there" else kind
                counts[kind] += 1
                if kind != "repeated":
                    before += size
                    after += small
        progress.update(rows.stop)
    parts = ", ".join(f"{counts[kind]} {text}" for kind, text in (KINDS | LEFT_OUT).items() if counts[kind])
    left_out = sum(counts[kind] for kind in LEFT_OUT)
    return f"{len(index)} listed: {parts}; {before / 1e6:.1f} MB became {after / 1e6:.1f} MB", left_out


def _chunks(index):
    for start in range(0, len(index), _CHUNK):
        yield range(start, min(start + _CHUNK, len(index)))


def _copy_list(source, target):
    with open(source, "rb") as file, atomic_write(target, "wb") as copy:
        shutil.copyfileobj(file, copy)
