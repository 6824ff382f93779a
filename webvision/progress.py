"""Progress on stderr: one line that rewrites itself on a terminal, a line now and then in a log."""

import sys
import time


class Progress:
    """Counts towards a total and says how far, how fast and how long still.

    with Progress("arranging", total, "files") as progress: progress.update(done)
    """

    def __init__(self, what, total, unit, *, stream=None):
        self.what, self.total, self.unit = what, total, unit
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()
        self.period = 0.2 if self.live else 30.0  # seconds between lines; a log keeps every line it gets
        self.start = self.last = time.monotonic()
        self.first_done = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.live:
            self.stream.write("\r\033[K")
            self.stream.flush()

    def update(self, done, note=""):
        """`done` of the total, called as often as convenient."""
        now = time.monotonic()
        if self.first_done is None:
            self.first_done = done  # what an earlier run did is no part of this run's rate
        if now - self.last < self.period:
            return
        self.last = now
        rate = (done - self.first_done) / (now - self.start)
        line = f"{self.what}: {amount(done, self.unit)}"
        if self.total:
            line += f" of {amount(self.total, self.unit)} ({100 * done / self.total:.1f} %)"
        line += f", {amount(rate, self.unit)}/s"
        if self.total and rate > 0:
            line += f", {duration((self.total - done) / rate)} left"
        line += f"; {note}" if note else ""
        self.stream.write(f"\r{line}\033[K" if self.live else f"{line}\n")
        self.stream.flush()


def amount(number, unit):
    """1234567 bytes -> '1.2 MB'; any other unit -> '1,234,567 files'."""
    if unit != "bytes":
        return f"{number:,.0f} {unit}"
    for prefix in ("", "k", "M", "G", "T"):
        if abs(number) < 999.5 or prefix == "T":
            return f"{number:.{0 if not prefix else 1}f} {prefix}B"
        number /= 1000


def duration(seconds):
    """93.4 -> '1 min 33 s'; 7300 -> '2 h 2 min'."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"
