"""The index of a list: what training and evaluation use instead of a list of Python tuples.

A tuple (name, label) costs 185 bytes a row, copied into every forked worker by its reference counts: 3 GB each at
16 million rows. Here a row is 10 bytes in a side file that all processes map, and its name stays in the list file.

The list is the authority: of every row that is asked for, the side file's place and label are compared with the line
there, so that no side file, whoever made it, can give a picture another label or lead out of the data folder.
"""

import contextlib
import fcntl
import hashlib
import os
import tempfile
import time
from typing import NamedTuple

import numpy as np

from webvision.data.lists import index_file
from webvision.data.lists.index_file import ListFacts, StaleIndex, Tables
from webvision.data.lists.scan import scan_list
from webvision.data.lists.text import MAX_LINE, Entry, decode_name, leads_outside, open_regular, plain_line
from webvision.errors import DataError, ResourceError, printable
from webvision.files import remove_leftovers

_BUILD_WAIT_S = 60  # another process builds the same index: 16 million rows take 3 s of CPU, more on a busy disk
_ODD = (b" ", b"\t", b"\r", b"\xef")  # where a name begins or ends with one of these, `plain_line` has a look
_BLOCK_ROWS = 1 << 14  # rows read at once when a whole list is walked: half a megabyte


class WrongIndexError(DataError, IndexError):
    """A row is asked for that the list does not have, or the side file says of it what the list does not."""


