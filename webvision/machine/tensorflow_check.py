"""TensorFlow's own check of its CUDA libraries, asked without importing TensorFlow and without a GPU."""

import ctypes
import importlib.util
import os

# tsl::internal::DsoLoader::MaybeTryDlopenGPULibraries(), which TensorFlow asks before it looks for any GPU.
_CHECK = "_ZN3tsl8internal9DsoLoader26MaybeTryDlopenGPULibrariesEv"
_OK = 1  # absl::OkStatus() as it lies in memory


def finds_cuda_libraries():
    """Whether TensorFlow would open all that it needs, as this process stands; None if this TensorFlow has no such
    check."""
    path = _framework()
    if path is None:
        return None
    check = getattr(ctypes.CDLL(path), _CHECK, None)
    if check is None:
        return None
    # It returns an absl::Status, which is no plain value: the caller gives the place for it.
    status = ctypes.c_uint64(0)
    check.argtypes, check.restype = [ctypes.c_void_p], ctypes.c_void_p
    check(ctypes.byref(status))
    return status.value == _OK


def _framework():
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or not spec.submodule_search_locations:
        return None
    path = os.path.join(list(spec.submodule_search_locations)[0], "libtensorflow_framework.so.2")
    return path if os.path.exists(path) else None
