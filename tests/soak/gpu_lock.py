#!/usr/bin/env python3
"""Does TensorFlow find the CUDA libraries of requirements-gpu.lock? `make check-gpu-lock` runs this where they are.

Asked twice, each in a process of its own: TensorFlow alone, and as webvision.compat imports it where a GPU is visible.
Exit 0 if the second finds them all; if the first does too, the measure in compat.py can go. Needs no GPU.
"""

import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)
from webvision import devices  # noqa: E402
from webvision.machine import tensorflow_check  # noqa: E402

WORDS = {True: "OK", False: "FAILED: it would offer no GPU", None: "not asked: this TensorFlow has no such check"}


def ask(how):
    """In this process: TensorFlow's check, `alone` or as `webvision` imports it; exit 0 if it finds the libraries."""
    if how == "webvision":
        devices.installed_gpus = lambda: 1  # what compat.py asks before it opens anything
        from webvision.compat import CUDA_LIBRARIES

        for library in CUDA_LIBRARIES:
            print(f"  {library.name:20} {library.path or library.error}")
    found = tensorflow_check.finds_cuda_libraries()
    print(f"TensorFlow's check of its CUDA libraries, {how}: {WORDS[found]}")
    return 0 if found else 1


def main(argv):
    if argv:
        return ask(argv[0])
    # Without the caller's own choices: what is asked is whether the lock alone is enough.
    own = ("LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")
    environment = {name: value for name, value in os.environ.items() if name not in own}
    environment["TF_CPP_MIN_LOG_LEVEL"] = "3"
    alone, ours = (
        subprocess.run([sys.executable, __file__, how], env=environment).returncode for how in ("alone", "webvision")
    )
    if alone == 0:
        print("TensorFlow finds them all by itself: compat.py need not open them any more")
    return ours


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