class ListIndex:
    """The rows of one list, by number. Cheap to open in every process; reads names from the list file as needed."""

    def __init__(self, file, path, found):
        """`open_index` makes these."""
        tables, facts = found.tables, found.facts
        self._file = file
        self._facts = facts
        self._offsets = tables.offsets
        self._intact = found.intact
        self._text = None  # the list in memory, for `lines` only
        self.path = path
        self.class_folders = None  # folder of each class, where names leave it out (`folders.settle_structure`)
        self.num_classes = facts.num_classes
        self.hash = found.sha256
        self.labelled = tables.labels is not None
        self.labels = tables.labels
        self.rows_by_class = tables.rows_by_class
        self.class_starts = tables.class_starts
        self.counts = np.diff(tables.class_starts) if self.labelled else np.zeros(facts.num_classes, np.int64)

    def __len__(self):
        return len(self._offsets) - 1

    def name(self, row):
        """The name in `row`, relative to the split's folder."""
        return self.names([row])[0]

    def names(self, rows):
        """The names in `rows`, any integers 0..len-1 in any order."""
        rows = self._checked_rows(rows)
        starts, ends = self._offsets[rows].tolist(), self._offsets[rows + 1].tolist()
        labels = self.labels[rows].tolist() if self.labelled else [None] * len(rows)
        if len(rows) > 1 and starts[1:] == ends[:-1]:  # neighbours: one read, 5 times faster
            lines = self._lines_between(starts[0], ends[-1], len(rows))
        else:
            lines = [self._lines_between(start, end, 1)[0] for start, end in zip(starts, ends, strict=True)]
        self._check_intact()
        return [self._line_name(line, label) for line, label in zip(lines, labels, strict=True)]

    @property
    def identity(self):
        """(inode, ctime) of the list file, which tell it from any copy."""
        return self._facts.inode, self._facts.ctime_ns

    def _checked_rows(self, rows):
        rows = np.asarray(rows, np.int64)
        self._check_intact()  # zeros would be rows, too
        if rows.size and not 0 <= rows.min() <= rows.max() < len(self):
            raise WrongIndexError(f"{printable(self.path)}: row outside 0..{len(self) - 1}")
        self._check_unchanged()
        return rows

    def _lines_between(self, start, end, count):
        """The `count` lines in the list's bytes from `start` up to `end`, which must be where lines begin."""
        if not 0 <= start < end <= self._facts.size + 1 or end - start > count * (MAX_LINE + 1):
            raise self._wrong_index()
        lead = start > 0  # the byte before is the end of another line
        block = os.pread(self._file.fileno(), end - start + lead, start - lead)
        if end > self._facts.size:  # the last line may lack its newline
            block += b"\n"
        lines = block.split(b"\n")
        if len(lines) != count + 1 + lead or lines[-1] or (lead and lines[0]):
            raise self._wrong_index()
        return lines[lead:-1]

    def paths(self, rows):
        """Where the pictures in `rows` lie below the split's folder: their names, in the folder of their class if need
        be."""
        names = self.names(rows)
        if self.class_folders is None:
            return names
        folders = [self.class_folders[label] for label in self.labels[np.asarray(rows, np.int64)].tolist()]
        return [f"{folder}/{name}" for folder, name in zip(folders, names, strict=True)]

    def entry(self, row):
        """Name and label in `row`."""
        return Entry(self.name(row), int(self.labels[row]) if self.labelled else None)

    def entries(self, start=0, stop=None):
        """Yield the Entry of each row from `start` up to `stop`, reading the file in blocks: 1.2 us a row."""
        stop = len(self) if stop is None else stop
        for low in range(start, stop, _BLOCK_ROWS):
            high = min(low + _BLOCK_ROWS, stop)
            labels = self.labels[low:high].tolist() if self.labelled else [None] * (high - low)
            yield from map(Entry, self.names(range(low, high)), labels)

    def lines(self, rows):
        """The lines of `rows` as the list has them, each with its newline, as one uint8 array: 0.3 us a row."""
        rows = self._checked_rows(rows)
        if self._text is None:  # not mapped: a file that shrinks would end the process
            self._file.seek(0)
            self._text = np.fromfile(self._file, np.uint8, self._facts.size)
        starts = self._offsets[rows].astype(np.int64)
        lengths = self._offsets[rows + 1].astype(np.int64) - starts
        self._check_ends(starts, starts + lengths)
        ends = np.cumsum(lengths)
        source = np.repeat(starts - (ends - lengths), lengths) + np.arange(ends[-1] if len(ends) else 0)
        text = self._text.take(source, mode="clip")
        text[ends - 1] = ord("\n")  # the list's last line may lack its own
        if np.count_nonzero(text == ord("\n")) != len(rows):
            raise self._wrong_index()
        return text

    def _check_ends(self, starts, ends):
        """Before each start and each end is a newline, or the list's own beginning or end."""
        text, places = self._text, np.concatenate([starts[starts > 0], ends[ends <= len(self._text)]]) - 1
        within = (starts >= 0) & (starts < ends) & (ends <= len(text) + 1)
        if not within.all() or (text[places] != ord("\n")).any():
            raise self._wrong_index()

    def _line_name(self, line, label):
        name, _, stated = line.rpartition(b" ") if self.labelled else (line, b"", b"")
        if (self.labelled and not stated.isdigit()) or name[:1] in _ODD or name[-1:] in _ODD:
            line = plain_line(line, labelled=self.labelled)
            name, _, stated = line.rpartition(b" ") if self.labelled else (line, b"", b"")
        if self.labelled and not (stated.isdigit() and int(stated) == label < self.num_classes):
            raise self._wrong_index()
        if not self._facts.allow_outside and leads_outside(name):
            raise self._wrong_index()
        return decode_name(name)

    def _wrong_index(self):
        return WrongIndexError(
            f"{printable(self.path)}: its index does not fit it: was it made by another program? Delete "
            f"{printable(_beside(self.path))}, and start again"
        )

    def _check_intact(self):
        if not self._intact():
            raise DataError(f"{printable(self.path)}: its index was cut short while it was in use; start again")

    def _check_unchanged(self):
        # The open file is the one that was indexed even if the name is given to a new list; but it may be written over.
        # The ctime shows that, even where the mtime was set back.
        now = _facts(self._file, self._facts.num_classes, self._facts.allow_outside)
        if now == self._facts:
            return
        if now.size != self._facts.size or _sha256(self._file) != self.hash:
            raise DataError(
                f"{printable(self.path)}: the list was edited while it was in use; start again, and replace lists "
                "by renaming a new file over the old one"
            )
        self._facts = now  # only touched, or no longer at its name


def open_index(list_path, num_classes, *, cache_dir=None, allow_outside=False):
    """The ListIndex of a list file, from its side file or built now; DataError (file:line: reason) if the list is
    wrong.

    The side file stands beside the list, as `.<name>.index`, or in a cache folder of the user when that cannot be
    written (`cache_dir` names another). It is made again whenever the list or `num_classes` differs from what it was
    made for, and where another user or another place made it.
    """
    path = os.fspath(list_path)
    file = open_regular(path)
    places = [os.path.join(cache_dir, _cache_name(path))] if cache_dir else side_files(path)
    facts = _facts(file, num_classes, allow_outside)
    found = _read_first(places, facts, file)
    if not found:
        with _build_lock(path):
            found = _read_first(places, facts, file) or _build(file, path, facts=facts, places=places)
    return ListIndex(file, path, found)


