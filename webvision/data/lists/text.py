"""List files as text: what a line may be, and what is wrong with one that may not.

`meta/synsets.txt` names the classes, one per line; the line number is the class. `meta/train.txt` and its like name
the pictures, one per line: `<name> <label>`, or `<name>` alone when the whole list has no labels. The label stands
after the last blank, so names may hold blanks. Names are bytes: what is not UTF-8 survives as surrogates.
"""

import hashlib
import os
import re
import stat
import sys
from dataclasses import dataclass
from typing import NamedTuple

from webvision.environment import DOOR
from webvision.errors import DataError, printable

MAX_LINE = 4096  # bytes; Linux opens no longer path (PATH_MAX), so a longer line is not a name
MAX_LABEL_DIGITS = 9  # more does not fit the int32 labels of a batch
IMAGE_SUFFIX = rb"\.(?:jpe?g|png|webp|bmp|gif)"
_NAME_ENDS = re.compile(IMAGE_SUFFIX + rb"$", re.IGNORECASE)
_NAME_AND_NUMBER = re.compile(IMAGE_SUFFIX + rb" +-?\d+$", re.IGNORECASE)
_FORBIDDEN = {b"\0": "a NUL byte", b"\t": "a tab within the name", b"\r": "a carriage return within the name"}
_BOM = b"\xef\xbb\xbf"
_AROUND = b" \t\r"
_LAST_GAP = re.compile(rb"[ \t]+(?=[^ \t]*$)")


class Entry(NamedTuple):
    """One picture: its name below DATA/<split>/ and its class, None in a list without labels."""

    name: str
    label: int | None


@dataclass(frozen=True)
class LineRules:
    """What a line of one list must satisfy."""

    num_classes: int | None  # labels are 0..num_classes-1; None: any int32
    labelled: bool  # a list is labelled or not as a whole; its first line decides
    allow_outside: bool = False  # absolute names and `..` are accepted


def decode_name(name):
    """Bytes of a name as str; bytes that are not UTF-8 become surrogates and come out unchanged again."""
    return name.decode("utf-8", "surrogateescape")


def encode_name(name):
    """The bytes `decode_name` was given."""
    return name.encode("utf-8", "surrogateescape")


def first_line_is_labelled(line):
    """True if the list that starts with `line` (bytes) has labels: something other than an image name follows a
    blank."""
    _, blank, last = plain_line(line, labelled=True).rpartition(b" ")
    return bool(blank) and not _NAME_ENDS.search(last)


def plain_line(line, *, labelled):
    """`line` with what upstream's reader (`line.strip().split()`) overlooks made plain: one blank before the label,
    none around the line, no Windows line end and no byte order mark."""
    line = line.removeprefix(_BOM).strip(_AROUND)
    gap = _LAST_GAP.search(line) if labelled else None
    if gap is None or gap[0] == b" ":
        return line
    return line[: gap.start()] + b" " + line[gap.end() :]


class OddLines:
    """Counts the lines of one list that are not as `plain_line` gives them, and names the first."""

    def __init__(self, path):
        self._path, self._count, self._first = path, 0, None

    def add(self, number, line):
        """Line `number` (from 1) is `line` (bytes)."""
        self._count += 1
        self._first = self._first or f"{number}: {_oddity(line)}"

    def tell(self):
        """One remark on stderr, if there was any."""
        if self._first:
            more = f", and {self._count - 1:,} more lines" if self._count > 1 else ""
            print(f"{printable(self._path)}:{self._first}{more}; read as upstream reads it", file=sys.stderr)


def _oddity(line):
    """What upstream's reader overlooks in a line that is not as `plain_line` gives it, for a person."""
    if line.startswith(_BOM):
        return "a byte order mark"
    if line.endswith(b"\r"):
        return "a Windows line end (CR LF)"
    if line != line.strip(_AROUND):
        return "blanks around the line"
    return "a tab for a blank" if b"\t" in line else "more blanks than one before the label"


def parse_line(line, rules):
    """The Entry in `line` (bytes, without its newline). Raises ValueError with the reason, if there is one to refuse
    it."""
    if len(line) > MAX_LINE:
        raise ValueError(f"the line has more than {MAX_LINE} bytes; is this a list of pictures?")
    line = plain_line(line, labelled=rules.labelled)
    if not line:
        raise ValueError("blank line; remove it")
    for byte, what in _FORBIDDEN.items():
        if byte in line:
            raise ValueError(f"the line holds {what}")
    if line.startswith(b"#"):
        raise ValueError("comments are not part of the format; remove it (a file called so is written './#...')")
    return _labelled_entry(line, rules) if rules.labelled else _unlabelled_entry(line, rules)


