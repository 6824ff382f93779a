"""Check a CodaLab submission that lies on the disk, ours or another program's: every fault with its line, before any
upload."""

import os
import re
import zipfile
from typing import NamedTuple

from webvision import zips
from webvision.challenges.codalab.submission import FORMATS, ids_per_row
from webvision.data.lists.text import read_list
from webvision.errors import DataError
from webvision.scoring.predictions.file import list_faults
from webvision.zips import ZipError, open_zip

MAX_BYTES = 1 << 28  # unpacked; 290,000 rows are 15 MB


class CheckedSubmission(NamedTuple):
    rows: int
    remarks: list[str]  # what the challenge's reader forgives, but is not its form


def check_submission(path, *, list_path=None, num_classes=None):
    """Read the zip, or bare predictions.txt, at `path`; DataError listing every fault by line number."""
    member = FORMATS["codalab"].member
    text, faults = _content(path, member)
    lines = text.split(b"\n")
    if lines[-1]:
        faults.append(f"line {len(lines)}: no line end; the file was cut off")
    else:
        lines.pop()
    if not lines:
        faults.append("line 1: there are no predictions")
    entries = read_list(list_path, None, allow_outside=True) if list_path else ()
    listed = {entry.name: number for number, entry in enumerate(entries, 1)} if list_path else None
    remarks, seen, in_order = [], {}, []
    for number, raw in enumerate(lines, 1):
        line = raw.decode("utf-8", "surrogateescape")
        name, ids = _split(line, listed)
        faults += [f"line {number}: {fault}" for fault in _line_faults(ids, num_classes)]
        if (first := seen.setdefault(name, number)) != number:
            faults.append(f"line {number}: name {name!r} stands in line {first} too")
        if listed is not None and name not in listed:
            faults.append(f"line {number}: {name!r} is not in {list_path}")
        if not remarks and line != f"{name} {'    '.join(ids)}":
            remarks.append(
                f"line {number}: not exactly `name id    id    id    id    id` with four blanks between ids; the "
                "challenge's reader may accept it"
            )
        in_order.append(name)
    if listed is not None:
        faults += [
            f"no line for {name!r} (line {number} of {list_path})"
            for name, number in listed.items()
            if name not in seen
        ]
        if not faults and in_order != list(listed):
            remarks.append(f"the lines are not in the order of {list_path}")
    if faults:
        raise DataError("\n".join(list_faults(path, faults)))
    return CheckedSubmission(len(lines), remarks)


def _content(path, member):
    """(the bytes of the member, faults of the archive)."""
    faults = []
    if not os.path.isfile(path):
        raise DataError(f"{path}: no such file")
    if not zipfile.is_zipfile(path):
        if os.path.getsize(path) > MAX_BYTES:
            raise DataError(f"{path}: larger than {MAX_BYTES} bytes")
        with open(path, "rb") as file:
            return file.read(), faults
    try:
        with open_zip(path) as archive, zips.reading():
            names = archive.namelist()
            if names.count(member) != 1:
                found = ", ".join(names[:5]) or "nothing"
                raise DataError(f"{path}: {member} must be at the zip's root, once; found {found}")
            faults += [f"holds {name!r} beside {member}" for name in names if name != member]
            if archive.getinfo(member).file_size > MAX_BYTES:
                raise DataError(f"{path}: {member} is larger than {MAX_BYTES} bytes")
            return archive.read(member), faults
    except ZipError as error:
        raise DataError(f"{path}: a damaged or encrypted zip ({error})") from None


def _split(line, listed):
    """(name, ids as text). A name of the list is taken whole, blanks and all; any other ends at the first blank."""
    words = line.split()
    if listed is not None and line.split(" ")[0] not in listed:
        for start in (match.start() for match in re.finditer(r"\s", line)):
            if line[:start] in listed:
                return line[:start], line[start:].split()
    return (words[0], words[1:]) if words else ("", [])


def _line_faults(ids, num_classes):
    wanted = ids_per_row(num_classes)
    faults = [
        f"{text!r:.60} is not a class id" for text in ids if not (text.isascii() and text.isdigit() and len(text) < 10)
    ]
    if len(ids) != wanted:
        faults.append(f"{len(ids)} class ids where {wanted} are expected")
    if not faults and num_classes is not None:
        faults += [f"class id {text} is outside 0..{num_classes - 1}" for text in ids if int(text) >= num_classes]
    if not faults and len(set(map(int, ids))) != len(ids):
        faults.append("a class is named twice")
    return faults
