"""Start worker processes from one thread that lives as long as the process.

A worker asks the kernel to be killed when its parent dies (PR_SET_PDEATHSIG), and for the kernel the parent is the
*thread* that started it. Loaders are iterated from threads that come and go, so those must not start workers.
"""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading

from webvision.errors import ResourceError, advice

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
_CODE = "import sys; sys.path.insert(0, sys.argv.pop(1)); from webvision.data.loader.worker import main; main()"
_requests = None
_lock = threading.Lock()


def _forget():
    """In a fork: the thread is the parent's, and the lock may be held for ever by a thread that is not there."""
    global _requests, _lock
    _requests, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)


@contextlib.contextmanager
def needs_a_thread():
    """ResourceError where Python's "can't start new thread" comes out of the body."""
    try:
        yield
    except RuntimeError as error:
        if "start new thread" not in str(error):
            raise
        raise ResourceError(
            "no more threads can be started; use fewer --workers, or raise `ulimit -u` or `ulimit -v`"
        ) from None


def cannot_start(spec, error):
    """The ResourceError for the OSError that a worker's pipes or process ended in."""
    return ResourceError(
        f"loader worker {spec['worker'] + 1} of {spec['workers']} cannot be started ({error.strerror}); "
        f"{advice(error.errno, 'use fewer --workers')}"
    )


def start_worker(spec, fds):
    """A running worker (subprocess.Popen) for `spec`, inheriting only the descriptors `fds`; ResourceError if there is
    none."""
    global _requests
    with _lock:
        if _requests is None:
            requests = queue.SimpleQueue()
            with needs_a_thread():
                threading.Thread(target=_serve, args=(requests,), name="worker-parent", daemon=True).start()
            _requests = requests
    answer = queue.SimpleQueue()
    _requests.put((spec, fds, answer))
    worker = answer.get()
    if isinstance(worker, OSError):
        raise cannot_start(spec, worker)
    if isinstance(worker, BaseException):
        raise worker
    return worker


def _serve(requests):
    # One thread each: pictures are the unit of parallel work.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    # Without a stderr, descriptor 2 is free, or any file opened since: not one to print into.
    said = subprocess.DEVNULL if sys.__stderr__ is None else 2
    while True:
        spec, fds, answer = requests.get()
        try:
            command = [sys.executable, "-P", "-c", _CODE, _ROOT, json.dumps({**spec, "parent": os.getpid()})]
            answer.put(
                subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, pass_fds=fds, env=environment
                )
            )
        except BaseException as error:  # whoever asked is waiting and must be answered
            answer.put(error)