def _labelled_entry(line, rules):
    name, blank, label = line.rpartition(b" ")
    if not blank:
        raise ValueError(f"no label after the name {_show(line)}; the list's first line has one")
    if _NAME_AND_NUMBER.search(name):
        raise ValueError(f"two labels: {_show(line[len(name.rstrip(b'-0123456789')) :])}")
    if not label.isdigit():
        raise ValueError(f"label {_show(label)} is not a class number (0, 1, 2, ...)")
    last = (rules.num_classes or 2**31) - 1
    if len(label) > MAX_LABEL_DIGITS or int(label) > last:
        raise ValueError(f"label {_show(label)} is outside 0..{last}; is this list for another synsets.txt?")
    return Entry(_checked_name(name, rules), int(label))


def _unlabelled_entry(line, rules):
    if _NAME_AND_NUMBER.search(line):
        raise ValueError(f"a label after the name {_show(line)}; the list's first line has none")
    return Entry(_checked_name(line, rules), None)


def _checked_name(name, rules):
    if not name:
        raise ValueError("no name before the label")
    if not rules.allow_outside and leads_outside(name):
        if name[:1] == b"/":
            raise ValueError(
                f"absolute name {_show(name)}; names are relative to the split's folder (or --allow-outside)"
            )
        raise ValueError(f"'..' in the name {_show(name)} leaves the data folder (allowed by --allow-outside)")
    return decode_name(name)


def leads_outside(name):
    """Whether a name (bytes) is absolute or goes up: only with --allow-outside."""
    return name[:1] == b"/" or (b".." in name and b".." in name.split(b"/"))


def _show(text, limit=80):
    shown = printable(decode_name(text))
    return f"'{shown}'" if len(shown) <= limit else f"'{shown[:limit]}...'"


def read_list(path, num_classes=None, *, allow_outside=False):
    """Yield the Entry of each line; DataError naming file, line and reason at the first wrong one.

    The readable, strict reader: about 2 us a line. `index.open_index` reads the same format at 16 million lines a
    second or so and falls back on `parse_line` for every line that it cannot vouch for.
    """
    rules = None
    with open_regular(path) as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE + 2), b""), 1):
            line = line.removesuffix(b"\n")
            if rules is None:
                rules = LineRules(num_classes, first_line_is_labelled(line), allow_outside)
            try:
                yield parse_line(line, rules)
            except ValueError as error:
                raise line_error(path, number, error) from None
    if rules is None:
        raise empty_error(path)


def read_classes(path):
    """The class names (synset ids) of `meta/synsets.txt`: the first word of each line, whose number is the class.

    DataError with file and line for blank lines, duplicates, and names that are no folder name.
    """
    line_of = {}
    with open_regular(path) as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE + 2), b""), 1):
            try:
                name = _class_name(line.removesuffix(b"\n"))
                if name in line_of:
                    raise ValueError(f"class {printable(name)} already stands in line {line_of[name]}")
            except ValueError as error:
                raise line_error(path, number, error) from None
            line_of[name] = number
    if not line_of:
        raise empty_error(path)
    return list(line_of)


def classes_hash(classes):
    """SHA-256 of class names in their order: two lists with the same one give every label the same meaning."""
    return hashlib.sha256("\n".join(classes).encode("utf-8", "surrogateescape")).hexdigest()


def _class_name(line):
    if len(line) > MAX_LINE:
        raise ValueError(f"the line has more than {MAX_LINE} bytes; is this a list of classes?")
    line = plain_line(line, labelled=False)
    for byte in (b"\0", b"\r"):
        if byte in line:
            raise ValueError(f"the line holds {_FORBIDDEN[byte]}")
    if not line.strip():
        raise ValueError("blank line; the line number is the class, so it cannot be skipped: remove it")
    name = line.split()[0]
    if b"/" in name or name in (b".", b".."):
        raise ValueError(f"class name {_show(name)} is not a folder name")
    return decode_name(name)


def open_regular(path):
    """Open a file of lines for reading bytes; DataError if it is missing or not a regular file (a FIFO would hang)."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise DataError(f"{path}: not a regular file")
        return open(path, "rb")
    except FileNotFoundError:
        raise DataError(_absent(path)) from None


def _absent(path):
    """What to say of a list that is not there; most are DATA/meta/NAME.txt."""
    meta = os.path.dirname(path)
    if os.path.basename(meta) == "meta" and not os.path.isdir(meta):
        if not os.path.isdir(os.path.dirname(meta) or "."):
            return f"{os.path.dirname(meta)}: no such folder"
        plain = f"; a plain folder of class folders is trained by {DOOR} train FOLDER"
    else:
        plain = ""
    return f"{path}: no such file; {DOOR} prepare writes the lists into DATA/meta{plain}"


def line_error(path, number, reason):
    """The DataError for line `number` (from 1) of `path`."""
    return DataError(f"{printable(path)}:{number}: {reason}")


def empty_error(path):
    """The DataError for a list without lines."""
    return DataError(f"{printable(path)}: the list is empty; did the step that writes it fail?")
