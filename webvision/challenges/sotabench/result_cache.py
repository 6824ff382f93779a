"""A local store of finished evaluations, found again by what the model says about the first few images.

The public service keyed its cache by a hash of the first batch, which changes with the batch size and with the last bit
of any logit. Here an entry keeps the logits of the data set's first SIGNATURE_IMAGES images and is found when a new
run's logits for the same images agree within TOLERANCE, whatever the batch size or the order of the images.
"""

import hashlib
import json
import os
import sys

import numpy as np

from webvision.errors import printable
from webvision.files import atomic_write

SIGNATURE_IMAGES = 8
TOLERANCE = 1e-3  # of the largest logit; the same weights on CPU and GPU differ by 1e-5 to 1e-4 of it
FORMAT, VERSION = "webvision-result-cache", 1


def default_directory():
    """$WEBVISION_RESULT_CACHE, or webvision/results in the user's cache folder."""
    chosen = os.environ.get("WEBVISION_RESULT_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return chosen or os.path.join(base, "webvision", "results")


class ResultCache:
    """Results in `directory` of models evaluated on the data set whose targets hash to `targets_hash`."""

    def __init__(self, directory, targets_hash):
        self.directory, self.targets_hash = directory, targets_hash

    def find(self, signature):
        """The results stored for a model with this signature (float32 [images, classes]), or None."""
        try:
            names = sorted(name for name in os.listdir(self.directory) if name.startswith(self.targets_hash[:16]))
        except OSError:
            return None
        for name in names:
            entry = self._read(os.path.join(self.directory, name))
            if entry and _agree(signature, entry["signature"]):
                return entry["results"]
        return None

    def store(self, signature, results, *, model):
        """Keep `results`. A cache that cannot be written is no reason to fail: it is said on stderr."""
        body = {
            "format": FORMAT,
            "version": VERSION,
            "targets": self.targets_hash,
            "model": model,
            "results": results,
            "signature": [[float(f"{value:.7g}") for value in row] for row in signature],
        }
        name = f"{self.targets_hash[:16]}-{hashlib.sha256(np.ascontiguousarray(signature)).hexdigest()[:16]}.json"
        try:
            os.makedirs(self.directory, exist_ok=True)
            with atomic_write(os.path.join(self.directory, name)) as file:
                json.dump(body, file)
        except OSError as error:
            print(printable(f"result cache not written: {error}"), file=sys.stderr)

    def _read(self, path):
        """The entry in the file `path`, checked, or None with a remark."""
        try:
            with open(path, encoding="utf-8") as file:
                entry = json.load(file)
            if (entry["format"], entry["version"], entry["targets"]) != (FORMAT, VERSION, self.targets_hash):
                return None
            entry["signature"] = np.array(entry["signature"], np.float32)
            if not all(0.0 <= float(value) <= 1.0 for value in entry["results"].values()):
                raise ValueError("a result outside 0..1")
            return entry
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            print(printable(f"{path}: ignored, not an entry of the result cache ({error})"), file=sys.stderr)
            return None


def _agree(ours, stored):
    return (
        ours.shape == stored.shape
        and np.isfinite(ours).all()
        and float(np.max(np.abs(ours - stored))) <= TOLERANCE * float(np.max(np.abs(ours), initial=0.0))
    )
