"""Ending a run on request: a signal is remembered, and heeded where nothing is lost."""

import os
import signal
import threading

from webvision.errors import Interrupted

from tensorpack.utils import logger

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


class StopRequest:
    """In its `with` block STOP_SIGNALS only leave a note; `heed` acts on it. A second SIGINT ends the process at once.

    A signal that was ignored before (nohup's SIGHUP) stays ignored.
    """

    def __init__(self, exit_code=None):
        """`exit_code`: of a run that ends this way; None: 128 + the signal's number."""
        self._exit_code = exit_code
        self.number = None

    def __enter__(self):
        reader, self._writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._writer, False)
        self._wakeup_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        threading.Thread(target=_exit_on_second_interrupt, args=(reader,), name="second-interrupt", daemon=True).start()
        self._previous = {
            number: signal.signal(number, self._remember)
            for number in STOP_SIGNALS
            if signal.getsignal(number) != signal.SIG_IGN
        }
        return self

    def __exit__(self, *_):
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._writer)

    def _remember(self, number, _frame):
        if self.number is None:
            logger.warning(
                "%s: ending as soon as the state is safe (Ctrl-C twice: at once)", signal.Signals(number).name
            )
        self.number = number

    def heed(self, where):
        """Interrupted if a signal came; `where` completes the sentence about what is saved."""
        if self.number is not None:
            raise Interrupted(
                f"ended by {signal.Signals(self.number).name} {where}; the same command continues",
                self._exit_code if self._exit_code is not None else 128 + self.number,
            )


def _exit_on_second_interrupt(reader):
    # Not in the signal's own handler: that runs between two lines of Python, and a step that hangs never reaches the
    # next.
    with os.fdopen(reader, "rb", buffering=0) as numbers:
        interrupts = 0
        while number := numbers.read(1):
            interrupts += number[0] == signal.SIGINT
            if interrupts == 2:
                os._exit(128 + signal.SIGINT)  # what is saved stays whole, and loader workers die with this process
