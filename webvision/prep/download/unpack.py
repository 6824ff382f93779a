"""From a tar to files: regular files only, below one folder only, each whole or absent, nothing overwritten.

An archive counts as unpacked when its done-mark exists, and that is written after everything else is on the disk.
A killed run leaves whole members; the next one compares them and writes the rest.
"""

import gzip
import json
import os
import re
import stat
import zlib
from typing import NamedTuple

from webvision.data.archives import tarstream
from webvision.data.archives.tarstream import checked_name
from webvision.errors import DataError, printable
from webvision.files import write_json
from webvision.prep.arrange import placing

PIECE = 1 << 20
MAX_PADDING_PIECES = 64  # tar pads to 10 kB, a careless writer to more
STATE = "archives"  # folder in the target: archives on their way, checksums, done-marks, reports
MAX_NAMED = 100  # members left out that a report names

# Names that a program acts on for lying in the current folder, or anywhere in a home: hidden ones (.git/config and
# .hg/hgrc name commands, shells have their .bashrc), make's, git's bare repositories, and whatever Python imports. No
# picture or list is called so.
_ACTED_ON = re.compile(
    rb"(?:^|/)(?:\.[^/]*(?:/|$)|(?:gnu)?makefile$|head$|[^/]*\.(?:py[a-z0-9]*|pth|egg-link|so(?:\.[0-9.]*)?)$)",
    re.IGNORECASE,
)


class Content(NamedTuple):
    """What a look at every header of an archive found."""

    members: int  # regular files
    bytes: int  # theirs together


def open_archive(archive, path):
    """The bytes of the tar in `path`, unzipped if its name says .tar.gz."""
    return gzip.open(path, "rb") if archive.packed == "tar.gz" else open(path, "rb")


def inspect(archive, path, *, skip_odd=False):
    """Walk all headers to the end mark. TarError if damaged, DataError if a member may not be unpacked here."""
    count = size = 0
    with open_archive(archive, path) as stream, _gzip_errors(path):
        for name, member, _reader in _members(stream, archive, seekable=archive.packed == "tar"):
            if member.odd and not skip_odd:
                raise DataError(
                    f"{path}: member '{printable(os.fsdecode(name))}' is {member.odd}; only regular files and folders "
                    "are "
                    "unpacked. If you trust the rest, --skip-odd-members leaves such members out"
                )
            if not member.odd and not member.folder and not is_acted_on(name):
                count, size = count + 1, size + member.size
        _read_padding(stream, path)
    return Content(count, size)


def _read_padding(stream, path):
    """What follows the end mark, to the end: gzip's checksum stands there."""
    for _ in range(MAX_PADDING_PIECES):
        if not stream.read(PIECE):
            return
    raise tarstream.TarError(f"{path}: goes on for over {MAX_PADDING_PIECES * PIECE:,} bytes after its end mark")


def unpack(archive, path, folder, *, state, progress=lambda count: None, stop=lambda: None):
    """Unpack `path` below `folder`; returns the names of members left out, the first MAX_NAMED of them.

    `state` is the folder for the scratch file and the marker of an unfinished unpacking. `stop()` may raise.
    """
    unfinished = os.path.join(state, archive.name + ".unpacking.json")
    torn_allowed = _begun_before_a_reboot(unfinished)
    write_json(unfinished, {"boot": boot_id()})
    writer = _Writer(folder, state, os.path.join(state, archive.name + ".member"), torn_allowed)
    left_out = []
    with open_archive(archive, path) as stream, _gzip_errors(path):
        for name, member, reader in _members(stream, archive):
            stop()
            if member.odd or is_acted_on(name):
                left_out += [os.fsdecode(name)] * (len(left_out) < MAX_NAMED)
            elif not member.folder:
                writer.write(name, member.size, reader)
                progress(1)
    placing.sync_file_system(folder)
    return left_out


def is_acted_on(name):
    """Whether a member's name (bytes) means something to a program that is run in its folder."""
    return _ACTED_ON.search(name) is not None


def finish(archive, state):
    """Remove the marker of an unfinished unpacking: the done-mark is on the disk."""
    path = os.path.join(state, archive.name + ".unpacking.json")
    if os.path.exists(path):
        os.unlink(path)


