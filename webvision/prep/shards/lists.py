"""Lists from shards that came without any: each picture's label is its neighbour's, `KEY.cls` or `KEY.json`."""

import json
import os

from webvision.data.archives import tarstream
from webvision.data.archives.building import archive_names
from webvision.data.archives.shards import COMMENT, label_name, unescape
from webvision.data.archives.walk import SIDECARS
from webvision.data.lists.text import MAX_LINE
from webvision.errors import DataError, printable
from webvision.files import atomic_write
from webvision.progress import Progress

_MAX_LABEL_BYTES = 1 << 16
_JSON_KEYS = ("label", "cls", "class")  # which of a sample's JSON is its label
_MAX_CLASSES = 1_000_000


def write_lists(data, splits):
    """Write DATA/meta/<split>.txt of the pictures in DATA/<split>/*.tar, in the archives' order, and synsets.txt if
    there is none; returns {split: rows}. DataError names the archive whose sample has no label, or no usable one."""
    os.makedirs(os.path.join(data, "meta"), exist_ok=True)
    rows, most = {}, -1
    for split in splits:
        rows[split], highest = _write_list(data, split)
        most = max(most, highest)
    synsets = os.path.join(data, "meta", "synsets.txt")
    if not os.path.exists(synsets):
        if most < 0:
            raise DataError(f"{printable(synsets)}: no such file, and no sample has a label that would tell of classes")
        with atomic_write(synsets) as file:
            file.writelines(f"{number}\n" for number in range(most + 1))
    return rows


def _write_list(data, split):
    folder, count, highest = os.path.join(data, split), 0, -1
    names = archive_names(folder)
    if not names:
        raise DataError(f"{printable(folder)}: no *.tar in it; shards of the {split} pictures belong there")
    labelled = None
    with atomic_write(os.path.join(data, "meta", f"{split}.txt"), "wb") as file:
        with Progress(f"listing {split}", len(names), "archives") as progress:
            for done, name in enumerate(names):
                path = os.path.join(folder, name)
                for picture, label in samples(path):
                    labelled = label is not None if labelled is None else labelled
                    if labelled != (label is not None):
                        raise DataError(
                            f"{printable(path)}: '{printable(os.fsdecode(picture))}' has {'no' if labelled else 'a'} "
                            f"label, the pictures before have {'one' if labelled else 'none'}; a list is labelled as a "
                            "whole or not at all"
                        )
                    line = picture if label is None else b"%s %d" % (picture, label)
                    if len(line) > MAX_LINE or b"\n" in line:
                        raise DataError(f"{printable(path)}: '{printable(line[:80])}' cannot stand in a list")
                    file.write(line + b"\n")
                    count, highest = count + 1, max(highest, -1 if label is None else label)
                progress.update(done + 1)
        if not count:
            raise DataError(f"{printable(folder)}: its archives hold no picture")
    return count, highest


def samples(path):
    """Yield (name of the picture, label or None) of each sample in the shard `path`."""
    with open(path, "rb", buffering=0) as file:
        reader = tarstream.Reader(file, seekable=True)
        waiting, labels = [], {}
        try:
            for member in reader:
                if member.odd or member.folder:
                    continue
                name = tarstream.checked_name(member.name)
                key = label_name(name)
                if waiting and key != label_name(waiting[0]):
                    yield from _labelled(waiting, labels, reader.comment)
                    waiting, labels = [], {}
                if not name.endswith(SIDECARS):
                    waiting.append(name)
                elif (label := _label(name, reader, member.size)) is not None:
                    labels[key] = label
        except DataError as error:
            raise DataError(f"{printable(path)}: {error}") from None
        yield from _labelled(waiting, labels, reader.comment)


def _labelled(pictures, labels, comment):
    for name in pictures:
        yield unescape(name) if comment == COMMENT else name, labels.get(label_name(name))


def _label(name, reader, size):
    """The label that a sidecar holds, or None if it holds something else."""
    if size > _MAX_LABEL_BYTES or name.endswith(b".txt"):
        return None
    text = reader.read(size)
    if name.endswith(b".json"):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            raise DataError(f"'{printable(os.fsdecode(name))}' is no JSON") from None
        text = (
            next((str(found[key]).encode() for key in _JSON_KEYS if key in found), None)
            if isinstance(found, dict)
            else None
        )
    if text is None:
        return None
    if not text.strip().isdigit() or int(text) >= _MAX_CLASSES:
        raise DataError(f"'{printable(os.fsdecode(name))}' is no class number: '{printable(os.fsdecode(text[:40]))}'")
    return int(text)
