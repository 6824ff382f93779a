"""Compile the C files of this folder where a C compiler and libjpeg-turbo's headers are; part of `make setup`, and
never its failure.

    python -m webvision.data.native.build

The library is tried on a picture of its own, in a process of its own, before it gets its name: one that crashes or
decodes another picture than the wheel does is not used.
"""

import os
import sys
import tempfile

from webvision.data.native import library
from webvision.data.native.compiler import compile_library, find_compiler, run
from webvision.environment import ROOT

_TRIAL = """import sys; sys.path.insert(0, sys.argv.pop(1))
from webvision.data.native.build import main; sys.exit(main(sys.argv[1:]))"""


def build(compiler=None):
    """Build and try the library; None if it is in place now, else why not, in a few words."""
    compiler = compiler or find_compiler()
    if compiler is None:
        return "no C compiler"
    try:
        fd, new = tempfile.mkstemp(prefix="._decode_window.", suffix=".so", dir=os.path.dirname(library.LIBRARY))
    except OSError as error:
        return f"{os.path.dirname(library.LIBRARY)}: {error.strerror}"
    os.close(fd)
    try:
        problem = compile_library(new, compiler)
        problem = problem or run([sys.executable, "-P", "-c", _TRIAL, ROOT, new], "the new library failed its trial")
        if problem is None:
            os.chmod(new, 0o755)
            os.replace(new, library.LIBRARY)
        return problem
    finally:
        if os.path.exists(new):
            os.unlink(new)


def try_library(path):
    """Whether the library at `path` decodes windows of a picture exactly as the wheel decodes the whole."""
    import numpy as np
    import simplejpeg

    noise = np.random.Generator(np.random.Philox(key=1)).integers(0, 256, (12, 15, 3), np.uint8)
    picture = np.ascontiguousarray(noise.repeat(9, axis=0).repeat(9, axis=1)[:-1, :-2])  # 107 x 133: no whole blocks
    library.use(path)
    for sampling in ("444", "422", "420"):
        data = simplejpeg.encode_jpeg(picture, quality=90, colorsubsampling=sampling)
        whole = simplejpeg.decode_jpeg(data, "BGR").astype(int)
        for x, y, width, height in ((0, 0, 133, 107), (1, 1, 1, 1), (17, 9, 60, 44), (40, 51, 93, 56)):
            status, _, window = library.decode_window(data, (133, 107), (x, y, width, height))
            if status or np.abs(window - whole[y : y + height, x : x + width]).max() > 1:
                return False
    return True


def main(arguments):
    """Without an argument: build, and say which path will decode. With one: the trial of that library."""
    if arguments:
        return 0 if try_library(arguments[0]) else 1
    problem = build()
    print(
        "JPEG decoding: "
        + (f"by a wheel, whole pictures at a time; {problem}" if problem else "compiled here, windows only")
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
