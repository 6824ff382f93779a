"""The CUDA libraries that TensorFlow opens, found where its wheels put them.

TensorFlow opens them from libtensorflow_framework.so, whose run path names the folders of most of the CUDA wheels but
not cuSOLVER's (2.21, seen with `make check-gpu-lock`); one that is missing, and TensorFlow offers no GPU at all. A
library that the process has open already is found by its name, so they are opened here first.
"""

import ctypes
import importlib.util
import os
from dataclasses import dataclass

# (file, folder of the wheel, whether TensorFlow offers no GPU without it); each after those that it needs.
LIBRARIES = (
    ("libcudart.so.12", "cuda_runtime", True),
    ("libnvJitLink.so.12", "nvjitlink", False),
    ("libcublasLt.so.12", "cublas", True),
    ("libcublas.so.12", "cublas", True),
    ("libcufft.so.11", "cufft", True),
    ("libcusparse.so.12", "cusparse", True),
    ("libcusolver.so.11", "cusolver", True),
    ("libcudnn.so.9", "cudnn", True),
    ("libnccl.so.2", "nccl", False),  # between GPUs: opened when the first gradients meet
)


@dataclass(frozen=True)
class Library:
    """One library as it was found: `path` of the file that was opened, or `error`, why none was."""

    name: str
    path: str | None = None
    error: str | None = None
    needed: bool = True


def wheel_folders():
    """The folders in which CUDA wheels are installed for this Python: site-packages/nvidia."""
    try:
        spec = importlib.util.find_spec("nvidia")
    except (ImportError, ValueError):
        return []
    return list(spec.submodule_search_locations) if spec and spec.submodule_search_locations else []


def open_libraries(folders=None, *, environment=os.environ):
    """Open the wheels' libraries, and return a Library for each; [] where there are no wheels, or none are wanted.

    They are not wanted where LD_LIBRARY_PATH leads to a whole set: whoever sets it chose the system's own. A set that
    only the system's cache (ldconfig) knows does not count: CUDA 13's cuSPARSE has the name of CUDA 12's, and a mixture
    is what nobody has tested.
    """
    folders = wheel_folders() if folders is None else folders
    if not any(_file_of_wheel(folders, folder, name) for name, folder, _ in LIBRARIES) or _system_serves(environment):
        return []
    return [_open(name, _file_of_wheel(folders, folder, name), needed) for name, folder, needed in LIBRARIES]


def _file_of_wheel(folders, folder, name):
    paths = (os.path.join(root, folder, "lib", name) for root in folders)
    return next((path for path in paths if os.path.exists(path)), None)


def _system_serves(environment):
    folders = [folder for folder in environment.get("LD_LIBRARY_PATH", "").split(":") if folder]
    return all(
        any(os.path.exists(os.path.join(folder, name)) for folder in folders) for name, _, needed in LIBRARIES if needed
    )


def _open(name, path, needed):
    try:
        # By name where no wheel has it: the loader, or a library opened before, may know one.
        ctypes.CDLL(path or name, mode=os.RTLD_LAZY)
    except OSError as error:
        return Library(name, error=str(error), needed=needed)
    return Library(name, path or "the system's", needed=needed)


def missing(libraries):
    """Those without which TensorFlow offers no GPU."""
    return [library for library in libraries if library.error and library.needed]


def search_by_name():
    """A Library for each as the loader finds it by its name alone, as TensorFlow does for those that are not open."""
    return [_open(name, None, needed) for name, _, needed in LIBRARIES]