class _Found(NamedTuple):
    facts: ListFacts
    tables: Tables
    sha256: str
    intact: object  # () -> whether the tables are still what they were


def _facts(file, num_classes, allow_outside):
    state = os.fstat(file.fileno())
    return ListFacts(state.st_size, state.st_mtime_ns, num_classes, allow_outside, state.st_ino, state.st_ctime_ns)


def _read_first(places, facts, file):
    for place in places:
        try:
            return _Found(facts, *index_file.read_tables(place, facts, rehash=lambda: _sha256(file)))
        except StaleIndex:
            continue
    return None


def _sha256(file):
    digest, position = hashlib.sha256(), 0
    while block := os.pread(file.fileno(), 1 << 20, position):
        digest.update(block)
        position += len(block)
    return digest.hexdigest()


def _build(file, path, *, facts, places):
    """Scan the list, write its side file at the first place that takes it, and map that."""
    for _ in range(3):
        facts = _facts(file, facts.num_classes, facts.allow_outside)
        with open(os.dup(file.fileno()), "rb", buffering=0) as unbuffered:
            unbuffered.seek(0)
            scan = scan_list(
                unbuffered, path, size=facts.size, num_classes=facts.num_classes, allow_outside=facts.allow_outside
            )
        if scan.size == facts.size and facts == _facts(file, facts.num_classes, facts.allow_outside):
            break
    else:
        raise DataError(f"{printable(path)}: the list keeps changing while it is read; is another program writing it?")
    grouped = (None, None) if scan.labels is None else index_file.group_by_class(scan.labels, facts.num_classes)
    tables = Tables(scan.offsets, scan.labels, *grouped)
    problems = []
    for place in places:
        try:
            remove_leftovers(*os.path.split(place))  # of killed builders: we hold the build lock
            index_file.write_tables(place, tables, facts=facts, sha256=scan.sha256)
            return _Found(facts, *index_file.read_tables(place, facts, rehash=lambda: scan.sha256))
        except (OSError, StaleIndex) as error:
            problems.append(f"{place}: {error}")
    raise ResourceError(
        f"no room for the index of {printable(path)}; set XDG_CACHE_HOME to a folder that can be written:\n"
        + "\n".join(problems)
    )


@contextlib.contextmanager
def _build_lock(path):
    """One process of this user at a time builds the index of a list; the others wait for it.

    The lock is on the user's own cache folder, which nobody else can open: whoever can open a file can hold it, and
    with it everyone who waits. Where there is no such folder, or no locks, everyone builds: the same bytes, atomically.
    """
    folder = next((os.path.dirname(place) for place in _cached(path)), None)
    fd = None
    with contextlib.suppress(OSError):
        fd = None if folder is None else os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if fd is not None:
            _wait_for(fd)
        yield
    finally:
        if fd is not None:
            os.close(fd)  # drops the lock


def _wait_for(fd):
    until = time.monotonic() + _BUILD_WAIT_S
    while time.monotonic() < until:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)
        except OSError:  # no locks here
            return None


def side_files(path, kind="index"):
    """The places for a side file of the list at `path`, best first: beside it, then the user's caches."""
    return [_beside(path, kind), *_cached(path, kind)]


def _beside(path, kind="index"):
    directory, name = os.path.split(path)
    return os.path.join(directory or ".", f".{name}.{kind}")


def _cache_name(path, kind="index"):
    return hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:32] + f".{kind}"


def _cached(path, kind="index"):
    """Yield the places for a side file outside the data set, best first."""
    for folder in cache_folders():
        yield os.path.join(folder, _cache_name(path, kind))


def cache_folders():
    """Yield the user's folders for what is cheaper kept than made again, best first; each exists and is the user's
    alone."""
    cache_home = os.environ.get("XDG_CACHE_HOME", "")
    folders = [cache_home] if os.path.isabs(cache_home) else []
    folders += [os.path.join(os.path.expanduser("~"), ".cache")]
    folders = [os.path.join(folder, "webvision") for folder in folders if os.path.isabs(folder)]
    folders.append(os.path.join(tempfile.gettempdir(), f"webvision-{os.getuid()}"))
    for folder in folders:
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            state = os.lstat(folder)
        except OSError:
            continue
        if state.st_uid == os.getuid() and not state.st_mode & 0o022:  # nobody else may plant an index there
            yield folder
