"""A data set's pictures into WebDataset shards: tars of a fixed number of pictures, in an order that a seed chooses.

Shard k holds pictures k * per_shard and on of that order, whatever was written before and by whom: the same set and
seed give the same bytes. A shard has its name only when it is whole, so a killed run goes on with the next one. The
lists are written last, as they are: rows keep their numbers, and a run goes on from archives where it was with files.
"""

import collections
import json
import os
import shutil
import tarfile
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from webvision.data.archives.shards import COMMENT, label_name, member_name
from webvision.data.lists.order import permute
from webvision.data.lists.repeats import is_repeated
from webvision.data.lists.text import encode_name
from webvision.data.pictures.images import ImageError
from webvision.environment import DOOR
from webvision.errors import DataError, ResourceError, UsageError, printable
from webvision.files import atomic_write, directory_lock, read_json, remove_leftovers, write_json
from webvision.progress import Progress

PER_SHARD = 10_000  # pictures: 270 MB of WebVision's
SETTINGS = "pack.json"  # in OUT/meta
_MOST_SHARDS = 10**6
_CHUNK = 1 << 14
_END = bytes(2 * tarfile.BLOCKSIZE)


class PackOptions(NamedTuple):
    """How a set is packed."""

    per_shard: int = PER_SHARD
    seed: int | None = 0  # of the order; None: as listed
    jobs: int = 1  # shards written at a time
    max_bad: float = 0.01  # share of a split's pictures that may be left out


class Packed(NamedTuple):
    """What became of one split."""

    shards: int
    pictures: int
    left_out: dict  # reason -> pictures that could not be read
    repeated: int  # rows whose picture an earlier row names


def pack_set(splits, meta, out, options):
    """Pack {split name: (index, pictures)} into OUT/<split>/*.tar and copy the lists of the folder `meta`; returns
    {split: Packed}. DataError, and no lists, if more than `max_bad` of a split could not be read."""
    if not 1 <= options.per_shard:
        raise UsageError(f"{options.per_shard} pictures a shard")
    os.makedirs(os.path.join(out, "meta"), exist_ok=True)
    with directory_lock(out, "packing"):
        remove_leftovers(os.path.join(out, "meta"))
        _keep_settings(out, splits, options)
        done = {}
        for name, (index, pictures) in splits.items():
            done[name] = _pack_split(name, index, pictures, os.path.join(out, name), options)
            if sum(done[name].left_out.values()) > options.max_bad * len(index):
                raise DataError(
                    f"{sum(done[name].left_out.values())} of {len(index)} pictures of {name} could not be read "
                    f"({_counts(done[name].left_out)}), so no lists were written; {DOOR} check names them, --max-bad "
                    "puts up with more"
                )
        os.sync()  # the shards are on the disk before the lists say so
        for name in [*(f"{split}.txt" for split in splits), "synsets.txt"]:
            with (
                open(os.path.join(meta, name), "rb") as file,
                atomic_write(os.path.join(out, "meta", name), "wb") as copy,
            ):
                shutil.copyfileobj(file, copy)
    return done


def _counts(reasons):
    return ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))


def _keep_settings(out, splits, options):
    """Note what OUT is made of; UsageError if another run began it with something else."""
    path = os.path.join(out, "meta", SETTINGS)
    settings = {
        "per_shard": options.per_shard,
        "seed": options.seed,
        "lists": {name: index.hash for name, (index, _) in splits.items()},
    }
    if not os.path.exists(path):
        write_json(path, settings)
        return
    try:
        before = read_json(path)
    except ValueError:
        raise DataError(f"{printable(path)} is no JSON; choose another --out") from None
    if before != settings:
        raise UsageError(
            f"{printable(out)} was begun with other lists, or another --per-shard or --seed ({json.dumps(before)}); "
            "use the same, or another --out"
        )


def _pack_split(name, index, pictures, folder, options):
    os.makedirs(folder, exist_ok=True)
    remove_leftovers(folder)
    order = _order(index, options.seed)
    repeated = is_repeated(index)
    shards = -(-len(index) // options.per_shard)
    if shards > _MOST_SHARDS:
        raise UsageError(f"{shards:,} shards; a larger --per-shard makes fewer than {_MOST_SHARDS:,}")
    left_out, packed = collections.Counter(), 0

    def write(number):
        rows = order(number * options.per_shard, min((number + 1) * options.per_shard, len(index)))
        return _write_shard(os.path.join(folder, f"{name}-{number:06d}.tar"), index, pictures, rows[~repeated[rows]])

    with Progress(f"packing {name}", len(index), "pictures") as progress, ThreadPoolExecutor(options.jobs) as pool:
        try:
            for count, reasons in pool.map(write, range(shards)):
                packed += count
                left_out.update(reasons)
                progress.update(packed)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return Packed(shards, packed, dict(left_out), int(repeated.sum()))


def _order(index, seed):
    """A function (first, end) -> rows in the order in which they are packed."""
    if seed is None:
        return lambda first, end: np.arange(first, end)
    return lambda first, end: permute(np.arange(first, end), len(index), seed=seed, epoch=0)


def _write_shard(path, index, pictures, rows):
    """Write one shard, unless it is there; (pictures in it, Counter of why others are not)."""
    about = path + ".left-out"
    if os.path.exists(path):
        reasons = read_json(about) if os.path.exists(about) else {}
        return len(rows) - sum(reasons.values()), reasons
    reasons = collections.Counter()
    with atomic_write(path, "wb") as file:
        file.write(tarfile.TarInfo.create_pax_global_header({"comment": COMMENT.decode("ascii")}))
        for name, label in _apart(_named(index, rows)):
            try:
                data = pictures.read(encode_name(name))
            except ImageError as error:
                if error.reason in ("io", "permission"):
                    raise ResourceError(f"{printable(name)}: {error}; the same command goes on from here") from None
                reasons[error.reason] += 1
                continue
            member = member_name(encode_name(name))
            file.write(_member(member, data))
            if label is not None:
                file.write(_member(label_name(member), b"%d" % label))
        file.write(_END)
        if reasons:
            write_json(about, reasons)
        elif os.path.exists(about):
            os.unlink(about)  # of a killed run, which could not read what can be read now
    return len(rows) - sum(reasons.values()), reasons


def _named(index, rows):
    """Yield the (path, label) of each row."""
    for low in range(0, len(rows), _CHUNK):
        part = rows[low : low + _CHUNK]
        labels = index.labels[part].tolist() if index.labelled else [None] * len(part)
        yield from zip(index.paths(part), labels, strict=True)


def _apart(named):
    """`named`, but a picture with the key of the one before it (a.jpg, a.png) comes last: the library would join
    them."""
    late, before = [], None
    for name, label in named:
        key = label_name(member_name(encode_name(name)))
        if key == before:
            late.append((name, label))
            continue
        before = key
        yield name, label
    yield from late


def _member(name, data):
    """A regular file as a tar has it: header, bytes, padding. Nothing in it depends on who writes it, or when."""
    info = tarfile.TarInfo(os.fsdecode(name))
    info.size = len(data)
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape") + data + bytes(-len(data) % tarfile.BLOCKSIZE)
