"""Files that are whole or absent, folders that one process at a time works in, and hashes."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import socket
import stat
import tempfile

from webvision.errors import DataError, LockedError, ResourceError, printable

MAX_JSON = 1 << 23  # bytes that read_json reads, each of which may cost 22 of memory; 5,000 classes need 0.4 MB


@contextlib.contextmanager
def atomic_write(path, mode="w"):
    """Open a temporary file beside `path` that replaces it when the block ends well, and vanishes when it does not.

    Text is UTF-8 with LF; undecodable bytes of file names survive (surrogateescape). The data is on the disk before
    the name points at it, so that neither a kill nor a power cut leaves half a file.
    """
    path = os.fspath(path)
    directory = os.path.dirname(path) or "."
    text = {} if "b" in mode else {"encoding": "utf-8", "errors": "surrogateescape", "newline": "\n"}
    with _naming(path):
        fd, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", suffix=".tmp", dir=directory)
    try:
        # Of the errors within, these surely mean this file; others may come from files that are read. What a failed
        # write leaves in the buffer fails once more when the file is closed, and then names nothing.
        with _naming(path, errno.ENOSPC, errno.EDQUOT, errno.EFBIG), os.fdopen(fd, mode, **text) as file:
            _lock_now(file)  # says that its writer lives
            yield file
            with _naming(path):
                file.flush()
                os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes it private; now it is like any other file
        with _naming(path):
            os.replace(temporary, path)
        sync_directory(directory)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


@contextlib.contextmanager
def _naming(path, *only):
    """An OSError within the block names `path`: the temporary file's name tells nobody anything, and writing names
    none.

    `only`: the error numbers that are sure to mean this file, and then only if the error names no other.
    """
    try:
        yield
    except OSError as error:
        if only and (error.filename is not None or error.errno not in only):
            raise
        raise OSError(error.errno, error.strerror, path) from None


def remove_leftovers(directory, of=None):
    """Remove the temporary files of atomic writes into `directory` that were killed, or only those of the file name
    `of`.

    Only for who knows that nobody is writing there now, by a lock.
    """
    wanted = re.escape(of) if of else ".+"
    for name in os.listdir(directory):
        if re.fullmatch(rf"\.{wanted}\.[a-z0-9_]{{8}}\.tmp", name, re.DOTALL):
            os.unlink(os.path.join(directory, name))


def remove_abandoned(path):
    """Remove the temporary files of atomic writes of `path` whose writers are no more; those being written stay."""
    directory, name = os.path.split(os.fspath(path))
    directory = directory or "."
    for other in os.listdir(directory):
        if re.fullmatch(rf"\.{re.escape(name)}\.[a-z0-9_]{{8}}\.tmp", other, re.DOTALL):
            with contextlib.suppress(FileNotFoundError), open(os.path.join(directory, other), "rb") as file:
                if _lock_now(file):
                    os.unlink(os.path.join(directory, other))


def _lock_now(file):
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held, or a file system without locks
        return False
    return True


def _umask():
    with open("/proc/self/status", encoding="ascii") as status:  # os.umask() can only be read by changing it
        return next(int(line.split()[1], 8) for line in status if line.startswith("Umask:"))


def sync_directory(path):
    """Make renames and new names in `path` survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_json(path, value):
    """`value` as indented JSON, atomically, keys in their order."""
    with atomic_write(path) as file:
        json.dump(value, file, indent=2, ensure_ascii=False)
        file.write("\n")


def read_json(path):
    """What `write_json` wrote, bytes of file names that are no UTF-8 included; ValueError if it is damaged, too large,
    or no file."""
    data = _read_whole(path, MAX_JSON)
    try:
        return json.loads(data.decode("utf-8", "surrogateescape"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_untrusted_json(path, *, max_bytes=MAX_JSON):
    """The strict JSON in a stranger's file, with or without a byte order mark; DataError if there is none."""
    try:
        return parse_json(_read_whole(path, max_bytes).decode("utf-8-sig"))
    except FileNotFoundError:
        raise DataError(f"{printable(path)}: no such file") from None
    except ValueError as error:
        raise DataError(f"{printable(path)}: not valid JSON: {error}") from None


def parse_json(text):
    """`text` as JSON; ValueError for NaN, Infinity, numbers of thousands of digits and nesting beyond reason as
    well."""
    try:
        return _decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _forbid_constant(text):
    raise ValueError(f"{text} is not a JSON number")


_decode = json.JSONDecoder(parse_constant=_forbid_constant).decode


def _read_whole(path, max_bytes):
    """The bytes of a regular file; ValueError if it is too large, or none: a pipe would be waited for."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("a folder, pipe or device instead of a file")
        if status.st_size > max_bytes:
            raise ValueError(f"{status.st_size} bytes, over {max_bytes}")
        with open(fd, "rb", closefd=False) as file:
            return file.read(max_bytes)
    finally:
        os.close(fd)


def file_sha256(path):
    """The SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class NotOwnError(ResourceError):
    """A file of ours is a link to another, or no file."""


def open_own(path, flags, *, permissions=None):
    """A descriptor of the regular file `path`, made if need be; NotOwnError if something else has its name.

    Never through a link, symbolic or hard: in a folder that somebody else has prepared, we would write into, or empty,
    a file of their choice. `permissions`: what the file should allow, whatever the umask, where it is ours to say.
    """
    mode = 0o666 if permissions is None else permissions
    try:
        fd = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise _not_own(path, is_link=error.errno == errno.ELOOP) from None
        raise
    state = os.fstat(fd)
    if not stat.S_ISREG(state.st_mode) or state.st_nlink > 1:
        os.close(fd)
        raise _not_own(path, is_link=stat.S_ISREG(state.st_mode))
    if permissions is not None and state.st_uid == os.geteuid() and stat.S_IMODE(state.st_mode) != permissions:
        with contextlib.suppress(OSError):  # a file system without permissions
            os.fchmod(fd, permissions)
    return fd


def _not_own(path, *, is_link):
    what = "a link to another file" if is_link else "no regular file"
    return NotOwnError(f"{path}: is {what}, and will not be written to; remove it if you trust this folder")


def append_own(path, **text):
    """`path` opened for appending text as `open_own` does it."""
    return open(open_own(path, os.O_WRONLY | os.O_APPEND), "a", **text)


@contextlib.contextmanager
def directory_lock(directory, what="run"):
    """Hold `directory` for this process; LockedError at once if another process holds it.

    The kernel drops the lock when its holder dies, however it dies, so a stale lock cannot exist on one machine;
    the text inside names the holder for the message. Whoever can open the file can hold it: they are those who may
    write into the folder.
    """
    path = os.path.join(directory, ".lock")
    writers = stat.S_IMODE(os.stat(directory).st_mode) & 0o222
    try:
        fd = open_own(path, os.O_RDWR | os.O_APPEND, permissions=writers | writers << 1)
    except NotOwnError as error:
        raise LockedError(str(error)) from None
    with open(fd, "r+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise LockedError(
                f"{directory}: another {what} is at work here ({holder}); wait for it to end, or choose another folder"
            ) from None
        file.truncate(0)
        file.write(f"pid {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield


def let_go_of_locks():
    """In a forked child: close what it inherited of its parent's `directory_lock`s, which end with the parent alone."""
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.path.basename(os.readlink(f"/proc/self/fd/{number}")) == ".lock":
                os.close(int(number))