def boot_id():
    """Changes with every start of the machine: files written before may have lost their last bytes since."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def _begun_before_a_reboot(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file).get("boot") != boot_id()
    except FileNotFoundError:
        return False
    except (ValueError, AttributeError):
        return True


class _gzip_errors:
    """Turns what gzip raises for damage into a TarError."""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, (EOFError, zlib.error, gzip.BadGzipFile)):
            raise tarstream.TarError(f"{self.path}: damaged gzip: {error}") from None
        if isinstance(error, tarstream.TarError) and not str(error).startswith(self.path):
            raise tarstream.TarError(f"{self.path}: {error}", error.members) from None


def _members(stream, archive, *, seekable=False, prefix=b""):
    """Yield (checked name, member, reader), walking into inner tars where the archive is marked nested."""
    into = os.fsencode(archive.into)
    reader = tarstream.Reader(stream, seekable=seekable)
    for member in reader:
        if archive.nested and not prefix and member.name.endswith(b".tar") and not (member.odd or member.folder):
            stem = member.name[: -len(b".tar")]
            yield from _members(reader, archive, prefix=checked_name(stem) + b"/")
            while reader.read(PIECE):
                pass  # an inner tar's padding after its end mark
        else:
            name = checked_name(prefix + member.name)
            if name or not member.folder:
                name = into + b"/" + name if into else name
                _check_not_ours(name)
                yield name, member, reader


def _check_not_ours(name):
    """DataError for a name in the folder where this program keeps what it knows: a member there could say that another
    archive is unpacked, or what its checksum is."""
    if name.partition(b"/")[0].lower() == STATE.encode():  # some file systems know no upper and lower case
        raise DataError(
            f"member '{printable(os.fsdecode(name[:200]))}' would lie in the folder '{STATE}' of the target, where the "
            "downloads' own marks are; this archive is refused whole"
        )


class _Writer:
    """Writes members below `folder` through one scratch file: under its own name a file is never half."""

    def __init__(self, folder, state, scratch, torn_allowed):
        self.folder, self.scratch = os.fsencode(folder), os.fsencode(scratch)
        self.state = os.lstat(state)
        self.torn_allowed = torn_allowed  # files from before a reboot may be torn, and are then written again
        self.made = {b""}

    def write(self, name, size, reader):
        parent, _, _ = name.rpartition(b"/")
        self._make_folder(parent)
        target = os.path.join(self.folder, name)
        try:
            there = os.lstat(target)
        except FileNotFoundError:
            there = None
        fd = os.open(self.scratch, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
        try:
            while piece := reader.read(PIECE):
                while piece:
                    piece = piece[os.write(fd, piece) :]
            if there is None:
                placing.move(self.scratch, target)
            else:
                self._settle(fd, target, there, size)
        finally:
            os.close(fd)
        if there is not None and os.path.exists(self.scratch):
            os.unlink(self.scratch)

    def _settle(self, fd, target, there, size):
        """The name is taken: the same bytes are fine (an earlier run, a repeated member), others are not."""
        if stat.S_ISREG(there.st_mode) and there.st_size == size and _same(fd, target):
            return
        if self.torn_allowed and stat.S_ISREG(there.st_mode) and there.st_size <= size:
            os.replace(self.scratch, target)
            return
        raise DataError(
            f"{printable(os.fsdecode(target))}: lies there with other content than the archive's member of that name; "
            "neither was touched. Two members of one name, or another set's folder?"
        )

    def _make_folder(self, name):
        if name in self.made:
            return
        self._make_folder(name.rpartition(b"/")[0])
        path = os.path.join(self.folder, name)
        try:
            os.mkdir(path)
        except FileExistsError:
            there = os.lstat(path)
            if os.path.samestat(there, self.state):  # under a name that only this file system takes for the same
                _check_not_ours(STATE.encode())
            if not stat.S_ISDIR(there.st_mode):  # also a link to a folder: it may lead anywhere
                raise DataError(
                    f"{printable(os.fsdecode(path))}: is not a folder, but the archive has files below it; move it "
                    "away (a link to another disk won't do: choose the target folder there)"
                ) from None
        self.made.add(name)


def _same(fd, path):
    os.lseek(fd, 0, os.SEEK_SET)
    with open(path, "rb", buffering=0) as file:
        while (piece := os.read(fd, PIECE)) == file.read(PIECE):
            if not piece:
                return True
    return False
