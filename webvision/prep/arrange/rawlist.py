"""The file lists of an unpacked set, as it was distributed: `google/q00001/a.jpg 0`, `val000001.jpg 0`,
`test000001.jpg`.

Read once, in pieces; the names stay in the mapped file, and a row costs 14 bytes: 16 million rows 224 MB. What is
wrong with a line is said with file, line, reason and remedy; nothing is skipped. What upstream's reader overlooks
(Windows line ends, a byte order mark, tabs, blanks around) is read as it reads it, and told once.
"""

import hashlib
import mmap
import os
import re
from array import array

import numpy as np

from webvision.data.lists.text import OddLines, plain_line
from webvision.errors import DataError, printable

CHUNK_BYTES = 1 << 20
MAX_LINE_BYTES = 4096 + 16  # PATH_MAX and a label: longer can't be a file
UNLABELLED = -1

# What nearly every line of every real list looks like; the rest takes parse_line's slow, explaining road (4 us, not 1).
_PLAIN_LINE = re.compile(rb"((?:[\w-][\w.-]*/)*[\w-][\w.-]*) (0|[1-9][0-9]{0,8})").fullmatch


class RawList:
    """One list: `len()`, `.name(row)` (bytes, relative), `.labels` int32[n] or None, `.line(row)` for messages."""

    def __init__(self, path, num_classes):
        self.path = path
        self._starts, self._lengths = array("q"), array("H")
        labels, start = array("i"), 0
        digest, odd = hashlib.sha256(), OddLines(path)
        for number, line in enumerate(_lines(path, digest), 1):
            try:
                name, label = parse_line(line, num_classes)
            except ValueError as problem:
                raise DataError(f"{path}:{number}: {problem}") from None
            if labels and (label == UNLABELLED) != (labels[-1] == UNLABELLED):
                raise DataError(
                    f"{path}:{number}: this line {'has no' if label < 0 else 'has a'} label, the lines above "
                    f"{'have' if label < 0 else 'have none'}: {_quote(line)}; a list is labelled as a whole or not at "
                    "all"
                )
            if not _is_plain(line, name, label):
                odd.add(number, line)
            self._starts.append(start + line.index(name))
            self._lengths.append(len(name))
            labels.append(label)
            start += len(line) + 1
        if not labels:
            raise DataError(f"{path}: is empty; was it downloaded and unpacked to its end?")
        odd.tell()
        self.sha256 = digest.hexdigest()
        self.labels = None if labels[-1] == UNLABELLED else np.frombuffer(labels, np.int32)
        with open(path, "rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __len__(self):
        return len(self._starts)

    def name(self, row):
        start = self._starts[row]
        return self._bytes[start : start + self._lengths[row]]

    def line(self, row):
        """'path:line' of a row."""
        return f"{self.path}:{row + 1}"


def parse_line(line, num_classes):
    """b'name label' or b'name' -> (name, label or UNLABELLED). ValueError says what is wrong with it.

    The label is the digits after the last blank; names may contain blanks. A byte order mark, blanks and CR around the
    line and tabs before the label are the distributor's, and harmless. A name that would lead out of its folder is
    refused.
    """
    plain = _PLAIN_LINE(line)
    if plain and (label := int(plain[2])) < num_classes:
        return plain[1], label
    line = plain_line(line, labelled=False)
    if not line:
        raise ValueError("blank line; delete it")
    name, label = line, UNLABELLED
    cut = max(line.rfind(b" "), line.rfind(b"\t"))
    if cut >= 0:
        tail = line[cut + 1 :]
        if tail.isdigit() and (tail == b"0" or tail[0] != 48) and len(tail) < 10:
            name, label = line[:cut].rstrip(b" \t"), int(tail)
            if label >= num_classes:
                raise ValueError(
                    f"label {label} is outside 0..{num_classes - 1}; is this list for another synsets.txt?"
                )
            before, _, last = name.rpartition(b" ")
            if last.isdigit() and b"." in before.rpartition(b"/")[2]:
                raise ValueError(f"two labels: {_quote(line)}")
        elif _looks_like_label(tail):
            raise ValueError(f"label {_quote(tail)} is not a whole number from 0 to {num_classes - 1}")
    _check_name(name)
    return name, label


def _is_plain(line, name, label):
    """Whether `line` is `name`, or `name`, one blank and its label, and nothing more."""
    if label == UNLABELLED:
        return line == name
    end = len(name)
    return line[end : end + 1] == b" " and line[end + 1 :].isdigit()


def _looks_like_label(tail):
    """Whether the last word was meant as a label: '-1', '1e3', '007', 'n01440764', not the end of 'my photo.jpg'."""
    return b"." not in tail or tail.replace(b".", b"", 1).lstrip(b"+-").isdigit()


def _check_name(name):
    if b"\0" in name or b"\t" in name or b"\r" in name:
        raise ValueError(f"the name contains a NUL, tab or carriage return: {_quote(name)}")
    if name[:1] == b"/" or b"//" in name or name[-1:] == b"/":
        raise ValueError(f"not a file below the set's folder: {_quote(name)}")
    if b"." in (name[:1], name[-1:]) or b"/." in name:  # cheap first: almost no name has these
        if not {b"", b".", b".."}.isdisjoint(name.split(b"/")):
            raise ValueError(f"'.' or '..' leads out of the set's folder: {_quote(name)}")


def read_synsets(path):
    """The class ids of a raw synsets.txt (`wnid words...` a line), in order; DataError names the line."""
    classes = []
    seen, odd = {}, OddLines(path)
    for number, line in enumerate(_lines(path, hashlib.sha256()), 1):
        plain = plain_line(line, labelled=False)
        words = plain.split()
        wnid = os.fsdecode(words[0]) if words else ""
        problem = (
            "blank line; delete it"
            if not words
            else f"class id {_quote(words[0])} can't name a folder"
            if wnid in (".", "..") or "/" in wnid or not wnid.isprintable()
            else f"class id {wnid} is already on line {seen[wnid]}"
            if wnid in seen
            else None
        )
        if problem:
            raise DataError(f"{path}:{number}: {problem}")
        if plain != line:
            odd.add(number, line)
        seen[wnid] = number
        classes.append(wnid)
    if not classes:
        raise DataError(f"{path}: is empty; was it downloaded and unpacked to its end?")
    odd.tell()
    return classes


def _lines(path, digest):
    """The lines of a file without their LF, read in pieces; feeds `digest`."""
    number, rest = 0, b""
    try:
        file = open(path, "rb")
    except FileNotFoundError:
        raise DataError(
            f"{path}: not found; is this an unpacked WebVision set? `bash download.sh` makes one, --raw "
            "names another folder"
        ) from None
    with file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            for line in lines:
                number += 1
                if len(line) > MAX_LINE_BYTES:
                    raise DataError(f"{path}:{number}: a line of {len(line)} bytes; is this a file list?")
                yield line
            if len(rest) > MAX_LINE_BYTES:
                raise DataError(f"{path}:{number + 1}: a line of over {MAX_LINE_BYTES} bytes; is this a file list?")
    if rest:
        yield rest


def _quote(data):
    text = printable(os.fsdecode(data[:120]))
    return f"'{text}'" + ("..." if len(data) > 120 else "")
