"""Workers that die, stop, hang or are orphaned; the memory they share. W1, W3, W4, I6, Z3."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.support.data_set import ROOT
from tests.support.loader_fixtures import make_tree, parts, take
from webvision.data.loader import pool as pool_module
from webvision.data.loader import spawn
from webvision.data.loader.batches import EvalBatches, TrainBatches
from webvision.data.loader.ring import Ring
from webvision.data.loader.spec import BatchSpec
from webvision.data.pictures.images import REASONS
from webvision.data.views.augment import Augmentation
from webvision.data.views.presets import PRESETS
from webvision.errors import ResourceError

SMALL = Augmentation(image_size=32)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return make_tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture
def pooled(tree):
    """A function that makes TrainBatches with worker processes, closed at the end."""
    with contextlib.ExitStack() as stack:

        def make(**options):
            spec = BatchSpec(SMALL, options.pop("batch", 8))
            loader = TrainBatches(*parts(tree), spec, **{"workers": 2, **options})
            stack.callback(loader.close)
            return loader

        yield make


def pool_of(loader):
    return loader._source


def reference(tree, count):
    return take(TrainBatches(*parts(tree), BatchSpec(SMALL, 8)), count)[1]


def gone(pid):
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"Z"
    except OSError:
        return True


def disturbed(loader, count, disturb):
    """`take` over `count` batches, calling disturb(number) before each."""

    def batches():
        for number, batch in enumerate(loader):
            disturb(number)
            yield batch

    return take(batches(), count)[1]


def test_killed_workers_lose_and_repeat_nothing(tree, pooled, capfd):
    """W1: one killed, then all of them, then one at a time again and again."""
    loader = pooled(workers=3)

    def disturb(number):
        victims = {4: [0], 9: [0, 1, 2], 14: [1], 15: [2], 16: [0]}.get(number, [])
        for victim in victims:
            os.kill(pool_of(loader).pids[victim], signal.SIGKILL)

    assert disturbed(loader, 30, disturb) == reference(tree, 30)
    assert "killed by SIGKILL" in capfd.readouterr().err


def test_a_stopped_worker_is_noticed_within_ten_seconds(tree, pooled, capfd):
    loader = pooled()
    began = []

    def disturb(number):
        if number == 3:
            os.kill(pool_of(loader).pids[1], signal.SIGSTOP)
            began.append(time.monotonic())

    assert disturbed(loader, 20, disturb) == reference(tree, 20)
    assert time.monotonic() - began[0] < 10
    assert "stopped" in capfd.readouterr().err
    assert not pool_of(loader).banned  # nobody's fault


PATCHED = """
import os, sys, time
sys.path.insert(0, sys.argv.pop(1))
from webvision.data.loader import batch_files, worker
from webvision.data.pictures import images
batch_files._LARGEST = -1           # headers are read in Python
original = images.inspect
def inspect(data, policy):
    {what}
    return original(data, policy)
images.inspect = inspect
worker.main()
"""


def _workers_that(monkeypatch, what):
    """Workers run `what` (Python, with `data` in scope) before each header is read."""
    monkeypatch.setattr(spawn, "_CODE", PATCHED.format(what=what))


@pytest.mark.parametrize(
    "what, reason", [("if b'MARK' in data: os.abort()", "crash"), ("if b'MARK' in data: time.sleep(60)", "time-out")]
)
def test_a_picture_that_ends_workers_is_named_and_left_out(tree, monkeypatch, tmp_path, capfd, what, reason):
    """I6: a crash twice, or one endless decode, and the run goes on without the file."""
    own = make_tree(tmp_path, count=24)
    path = own / "train" / "c1" / "picture 1.jpg"
    path.write_bytes(path.read_bytes() + b"MARK\xff\xd9")
    _workers_that(monkeypatch, what)
    loader = EvalBatches(parts(own)[0], BatchSpec(PRESETS["webvision"].scaled(32), 5), workers=2, timeout=2.0)
    batches, _ = take(loader, 99)
    status = np.concatenate([batch.status for batch in batches])
    assert [REASONS[code] for code in status] == ["ok", reason] + ["ok"] * 22
    assert loader.bad.names == {"c1/picture 1.jpg": reason}
    assert "c1/picture 1.jpg" in capfd.readouterr().err
    loader.close()


def test_workers_that_cannot_live_end_the_run_with_a_reason(pooled, monkeypatch):
    monkeypatch.setattr(spawn, "_CODE", "import sys; sys.exit(7)")
    with pytest.raises(ResourceError, match="exit status 7"):
        take(pooled(), 1)


def test_an_error_in_a_worker_arrives_with_its_traceback(pooled, monkeypatch):
    """W2: never a dead thread."""
    _workers_that(monkeypatch, "raise ZeroDivisionError('a bug of ours')")
    with pytest.raises(RuntimeError, match="(?s)picture.*a bug of ours|a bug of ours.*picture"):
        take(pooled(), 1)


def test_descriptors_that_run_out_in_a_worker_are_said_in_one_line(pooled, monkeypatch):
    _workers_that(monkeypatch, "raise images.unreadable(OSError(24, 'Too many open files'))")
    with pytest.raises(ResourceError, match="in a loader worker: .*ulimit -n") as caught:
        take(pooled(), 1)
    assert "Traceback" not in str(caught.value)


def test_a_signal_for_the_whole_terminal_leaves_workers_to_the_parent(tree, pooled):
    loader = pooled()

    def disturb(number):
        for pid in pool_of(loader).pids if number == 2 else []:
            for sent in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                os.kill(pid, sent)

    assert disturbed(loader, 12, disturb) == reference(tree, 12)
    assert not pool_of(loader)._restarts


def test_close_ends_all_and_leaves_held_batches_valid(pooled):
    loader = pooled()
    batches = iter(loader)
    held = next(batches)
    copy = held.images.copy()
    pids = pool_of(loader).pids
    os.kill(pids[0], signal.SIGSTOP)
    began = time.monotonic()
    loader.close()
    loader.close()
    assert time.monotonic() - began < 5
    assert all(map(gone, pids))
    assert (held.images == copy).all()
    assert next(batches, None) is None


def test_no_socket_no_name_and_nothing_inherited(pooled):
    """Z3: pipes and anonymous memory only; the parent's other descriptors stay its own."""
    named = set(os.listdir("/dev/shm"))
    with open(os.devnull, "rb") as other:
        os.set_inheritable(other.fileno(), True)
        loader = pooled()
        take(loader, 2)
        for pid in pool_of(loader).pids:
            opened = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
            assert not any(target.startswith("socket") for target in opened)
            assert len({target for target in opened if "memfd" in target}) == 1
            assert sum(target == os.devnull for target in opened) == 1  # its own stdin
    assert set(os.listdir("/dev/shm")) <= named


