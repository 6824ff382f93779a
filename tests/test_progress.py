"""Progress says how far, how fast and how long still: once a line on a terminal, now and then in a log."""

import io

from webvision import progress
from webvision.progress import Progress, amount, duration


class Terminal(io.StringIO):
    def isatty(self):
        return True


def clock(monkeypatch, *moments):
    times = iter(moments)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))


def test_a_log_gets_few_whole_lines(monkeypatch):
    clock(monkeypatch, 0, 1, 10, 31)
    stream = io.StringIO()
    with Progress("arranging", 1000, "files", stream=stream) as shown:
        for done in (0, 100, 500):
            shown.update(done)
    assert stream.getvalue() == "arranging: 500 files of 1,000 files (50.0 %), 16 files/s, 31 s left\n"


def test_a_terminal_line_rewrites_itself_and_goes_away(monkeypatch):
    clock(monkeypatch, 0, 1, 2)
    stream = Terminal()
    with Progress("downloading", 4_000_000, "bytes", stream=stream) as shown:
        shown.update(1_000_000)  # what an earlier run fetched is no part of this one's rate
        shown.update(2_000_000, "7 files unpacked")
    assert stream.getvalue().endswith(
        "\rdownloading: 2.0 MB of 4.0 MB (50.0 %), 500.0 kB/s, 4 s left; 7 files unpacked\033[K\r\033[K"
    )


def test_without_a_total_there_is_no_promise(monkeypatch):
    clock(monkeypatch, 0, 1, 40)
    stream = io.StringIO()
    shown = Progress("downloading", None, "bytes", stream=stream)
    shown.update(0)
    shown.update(80)
    assert stream.getvalue() == "downloading: 80 B, 2 B/s\n"


def test_amounts_and_durations():
    assert [amount(n, "bytes") for n in (0, 999, 1000, 1_234_567, 4.2e11, 3e15)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "1.2 MB",
        "420.0 GB",
        "3000.0 TB",
    ]
    assert amount(1234567, "files") == "1,234,567 files"
    assert [duration(s) for s in (0.4, 59, 93.4, 7320)] == ["0 s", "59 s", "1 min 33 s", "2 h 2 min"]
