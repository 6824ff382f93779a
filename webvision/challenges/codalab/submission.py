"""Submission formats: what each challenge wants, checked in full before a byte is written, and read back after.

A new format is a row of `FORMATS`: its faults, its lines and the file they belong in.
"""

import hashlib
import os
import zipfile
from collections.abc import Callable
from typing import NamedTuple

from webvision.errors import DataError, ResourceError
from webvision.files import atomic_write
from webvision.scoring.predictions.file import list_faults

CODALAB_IDS = 5
LINE_BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029\t\0"  # what some reader takes for the end of a line or of a column
ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the oldest a zip can hold: the same predictions give the same zip


class Format(NamedTuple):
    """One challenge's form of predictions."""

    about: str
    member: str  # the file's name at the root of the zip
    faults: Callable  # (arrays, num_classes) -> every reason to refuse, with row numbers
    lines: Callable  # (arrays, num_classes) -> the lines, with their ends


class Receipt(NamedTuple):
    """What was written, and read back."""

    rows: int
    sha256: str  # of the member's bytes


def ids_per_row(num_classes):
    """How many ids a CodaLab line has: five, or all classes where there are fewer."""
    return min(CODALAB_IDS, num_classes or CODALAB_IDS)


def codalab_faults(arrays, num_classes):
    """Every reason why `arrays` cannot be a WebVision submission."""
    wanted, faults = ids_per_row(num_classes), []
    if not arrays.names:
        faults.append("row 1: there are no predictions")
    elif arrays.top.shape[1] < wanted:
        faults.append(
            f"rows 1 to {len(arrays.names)}: {arrays.top.shape[1]} class ids an image, the challenge wants {wanted}"
        )
    rows_of = {}
    for row, name in enumerate(arrays.names, 1):
        if any(c in LINE_BREAKS for c in name):
            faults.append(
                f"row {row}: the name {name!r} holds a line break, a tab or a NUL, which its line could not show"
            )
        if (first := rows_of.setdefault(name, row)) != row:
            faults.append(f"row {row}: name {name!r} stands in row {first} too")
    return faults


def codalab_lines(arrays, num_classes):
    """Name, one blank, the ids with four blanks between them, line feed: upstream's bytes."""
    wanted = ids_per_row(num_classes)
    for name, ids in zip(arrays.names, arrays.valid_ids()[:, :wanted].tolist(), strict=True):
        yield f"{name} {'    '.join(map(str, ids))}\n"


FORMATS = {
    "codalab": Format(
        "WebVision on CodaLab: predictions.txt, top 5 ids a line", "predictions.txt", codalab_faults, codalab_lines
    )
}


def name_faults(names, list_names, list_path):
    """Every difference between the names predicted and the names of the list, with the rows of both."""
    if names == list_names:
        return []
    row_of = {name: row for row, name in enumerate(names, 1)}
    line_of = {name: line for line, name in enumerate(list_names, 1)}
    faults = [f"row {row}: {name!r} is not in {list_path}" for row, name in enumerate(names, 1) if name not in line_of]
    faults += [
        f"no row for {name!r} (line {line} of {list_path})" for name, line in line_of.items() if name not in row_of
    ]
    if len(names) != len(list_names):
        faults.append(
            f"row {min(len(names), len(list_names)) + 1}: {len(names)} predictions, but {list_path} has "
            f"{len(list_names)} lines"
        )
    if not faults:
        row = next(row for row, (a, b) in enumerate(zip(names, list_names), 1) if a != b)
        faults.append(
            f"row {row}: {names[row - 1]!r} where {list_path} has {list_names[row - 1]!r}: the rows are not in "
            "the list's order"
        )
    return faults


def write_submission(path, arrays, *, num_classes=None, kind="codalab"):
    """Write `arrays` as the zip that `kind` wants, read it back, and only then give it its name; returns a Receipt.

    DataError listing all faults before anything is written; ResourceError if the disk gives back other bytes.
    """
    form = FORMATS[kind]
    if faults := form.faults(arrays, num_classes):
        raise DataError("\n".join(list_faults(path, [f"not written: {faults[0]}", *faults[1:]])))
    written, rows = hashlib.sha256(), 0
    with atomic_write(path, "w+b") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
            with archive.open(_member(form.member), "w") as member:
                for line in form.lines(arrays, num_classes):
                    data = line.encode("utf-8", "surrogateescape")
                    written.update(data)
                    member.write(data)
                    rows += 1
        _read_back(file, path, form.member, rows, written.hexdigest())
    return Receipt(rows, written.hexdigest())


def _member(name):
    info = zipfile.ZipInfo(name, ZIP_DATE)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system = 3  # Unix, whatever the writer runs on
    info.external_attr = 0o644 << 16
    return info


def _read_back(file, path, member, rows, sha256):
    """Raise ResourceError unless the zip in `file` holds just `member` at its root with the bytes that were put in."""
    file.seek(0)
    found, found_rows = hashlib.sha256(), 0
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            with archive.open(member) as text:
                for line in text:
                    found.update(line)
                    found_rows += 1
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        raise ResourceError(f"{path}: could not be read back ({error}); is the disk sound?") from None
    if names != [member] or found_rows != rows or found.hexdigest() != sha256:
        raise ResourceError(f"{path}: read back with other content than was written; is the disk sound?")
    file.seek(0, os.SEEK_END)
