"""One input pipeline in a process of its own, for bench_input.py. Runs in whichever Python has the pipeline's library.

python serve_input.py --installed                      which extras this Python can run, as JSON
python serve_input.py NAME DATA BATCH SECONDS          serve NAME: for each line on stdin deliver batches for so long,
                                                       and answer the wall seconds and how many they were
"""

import importlib.util
import json
import os
import sys
import threading
import time

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from benchmarks.input_candidates import CANDIDATES, EXTRAS

MARK = "@@"


def installed():
    """The extras whose modules are all here."""
    return [name for name, (modules, _) in EXTRAS.items() if all(map(_found, modules))]


def _found(module):
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package around it
        return False


def serve(name, data, batch, seconds):
    threading.excepthook = _end  # FFCV's loader would wait for ever for the batch of a thread that failed
    start = CANDIDATES.get(name) or EXTRAS[name][1]
    flow = iter(start(data, batch))
    check(next(flow)[0], batch)
    for _ in range(3):
        next(flow)
    print(MARK, "0", flush=True)
    for _ in sys.stdin:
        began, batches = time.monotonic(), 0
        while batches == 0 or time.monotonic() < began + seconds:
            next(flow)
            batches += 1
        print(MARK, time.monotonic() - began, batches, flush=True)
    os._exit(0)  # tensorpack's processes would keep a normal exit waiting


def check(images, batch):
    """Every candidate delivers the same thing, or the comparison is none."""
    images = np.asarray(images)
    if images.shape != (batch, 224, 224, 3) or images.dtype != np.uint8:
        raise ValueError(f"batches are {images.dtype} {images.shape}, not uint8 {(batch, 224, 224, 3)}")


def _end(args):
    sys.excepthook(*args[:3])
    os._exit(1)


if __name__ == "__main__":
    if sys.argv[1:] == ["--installed"]:
        print(json.dumps(installed()))
    else:
        serve(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
