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
        self.step = step                # after which it was noticed


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


_RESOURCE_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE}


def printable(text):
    """`text` with control characters and undecodable bytes escaped: file names come from strangers."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogateescape").decode("ascii", "replace")
                   if not 0xDC80 <= ord(c) <= 0xDCFF else f"\\x{ord(c) - 0xDC00:02x}" for c in str(text))


def run_command(main):
    """Run `main()` as a command: its return value, or the error it ends with, becomes the exit status."""
    open_standard_streams()      # for commands that any Python can run, and so skip `use_project_environment`
    try:
        code = main() or 0
        sys.stdout.flush()
    except WebvisionError as error:
        code = _report(error, error.exit_code)
    except KeyboardInterrupt:
        code = _report("interrupted", 130)
    except BrokenPipeError:      # the reader of our output left: `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)   # or the interpreter complains while it closes stdout
        code = 141
    except MemoryError:
        code = _report("out of memory; a smaller --batch or fewer --workers needs less", ResourceError.exit_code)
    except OSError as error:
        if error.errno not in _RESOURCE_ERRNOS:
            raise
        code = _report(error, ResourceError.exit_code)
    sys.exit(code)


def _report(message, code):
    program = os.path.basename(sys.argv[0]) or "webvision"
    lines = "\n".join(printable(line) for line in str(message).split("\n"))
    with contextlib.suppress(OSError):       # nobody reads it, or its disk is full: the exit code still tells
        print(f"{program}: error: {lines}", file=sys.stderr)
    return code
