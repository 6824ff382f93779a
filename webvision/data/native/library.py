"""The door to the compiled code: the C files of this folder as one ctypes library, where `make setup` could build
it."""

import ctypes
import os
import weakref

import numpy as np

LIBRARY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_decode_window.so")
_VERSION = 7  # WV_VERSION of decode_window.h
NO_MEMORY = 2  # WV_NO_MEMORY of decode_window.h

_library = None  # None: not looked for yet; False: not there


def loaded():
    """The compiled decoder as a ctypes library, or None; loaded once."""
    if _library is None:
        use(LIBRARY)
    return _library or None


def use(path):
    """Load the compiled decoder from `path`, or do without it."""
    global _library
    _library = _load(path) or False


def _load(path):
    try:
        found = ctypes.CDLL(path)
        if found.wv_version() != _VERSION:
            return None
    except (OSError, AttributeError):
        return None
    found.wv_decode.argtypes = [
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_void_p,
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_char_p,
    ]
    found.wv_guard.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    found.wv_guard.restype = ctypes.POINTER(ctypes.c_int)
    found.wv_unguard.argtypes = [ctypes.c_void_p]
    found.wv_read.restype = ctypes.c_int64
    found.wv_read.argtypes = [
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_int64,
        ctypes.c_void_p,
        ctypes.c_int64,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_void_p,
    ]
    file, count, number, memory = ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_void_p
    found.wv_walk_tar.argtypes = [file, number, memory, count, number, *[memory] * 5]
    found.wv_find_members.argtypes = [file, ctypes.c_int, number, number, count, *[memory] * 3]
    found.wv_read_members.argtypes = [count, *[memory] * 10]
    if found.wv_kernel():
        found.wv_batch.argtypes = [
            ctypes.c_int,
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_int,
            ctypes.c_int,
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_void_p,
        ]
    return found


def guard(mapped, address):
    """Guard a mapped file (an mmap, which lies at `address`) against being cut short (guard.c), for as long as it
    lives: a pointer to the flag that says that it was; None if it is not guarded."""
    found = loaded()
    flag = found.wv_guard(address, len(mapped)) if found else None
    if not flag:
        return None
    weakref.finalize(mapped, found.wv_unguard, address)
    return flag


def decode_window(data, size, box, *, scale=1, tolerant=False, whole=True):
    """(status, message, pixels) of the window `box` (x, y, width, height) of the JPEG `data`, `size` (width, height).

    With `whole` the rest of the picture is gone through, too, and damage there is a refusal. Status 0 is success,
    NO_MEMORY says nothing about the picture; needs `loaded()`.
    """
    x, y, width, height = box
    out = np.empty((height, width, 3), np.uint8)
    message = ctypes.create_string_buffer(200)
    numbers = (ctypes.c_int32 * 6)(*size, x, y, width, height)
    status = loaded().wv_decode(
        data,
        len(data),
        ctypes.addressof(numbers),
        scale,
        ctypes.addressof(numbers) + 8,
        tolerant,
        whole,
        out.ctypes.data,
        message,
    )
    return status, message.value.decode("ascii", "replace"), out
