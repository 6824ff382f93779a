"""A local store of finished evaluations, found again by what they were of: these weights on these pictures.

The public service keyed its cache by a hash of the first batch, which changes with the batch size and with the last bit
of any logit. Logits that are merely close are no key either: two late checkpoints of one run differ by less than the
same weights on a CPU and on a GPU, and say nothing of the pictures that come after. So an entry is found by hashes of
contents (`identity`), of the weights as they lie on the disk and of every picture's bytes, or not at all.
"""

import hashlib
import json
import os
import sys

from webvision.data.pictures.images import ImageError
from webvision.errors import printable
from webvision.files import atomic_write, read_json

FORMAT, VERSION = "webvision-result-cache", 2


def default_directory():
    """$WEBVISION_RESULT_CACHE, or webvision/results in the user's cache folder."""
    chosen = os.environ.get("WEBVISION_RESULT_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return chosen or os.path.join(base, "webvision", "results")


def identity_of(weights_sha256, preparation, files):
    """SHA-256 of an evaluation's inputs: weights, how pictures are prepared for them, and the pictures of `files`.

    `files`: (image id, a function that returns the file's bytes or raises ImageError), in any order.
    """
    pictures = {}
    for image_id, read in files:
        try:
            pictures[image_id] = hashlib.sha256(read()).hexdigest()
        except ImageError as error:
            pictures[image_id] = error.reason
    whole = json.dumps([weights_sha256, preparation, sorted(pictures.items())])
    return hashlib.sha256(whole.encode("ascii")).hexdigest()


class ResultCache:
    """Results in `directory` of models evaluated on the data set whose targets hash to `targets_hash`."""

    def __init__(self, directory, targets_hash):
        self.directory, self.targets_hash = directory, targets_hash

    def find(self, identity):
        """The results stored for `identity`, or None."""
        path = self._path(identity)
        try:
            entry = read_json(path)
            if (entry["format"], entry["version"]) != (FORMAT, VERSION):
                raise ValueError("another format")
            if (entry["targets"], entry["identity"]) != (self.targets_hash, identity):
                raise ValueError("of another evaluation")
            if not all(0.0 <= float(value) <= 1.0 for value in entry["results"].values()):
                raise ValueError("a result outside 0..1")
            return entry["results"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            print(printable(f"{path}: ignored, not an entry of the result cache ({error})"), file=sys.stderr)
            return None

    def store(self, identity, results, *, model):
        """Keep `results`. A cache that cannot be written is no reason to fail: it is said on stderr."""
        body = {
            "format": FORMAT,
            "version": VERSION,
            "targets": self.targets_hash,
            "identity": identity,
            "model": model,
            "results": results,
        }
        try:
            os.makedirs(self.directory, exist_ok=True)
            with atomic_write(self._path(identity)) as file:
                json.dump(body, file)
        except OSError as error:
            print(printable(f"result cache not written: {error}"), file=sys.stderr)

    def _path(self, identity):
        name = hashlib.sha256(f"{self.targets_hash} {identity}".encode()).hexdigest()
        return os.path.join(self.directory, f"{name[:32]}.json")