SCRIPT = """
import sys, time
from pathlib import Path
from tests.support.loader_fixtures import parts
from webvision.data.loader.spec import BatchSpec
from webvision.data.views.augment import Augmentation
from webvision.data.loader.batches import TrainBatches
tree = Path({tree!r})
loader = TrainBatches(*parts(tree), BatchSpec(Augmentation(image_size=32), 8), workers=2)
for number, batch in enumerate(loader):
    if number == 2:
        print(*loader._source.pids, flush=True)
        {then}
"""


def _script(tree, then, **options):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(tree=str(tree), then=then)],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


@pytest.mark.parametrize("state", ["waiting", "busy", "stopped"])
def test_no_worker_outlives_a_killed_parent(tree, state):
    """W3: within 5 s, whatever the workers do at that time."""
    process = _script(tree, "pass" if state == "busy" else "time.sleep(60)")
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert len(pids) == 2
    if state == "stopped":
        os.kill(pids[0], signal.SIGSTOP)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 5
    while not all(map(gone, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert all(map(gone, pids))


@pytest.mark.parametrize("then", ["break", "sys.exit(3)", "raise RuntimeError('ends')", "import os; os._exit(4)"])
def test_a_program_that_forgets_to_close_exits_at_once(tree, then):
    process = _script(tree, then)
    pids = [int(pid) for pid in process.stdout.readline().split()]
    began = time.monotonic()
    process.communicate(timeout=20)
    assert time.monotonic() - began < 4
    time.sleep(0.3)
    assert all(map(gone, pids))


def test_too_few_descriptors_say_so(tree):
    """W4: ulimit -n."""
    process = _script(tree, "break", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (9, 9)))
    error = process.communicate(timeout=60)[1]
    assert process.returncode != 0
    assert "ResourceError" in error and "ulimit -n" in error, error


def test_memory_that_is_not_there_is_refused_before_it_is_taken():
    with pytest.raises(ResourceError, match="--workers"):
        Ring(BatchSpec(SMALL, 1 << 26), slots=64, workers=1)


def test_a_slow_consumer_holds_the_workers_back(pooled, monkeypatch):
    """Back-pressure: no more batches than slots are ever built ahead."""
    loader = pooled()
    next(iter(loader))
    time.sleep(1.5)
    pool = pool_of(loader)
    assert pool._serial <= pool._slots and pool._slots == pool_module.AHEAD * 2 + 1 + pool_module.LEASES


SLOW_READER = """
import os, sys, time
sys.path.insert(0, sys.argv.pop(1))
from webvision.data.loader import worker
def read_jobs(fd, jobs):
    held = b""
    while True:
        time.sleep(0.1)
        *lines, held = (held + os.read(fd, 1 << 16)).split(b"\\n")
        for line in lines:
            jobs.put(line)
worker._read_jobs = read_jobs
worker.main()
"""


def test_jobs_longer_than_a_pipe_are_sent_as_the_worker_reads(tmp_path, monkeypatch):
    """Names of 240 bytes, 2048 to a batch: eight times what a pipe holds. Its rest does not wait for the next look
    around."""
    own = make_tree(tmp_path, count=9)
    lines = []
    for number, line in enumerate((own / "meta" / "train.txt").read_text().splitlines()):
        name, label = line.rsplit(" ", 1)
        (own / "train" / name).rename(own / "train" / f"{number:0240}")
        lines.append(f"{number:0240} {label}\n")
    (own / "meta" / "train.txt").write_text("".join(lines))
    for name, value in (
        ("_TICK_S", 20.0),
        ("AHEAD", 1),
        ("LEASES", 1),
    ):  # few jobs: dealing one out writes a little too
        monkeypatch.setattr(pool_module, name, value)
    monkeypatch.setattr(spawn, "_CODE", SLOW_READER)
    loader = TrainBatches(*parts(own), BatchSpec(SMALL, 2048), workers=1)
    began = time.monotonic()
    take(loader, 1)
    assert time.monotonic() - began < 15
    loader.close()
