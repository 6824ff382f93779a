"""The C compiler over the C files of this folder. Standard library only: setup.py loads it, too."""

import os
import shutil
import subprocess

SOURCES = [
    os.path.join(os.path.dirname(os.path.abspath(__file__)), name)
    for name in (
        "decode_window.c",
        "guard.c",
        "read_batch.c",
        "read_members.c",
        "view_batch.c",
        "view_avx2.c",
        "view_avx512.c",
    )
]
FLAGS = ["-O3", "-fno-math-errno", "-shared", "-fPIC", "-fvisibility=hidden", "-Wall"]


def find_compiler():
    """The C compiler's name, or None: $CC, else what is there."""
    return os.environ.get("CC") or next(filter(shutil.which, ("cc", "gcc", "clang")), None)


def compile_library(out, compiler):
    """Compile the library into the file `out`; None if it worked, else why not."""
    return run(
        [compiler, *FLAGS, *SOURCES, "-o", out, "-ljpeg", "-lm"],
        "the compiler failed; are the headers of "
        "libjpeg-turbo (Debian: libjpeg-dev, Fedora: libjpeg-turbo-devel) installed?",
    )


def run(command, otherwise):
    try:
        done = subprocess.run(command, capture_output=True, timeout=120, check=False, cwd=os.path.dirname(SOURCES[0]))
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{otherwise} ({error})"
    if done.returncode == 0:
        return None
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"status {done.returncode}"]
    errors = [line for line in lines if "error" in line.lower()] or lines
    return f"{otherwise} ({errors[0].strip()})"
