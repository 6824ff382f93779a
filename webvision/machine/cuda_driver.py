"""What the CUDA driver itself answers (libcuda), where TensorFlow only says that there is no GPU."""

import ctypes

LIBRARY = "libcuda.so.1"
# CUresult, as cuda.h numbers them; those that a start can end with.
NO_DEVICE, NOT_PERMITTED, UNKNOWN, MISMATCH = 100, 800, 999, 803


def start(library=None):
    """(code, name) of cuInit(0): (0, 'CUDA_SUCCESS'); or (None, why) where the driver's library cannot be opened.

    It heeds CUDA_VISIBLE_DEVICES, and a process that has called it must not fork and use CUDA in the child; ask when
    TensorFlow has asked already, or in a process that only tells.
    """
    try:
        cuda = ctypes.CDLL(library or LIBRARY)
    except OSError as error:
        return None, str(error)
    code = cuda.cuInit(0)
    name = ctypes.c_char_p()
    cuda.cuGetErrorName(code, ctypes.byref(name))
    return code, (name.value or b"unnamed").decode("ascii", "replace")
