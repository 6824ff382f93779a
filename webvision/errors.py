"""The errors a user can meet, and their exit codes.

An error of these classes is printed as one line, without a traceback: it says what was found, where, and what to
do next. Anything else that escapes is a bug of ours and keeps its traceback.
"""

import contextlib
import errno
import os
import sys

from webvision.environment import open_standard_streams


class WebvisionError(Exception):
    """Base: the message is for the person at the keyboard."""

    exit_code = 3


class UsageError(WebvisionError):
    """The command line contradicts itself or this machine."""

    exit_code = 2


class DataError(WebvisionError):
    """A list, an image, a prediction file or another input is wrong."""

    exit_code = 3


class IncompleteError(WebvisionError):
    """The work ended, but more was bad or missing than was allowed."""

    exit_code = 4


class CheckpointError(WebvisionError):
    """A checkpoint is damaged, or belongs to another network."""

    exit_code = 5


class DivergedError(WebvisionError):
    """The loss or the weights are no longer finite."""

    exit_code = 6

    def __init__(self, message, *, step=None):
        super().__init__(message)
        self.step = step  # after which it was noticed


class ResourceError(WebvisionError):
    """Disk full, no permission, out of memory."""

    exit_code = 7


class LockedError(WebvisionError):
    """Another process works in this folder."""

    exit_code = 8


class NetworkError(WebvisionError):
    """The network failed; the same command again continues."""

    exit_code = 9


class HangError(WebvisionError):
    """Something made no progress within its time limit."""

    exit_code = 10


class Interrupted(WebvisionError):
    """A signal ended the run after its state was saved."""

    def __init__(self, message, exit_code):
        super().__init__(message)
        self.exit_code = exit_code


LESS_MEMORY = "use fewer --workers or --jobs, or a smaller --batch"
_NO_ACCESS = "have it permitted, or choose another folder"
_MORE_ROOM = "free some space and run the same command again"
_BAD_DISK = "the disk, or the way to it, is failing; the system's log (dmesg) tells more"
_NO_SERVER = "is the file server up? Once it answers, run the same command again"
_RESOURCE_ADVICE = {
    errno.ENOSPC: _MORE_ROOM,
    errno.EDQUOT: _MORE_ROOM,
    errno.EFBIG: "the file system, or `ulimit -f`, allows no larger file",
    errno.EROFS: _NO_ACCESS,
    errno.EACCES: _NO_ACCESS,
    errno.EPERM: _NO_ACCESS,
    errno.EMFILE: "raise `ulimit -n`, or use fewer --workers",
    errno.ENFILE: "the machine as a whole has too many files open",
    errno.ENOMEM: f"{LESS_MEMORY}, or raise `ulimit -v`",
    errno.EAGAIN: "no more processes may be started: raise `ulimit -u`, or use fewer",  # fork; our locks handle theirs
    errno.EIO: _BAD_DISK,
    errno.ENXIO: _BAD_DISK,
    errno.ENODEV: _BAD_DISK,
    errno.ESTALE: _NO_SERVER,
    errno.ETIMEDOUT: _NO_SERVER,
    errno.ENOTCONN: _NO_SERVER,
}
_PATH_ADVICE = {  # a path leads nowhere: one that was given, or one that a data set should have
    errno.ENOENT: "no such file or folder",
    errno.ENOTDIR: "a file, where a folder is needed",
    errno.EISDIR: "a folder, where a file is needed",
    errno.EEXIST: "exists already; choose another name, or move it away",
    errno.ENAMETOOLONG: "too long a name for the file system; choose a shorter one",
    errno.ELOOP: "a symbolic link that leads back to itself",
}


def advice(code, otherwise=""):
    """What to do about an errno, as the end of a message."""
    return _RESOURCE_ADVICE.get(code, otherwise)


def printable(text):
    """`text` with control characters and undecodable bytes escaped: file names come from strangers."""
    return "".join(
        c
        if c.isprintable()
        else c.encode("unicode_escape", "surrogateescape").decode("ascii", "replace")
        if not 0xDC80 <= ord(c) <= 0xDCFF
        else f"\\x{ord(c) - 0xDC00:02x}"
        for c in str(text)
    )


def short_reason(error):
    """An exception in one line; of TensorFlow's, the line that says what happened and not where in the graph."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    before_node = next((i for i, line in enumerate(lines) if line.startswith("[[{{node")), 1) - 1
    return printable(lines[max(0, before_node)]) if lines else type(error).__name__


def run_command(main):
    """Run `main()` as a command: its return value, or the error it ends with, becomes the exit status."""
    open_standard_streams()  # for commands that any Python can run, and so skip `use_project_environment`
    try:
        code = main() or 0
        sys.stdout.flush()
    except WebvisionError as error:
        code = _report(error, error.exit_code)
    except KeyboardInterrupt:
        code = _report("interrupted", 130)
    except BrokenPipeError:  # the reader of our output left: `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or the interpreter complains while it closes stdout
        code = 141
    except (OSError, MemoryError, RuntimeError, ImportError) as error:
        found = _machines_fault(error)
        if not found:
            raise
        code = _report(*found)
    sys.exit(code)


def _machines_fault(error):
    """(message, exit code) if the machine, or a path that it was given, is to blame for an exception; None if we
    are."""
    resource = ResourceError.exit_code
    if isinstance(error, MemoryError) or "failed to map segment" in str(error):  # the latter: of a library, `ulimit -v`
        return f"out of memory; {LESS_MEMORY}", resource
    if "can't start new thread" in str(error):
        return "no more threads may be started; raise `ulimit -u` and `ulimit -v`, or use fewer --workers", resource
    if not isinstance(error, OSError):
        return None
    paths = [os.fsdecode(path) for path in (error.filename, error.filename2) if isinstance(path, (str, bytes))]
    if error.errno in _RESOURCE_ADVICE:
        where = " -> ".join(map(printable, paths)) + ": " if paths else ""
        return f"{where}{error.strerror}; {_RESOURCE_ADVICE[error.errno]}", resource
    if error.errno in _PATH_ADVICE and paths:
        path = _culprit(paths[-1])
        shown = path if len(path) <= 200 else f"{path[:90]}...{path[-90:]}"
        return f"{printable(shown)}: {_PATH_ADVICE[error.errno]}", UsageError.exit_code if _is_given(
            path
        ) else DataError.exit_code
    return None


def _culprit(path):
    """The first part of `path` that is missing or no folder, or all of it."""
    while (parent := os.path.dirname(path)) not in ("", path) and not os.path.isdir(parent):
        path = parent
    return path


def _is_given(path):
    """True if an argument of the command is `path`, or lies below it."""
    values = [
        argument.partition("=")[2] if argument.startswith("--") and "=" in argument else argument
        for argument in sys.argv[1:]
    ]
    return any(f"{os.path.abspath(value)}/".startswith(f"{os.path.abspath(path)}/") for value in values if value)


def _report(message, code):
    program = os.path.basename(sys.argv[0]) or "webvision"
    lines = "\n".join(printable(line) for line in str(message).split("\n"))
    with contextlib.suppress(OSError):  # nobody reads it, or its disk is full: the exit code still tells
        print(f"{program}: error: {lines}", file=sys.stderr)
    return code
