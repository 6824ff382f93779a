"""Which pictures are to be predicted: one, a folder's, a list's, standard input's; ready for the reader that training
uses.

What that reader does not take as it is (HEIC, AVIF, TIFF, JPEG 2000, transparency) is converted into a temporary
folder first, exactly as an own folder is for training.
"""

import contextlib
import os
import sys
import tempfile
from typing import NamedTuple

from webvision.data.pictures.images import DEFAULT_POLICY, ImageError, read_bytes
from webvision.errors import DataError, UsageError, printable
from webvision.prep.check.pool import ScanPool
from webvision.prep.own_folder import examine
from webvision.prep.own_folder.foreign import kind_of, may_be_transparent
from webvision.prep.own_folder.look import SYSTEM_NAMES

STDIN = "-"
_HEAD = 64  # bytes that tell a JPEG, which never needs converting


class Gathered(NamedTuple):
    """Pictures to predict: what they are called in the answers, and where they lie (absolute paths)."""

    names: list
    paths: list
    skipped: list  # (name, why)


@contextlib.contextmanager
def gathered(source, *, jobs=1, stdin=None):
    """The Gathered of `source`; what had to be converted is there as long as the `with` block.

    A folder's pictures are called by their paths below it, a list's as its lines say. UsageError for an address.
    """
    names, paths, skipped = _find(source, stdin or sys.stdin)
    if not names:
        raise DataError(f"{printable(source)}: no picture in it")
    with tempfile.TemporaryDirectory(prefix="webvision-") as folder:
        odd = [row for row, path in enumerate(paths) if _may_need_converting(path)]
        for row, converted in _convert_all([paths[row] for row in odd], folder, jobs):
            paths[odd[row]] = converted
        yield Gathered(names, paths, skipped)


def _find(source, stdin):
    if source.lower().startswith(("http://", "https://", "ftp://")):
        raise UsageError(
            f"{printable(source)}: nothing is fetched from the net here; save the picture first, as with "
            f"curl -fLO {printable(source)}, and name the file"
        )
    if source == STDIN:
        return _from_lines(stdin.read().splitlines(), "")
    if os.path.isdir(source):
        return _from_folder(source)
    if not os.path.exists(source):
        raise UsageError(f"{printable(source)}: no such picture, folder or list")
    if _is_list(source):
        with open(source, encoding="utf-8", errors="surrogateescape") as file:
            return _from_lines(file.read().splitlines(), os.path.dirname(source))
    return [source], [os.path.abspath(source)], []


def _from_folder(folder):
    names, skipped = [], []
    for top, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name.lower() not in SYSTEM_NAMES)
        for name in sorted(files, key=os.fsencode):
            path = os.path.relpath(os.path.join(top, name), folder)
            if name.startswith(".") or name.lower() in SYSTEM_NAMES:
                skipped.append((path, "hidden, or a system's own"))
            else:
                names.append(path)
    return names, [os.path.abspath(os.path.join(folder, name)) for name in names], skipped


def _from_lines(lines, folder):
    """Lines are paths, below the list's folder if not absolute; a label at the end, as in train.txt, is left out."""
    names = []
    for line in filter(str.strip, lines):
        name, _, label = line.rpartition(" ")
        names.append(name if label.isdigit() and not os.path.exists(os.path.join(folder, line)) else line)
    return names, [os.path.abspath(os.path.join(folder, name)) for name in names], []


def _is_list(path):
    """Whether a file is text: a list of pictures, not one."""
    with open(path, "rb") as file:
        head = file.read(4096)
    return bool(head) and path.lower().endswith((".txt", ".lst", ".list", ".csv")) and b"\0" not in head


def _may_need_converting(path):
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD)
        if head.startswith(b"\xff\xd8\xff"):
            return False
        if kind_of(head):
            return True
        return may_be_transparent(read_bytes(path))
    except (OSError, ImageError):
        return False  # the loader says what is wrong with it


def _convert_all(paths, folder, jobs):
    """Yield (row, path of its conversion) for those of `paths` that had to be converted and could be."""
    if not paths:
        return

    def convert_block(row, row_begins, verdicts):
        row_begins(row)
        if row in verdicts:
            return b""
        examine.limit_process()
        top, name = os.path.split(paths[row])
        shown = examine.examine(top, name, folder, policy=DEFAULT_POLICY).shown
        return os.fsencode(shown) if shown.startswith(f"{examine.CONVERTED}/") else b""

    with contextlib.closing(ScanPool(convert_block, jobs=min(jobs, len(paths))).run(range(len(paths)))) as answers:
        for row, shown in answers:
            if shown:
                yield row, os.path.join(folder, os.fsdecode(shown))
