"""The run's log, in its folder and on the terminal; neither a full disk nor a closed terminal ends a training."""

import contextlib
import logging
import os
import sys

from webvision.files import append_own

_LOGGER = logging.getLogger("tensorpack")


@contextlib.contextmanager
def log_to(folder):
    """Within the block, append the log to log.log in `folder`, without tensorpack's own build-step lines here and
    there.

    Standard output and error go on if nobody reads them any more: `| head`, a terminal that was closed.
    """
    file = _LogFile(os.path.join(folder, "log.log"), encoding="utf-8", errors="backslashreplace")
    file.setFormatter(logging.Formatter("[%(asctime)s] %(levelname)s %(message)s"))
    console = [handler for handler in _LOGGER.handlers if type(handler) is logging.StreamHandler]
    kept = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_Unbreakable(stream) for stream in kept)
    streams = [handler.setStream(_Unbreakable(handler.stream)) for handler in console]
    _LOGGER.addFilter(_not_a_build_step)
    _LOGGER.addHandler(file)
    try:
        yield
    finally:
        _LOGGER.removeHandler(file)
        _LOGGER.removeFilter(_not_a_build_step)
        with contextlib.suppress(OSError):
            file.close()
        for handler, stream in zip(console, streams):
            handler.setStream(stream)
        sys.stdout, sys.stderr = kept


class _LogFile(logging.FileHandler):
    _failed = False

    def _open(self):
        return append_own(self.baseFilename, encoding=self.encoding, errors=self.errors)

    def handleError(self, record):
        if not self._failed:
            self._failed = True  # before the warning, which comes here too
            _LOGGER.warning(
                "%s cannot be written (%s); the run goes on, its log is on the terminal only",
                self.baseFilename,
                sys.exc_info()[1],
            )


class _Unbreakable:
    """A text stream; what it writes is lost, without an error, once nobody can take it."""

    def __init__(self, stream):
        self._stream = stream

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def write(self, text):
        with self._into_nowhere():
            return self._stream.write(text)
        return len(text)

    def flush(self):
        with self._into_nowhere():
            self._stream.flush()

    @contextlib.contextmanager
    def _into_nowhere(self):
        try:
            yield
        except (OSError, ValueError):  # ValueError: it was closed by this process itself
            with contextlib.suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)


def _not_a_build_step(record):
    return record.levelno > logging.INFO or f"{os.sep}site-packages{os.sep}tensorpack{os.sep}" not in record.pathname
