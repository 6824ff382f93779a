"""Workers started where it is hard: in forks, with descriptors or memory missing, with nobody reading what is
logged."""

import os
import signal
import subprocess
import sys

import pytest

from tests.support.data_set import ROOT
from tests.support.loader_fixtures import make_tree, parts, take
from webvision.data.loader import spawn, worker_link
from webvision.data.loader.batches import TrainBatches
from webvision.data.loader.spec import BatchSpec
from webvision.data.views.augment import Augmentation
from webvision.errors import ResourceError

EXEC = 'exec "$0" "$@"'
SCRIPT = """
import multiprocessing, os, signal, sys
from pathlib import Path
from tests.support.loader_fixtures import parts, take
from webvision.data.loader.spec import BatchSpec
from webvision.data.views.augment import Augmentation
from webvision.data.loader.batches import TrainBatches
tree = Path({tree!r})
def make(workers=2, batch=8, **options):
    return TrainBatches(*parts(tree), BatchSpec(Augmentation(image_size=32), batch), workers=workers,
                        **options)
expected = take(make(0), 4)[1]
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return make_tree(tmp_path_factory.mktemp("tree"))


def run(tree, code, shell=EXEC):
    """Run `code` after SCRIPT, started by a line of shell; (exit status, standard error)."""
    command = ["sh", "-c", shell, sys.executable, "-c", SCRIPT.format(tree=str(tree)) + code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert not done.stdout
    return done.returncode, done.stderr


FORK = """
loader = make()
batches = iter(loader)
next(batches)
if {closed}:
    loader.close()
def child():
    own = make(1)
    assert take(own, 4)[1] == expected
    own.close()
process = multiprocessing.get_context("fork").Process(target=child)
process.start()
process.join(20)
hangs = process.is_alive()
process.kill()
assert not hangs, "hangs"
assert process.exitcode == 0
assert {closed} or len(list(zip(batches, range(8)))) == 8
loader.close()
"""


@pytest.mark.parametrize("closed", [False, True])
def test_a_fork_has_a_loader_of_its_own(tree, closed):
    """The thread that starts workers does not come along into the child."""
    assert run(tree, FORK.format(closed=closed)) == (0, "")


REPLACED = """
loader = make()
batches = iter(loader)
next(batches)
os.kill(loader._source.pids[0], signal.SIGKILL)
assert len(list(zip(batches, range(20)))) == 20
loader.close()
os._exit(0)                     # the interpreter itself fails at its end if it cannot flush
"""


@pytest.mark.parametrize(
    "before, shell",
    [("ends = os.pipe(); os.dup2(ends[1], 2); [os.close(end) for end in ends]", EXEC), ("", EXEC + " 2>&-")],
)
def test_a_worker_is_replaced_though_nobody_can_be_told(tree, before, shell):
    """stderr is a pipe whose reader has gone, or closed; and stdout is not the place to write to instead."""
    assert run(tree, before + REPLACED, shell) == (0, "")


CLOSED = """
loader = make()
same = take(loader, 4)[1] == expected
for pid in loader._source.pids:
    opened = [os.readlink("/proc/%d/fd/%d" % (pid, fd)) for fd in (0, 1, 2)]
    same = same and not any("memfd" in name or "train.txt" in name for name in opened)
loader.close()
os._exit(0 if same else 1)
"""


@pytest.mark.parametrize("shell", [EXEC + " <&- >&-", EXEC + " <&- >&- 2>&-", EXEC + " >&- 2>&-"])
def test_standard_descriptors_may_be_closed(tree, shell):
    """Ours would take their numbers, and in a worker these are its own stdin, stdout and stderr."""
    assert run(tree, CLOSED, shell) == (0, "")


LIMITED = """
import resource, threading
from webvision.errors import ResourceError
loader = make(**{options})
{before}
try:
    next(iter(loader))
except ResourceError as error:
    assert {words!r} in str(error), error
else:
    assert False, "nothing was refused"
"""
# Room for an ordinary allocation, not for 100 MB of batches.
ADDRESS_SPACE = """
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + (6 << 20), resource.RLIM_INFINITY))
"""


def test_an_address_space_that_is_limited_is_said_so(tree):
    assert run(tree, LIMITED.format(options={"batch": 4096}, before=ADDRESS_SPACE, words="ulimit -v")) == (0, "")


NO_THREAD = """
def refuse(thread):
    raise RuntimeError("can't start new thread")
original, threading.Thread.start = threading.Thread.start, refuse
"""
AGAIN = """
threading.Thread.start = original
assert take(loader, 4)[1] == expected
loader.close()
"""


def test_a_thread_that_cannot_be_started_is_not_waited_for(tree):
    """Not then, nor when there is one later."""
    assert run(tree, LIMITED.format(options={}, before=NO_THREAD, words="no more threads") + AGAIN) == (0, "")


@pytest.mark.parametrize(
    "error", ["MemoryError()", "OSError(errno.ENOMEM, 'none')", 'RuntimeError("can\'t start new thread")']
)
def test_a_worker_without_memory_says_so(tree, monkeypatch, error):
    monkeypatch.setattr(
        spawn,
        "_CODE",
        "import errno, sys; sys.path.insert(0, sys.argv.pop(1))\n"
        "from webvision.data.loader import worker\n"
        f"def work(*arguments):\n    raise {error}\nworker._work = work; worker.main()",
    )
    loader = TrainBatches(*parts(tree), BatchSpec(Augmentation(image_size=32), 8), workers=1)
    with pytest.raises(ResourceError, match="out of memory"):
        next(iter(loader))
    loader.close()


def test_a_worker_that_cannot_be_replaced_leaves_a_loader_that_can_be_closed_or_used(tree, monkeypatch):
    """Its descriptors are closed once: by the next time their numbers are other files'."""
    loader = TrainBatches(*parts(tree), BatchSpec(Augmentation(image_size=32), 8), workers=2)
    next(iter(loader))

    def refuse(*arguments):
        raise ResourceError("no more processes")

    with monkeypatch.context() as patched:
        patched.setattr(worker_link, "start_worker", refuse)
        os.kill(loader._source.pids[0], signal.SIGKILL)
        with pytest.raises(ResourceError, match="no more processes"):
            take(loader, 20)
    others = [os.open(os.devnull, os.O_RDONLY) for _ in range(6)]
    assert take(loader, 20)[1] == take(TrainBatches(*parts(tree), BatchSpec(Augmentation(image_size=32), 8)), 20)[1]
    loader.close()
    for fd in others:
        os.close(fd)


def test_a_worker_is_ended_once(tree):
    loader = TrainBatches(*parts(tree), BatchSpec(Augmentation(image_size=32), 8), workers=1)
    next(iter(loader))
    (link,) = loader._source._links.values()
    link.kill()
    link.end()
    others = [os.open(os.devnull, os.O_RDONLY) for _ in range(6)]
    assert link.end() == "killed by SIGKILL"
    for fd in others:
        os.close(fd)
    loader.close()


def test_what_cannot_be_told_to_a_worker_is_an_error_and_not_a_wait(tree):
    """Starts are asked of another thread, which must answer whatever it is asked."""
    loader = TrainBatches(*parts(tree), BatchSpec(Augmentation(image_size=32), 8), workers=1, timeout=5.0)
    loader._source._spec["root"] = object()
    with pytest.raises(TypeError, match="JSON"):
        next(iter(loader))
    loader._source._spec["root"] = str(tree / "train")
    take(loader, 1)
    loader.close()
