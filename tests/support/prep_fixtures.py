"""Small raw sets, pictures of a folder, and processes that die at a chosen line: for the tests and soaks of prep."""

import hashlib
import os
import signal
import sys
import threading

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TRACED = os.path.join(ROOT, "webvision", "prep"), os.path.join(ROOT, "webvision", "files.py")

SYNSETS = [f"n{i:08d}" for i in range(5)]
ROWS = [
    (f"{source}/q{query:05d}/{source[0]}{query}{n:03d}.jpg", (query * 3) % 5)
    for source in ("google", "flickr")
    for query in (1, 2, 3)
    for n in range(4)
]


def write_file(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def make_raw(root, *, rows=ROWS, synsets=SYNSETS, val=3, test=2, lists_at="info"):
    """A WebVision-shaped folder; every picture's bytes are its own listed name."""
    write_file(root / "info/synsets.txt", "".join(f"{wnid} some words\n" for wnid in synsets))
    write_file(root / "info/train_filelist_all.txt", "".join(f"{name} {label}\n" for name, label in rows))
    for name, _ in rows:
        write_file(root / name, name)
    for split, count in (("val", val), ("test", test)):
        names = [f"{split}{i + 1:06d}.jpg" for i in range(count)]
        for name in names:
            write_file(root / f"{split}_images_resized" / name, name)
        if names:
            label = " 1" if split == "val" else ""
            write_file(root / lists_at / f"{split}_filelist.txt", "".join(f"{name}{label}\n" for name in names))
    return root


def picture_of(folder):
    """{relative path: content hash, or kind}: equal pictures, equal folders. The lock's text (a pid) is left out."""
    found = {}
    for parent, folders, names in os.walk(folder):
        for name in folders:
            found[os.path.relpath(os.path.join(parent, name), folder) + "/"] = "folder"
        for name in names:
            path = os.path.join(parent, name)
            if name != ".lock":
                with open(path, "rb") as file:
                    found[os.path.relpath(path, folder)] = hashlib.sha256(file.read()).hexdigest()
    return found


def count_lines(work):
    """How many lines of prep's code `work()` runs in this thread: where it could be killed."""
    count = 0

    def on_line(frame, event, argument):
        nonlocal count
        count += event == "line"
        return on_line

    _trace(work, on_line)
    return count


def run_and_die(work, at):
    """Run `work()` in a child that kills itself (SIGKILL) before its line number `at`; True if it came that far."""
    pid = os.fork()
    if pid == 0:
        count = 0

        def on_line(frame, event, argument):
            nonlocal count
            count += event == "line"
            if count >= at:
                os.kill(os.getpid(), signal.SIGKILL)
            return on_line

        try:
            _silence()
            _trace(work, on_line)
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise AssertionError(f"the run ended by itself with {os.WEXITSTATUS(status)}")
    return os.WIFSIGNALED(status)


def _silence():
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _trace(work, on_line):
    def on_call(frame, event, argument):
        return on_line if frame.f_code.co_filename.startswith(TRACED) else None

    threading.settrace(on_call)  # for the threads that `work` starts
    sys.settrace(on_call)
    try:
        work()
    finally:
        sys.settrace(None)
        threading.settrace(None)
