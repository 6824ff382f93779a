"""Scores of every class for every image, as a .npy file that is written row by row and read without loading it."""

import contextlib
import os

import numpy as np

from webvision.errors import DataError
from webvision.files import atomic_write, file_sha256
from webvision.npy import read_npy_header


class ScoreMatrix:
    """Append rows of float32 scores to the .npy file `path`; it appears, whole, when the `with` block ends well."""

    def __init__(self, path, num_classes):
        self.path = os.fspath(path)
        self.shape = (0, num_classes)
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        self._file = self._stack.enter_context(atomic_write(self.path, "w+b"))
        self._write_header()
        return self

    def append(self, scores):
        """Add scores[n, classes]; DataError unless all are finite."""
        scores = np.ascontiguousarray(scores, "<f4")
        if scores.ndim != 2 or scores.shape[1] != self.shape[1]:
            raise ValueError(f"scores of shape {scores.shape} for {self.shape[1]} classes")
        finite = np.isfinite(scores).all(axis=1)
        if not finite.all():
            raise DataError(f"{self.path}: scores of row {self.shape[0] + 1 + int(np.argmin(finite))} are not finite")
        self._file.write(scores.tobytes())
        self.shape = (self.shape[0] + len(scores), self.shape[1])

    def __exit__(self, *exception):
        if exception[0] is None:
            self._file.seek(0)
            self._write_header()  # NumPy pads the header, so the final row count fits where the 0 stood
        return self._stack.__exit__(*exception)

    def reference(self):
        """What a prediction file says of this one, once it is closed."""
        return {"shape": list(self.shape), "sha256": file_sha256(self.path)}

    def _write_header(self):
        np.lib.format.write_array_header_1_0(self._file, {"descr": "<f4", "fortran_order": False, "shape": self.shape})


def open_score_matrix(path, reference):
    """The matrix at `path`, memory-mapped, if it is the one that `reference` describes; else DataError."""
    again = "run --eval --scores all again"
    try:
        if file_sha256(path) != reference["sha256"]:
            raise DataError(f"{path}: is not the file that the predictions were written with (other hash); {again}")
        with open(path, "rb") as file:
            shape, dtype, fortran = read_npy_header(file)
            if dtype != np.dtype("<f4") or fortran or list(shape) != reference.get("shape"):
                raise DataError(f"{path}: {dtype}{list(shape)}, not float32{reference.get('shape')}; {again}")
            return np.memmap(file, dtype, "r", file.tell(), shape)
    except FileNotFoundError:
        raise DataError(f"{path}: missing; the predictions beside it refer to it; {again}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: {error}; {again}") from None
