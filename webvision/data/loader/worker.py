"""A worker process: reads jobs, one JSON line each, builds the batches into shared memory, answers one line each.

It imports NumPy and the decoders, never TensorFlow, and is started as a new program, not as a copy of the training
process: TensorFlow's threads hold locks that a copy would inherit. It ends when its job pipe ends, whatever it is
doing.
"""

import errno
import json
import os
import queue
import signal
import sys
import threading
import traceback

from webvision.processes import end_with_parent


def main():
    """`spec` (JSON) is the only argument; see pool.py for what it holds."""
    spec = json.loads(sys.argv[1])
    end_with_parent(spec["parent"])  # of the thread in spawn.py that lives as long as its process
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # meant for the training process, which saves its state first
    jobs = queue.SimpleQueue()
    answer = os.fdopen(spec["answers"], "w", buffering=1)
    try:
        threading.Thread(target=_read_jobs, args=(spec["jobs"], jobs), daemon=True).start()
        _work(spec, jobs, answer)
    except BrokenPipeError:
        os._exit(0)
    except BaseException as error:  # every way to fail is reported before the end
        print(json.dumps(_report(error)), file=answer)
        os._exit(1)


def _report(error):
    """The last line for the training process: {kind: text}."""
    if _is_of_memory(error):
        return {"memory": traceback.format_exc()}
    for kind, name in (("resource", "ResourceError"), ("data", "DataError")):
        if type(error).__name__ == name:  # by name: errors.py may be what could not be imported
            return {kind: str(error)}
    return {"error": traceback.format_exc()}


def _is_of_memory(error):
    """Whether there was no memory for an array, for a mapping, or for the stack of a thread."""
    return (
        isinstance(error, MemoryError)
        or getattr(error, "errno", None) == errno.ENOMEM
        or "start new thread" in str(error)
    )


def _read_jobs(fd, jobs):
    with os.fdopen(fd, "rb") as lines:
        for line in lines:
            jobs.put(line)
    os._exit(0)  # the training process closed the pipe, or is no more


def _work(spec, jobs, answer):
    from webvision.data.archives.store import pictures_from_json
    from webvision.data.loader.builder import BatchBuilder, Job
    from webvision.data.loader.ring import Ring
    from webvision.data.loader.spec import BatchSpec

    batch = BatchSpec.from_json(spec["batch"])
    ring = Ring(batch, slots=spec["slots"], workers=spec["workers"], fd=spec["memory"])
    builder = BatchBuilder(pictures_from_json(spec["pictures"]), batch)
    beats = ring.beats[spec["worker"]]

    print('{"ready": 1}', file=answer)
    while True:
        slot, *fields = json.loads(jobs.get())
        job = Job(*fields)
        job = job._replace(names=tuple(map(os.fsencode, job.names)), banned=tuple(map(tuple, job.banned)))
        beats[1:3] = job.number, -1
        beats[0] += 1
        builder.build(job, ring.slot(slot), beats)
        print(json.dumps({"done": job.number}), file=answer)
