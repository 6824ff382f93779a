"""The ObjectNet challenge's predictions.csv, written while the results come in.

Format (no header, CRLF, Python's csv quoting): base name of the image, then five times `id,confidence`, best first. A
confidence is the shortest text of the float32 value taken as a double, as PyTorch's `tolist()` gives it.
"""

import csv
import fcntl
import os
import sys

import numpy as np

from webvision.challenges.objectnet.mapping import NO_PREDICTION, check_fits, convert
from webvision.errors import DataError, LockedError, UsageError, printable
from webvision.files import append_own, sync_directory
from webvision.scoring.predictions.ranking import topk_from_scores

GUESSES = 5


def prediction_rows(names, logits, *, mapping=None, softmax=True, problems=None):
    """The rows [name, id1, confidence1, ...] for images `names` with `logits` [images, classes].

    With `mapping`, ids are ObjectNet's (`objectnet_mapping`), without it the network's own. Where `problems` holds a
    reason, the image could not be read: its row names no class (-1, which the challenge accepts and counts as wrong).
    Equal logits rank by lowest class. DataError names an image whose logits are NaN.
    """
    logits = np.asarray(logits, np.float32)
    problems = problems if problems is not None else [None] * len(names)
    if logits.ndim != 2 or not len(names) == len(logits) == len(problems):
        raise DataError(
            f"the model gave logits of shape {logits.shape} for {len(names)} images; [images, classes] is needed"
        )
    if mapping:
        check_fits(mapping, logits.shape[1])
    nan = np.isnan(logits).any(axis=1) & [problem is None for problem in problems]
    if nan.any():
        raise DataError(
            f"the model's logits for {printable(names[int(np.argmax(nan))])} are NaN; is the checkpoint sound?"
        )
    logits = np.where(np.isnan(logits), np.float32(0), logits)  # only in rows that are not used
    top, confidences = topk_from_scores(logits, GUESSES)
    if softmax:
        doubles = logits.astype(np.float64)
        exponentials = np.exp(doubles - doubles.max(axis=1, keepdims=True))
        shares = exponentials / exponentials.sum(axis=1, keepdims=True)
        confidences = np.take_along_axis(shares, top, 1).astype(np.float32)
    nothing = (NO_PREDICTION, 0.0)
    rows = []
    for name, ids, values, problem in zip(names, top.tolist(), confidences.tolist(), problems, strict=True):
        pairs = list(zip(convert(ids, mapping) if mapping else ids, values, strict=True)) if problem is None else []
        pairs += [nothing] * (GUESSES - len(pairs))  # also when the network has fewer than five classes
        rows.append([name, *(value for pair in pairs for value in pair)])
    return rows


class PredictionsCsv:
    """predictions.csv at `path`, as a context manager: OUTPUT.partial grows row by row and becomes OUTPUT at a clean
    end.

    After an error OUTPUT.partial keeps the whole rows written so far; the next run starts it anew. An existing OUTPUT
    is refused, and so is a second writer at the same time.
    """

    def __init__(self, path):
        self.path, self.partial = path, path + ".partial"
        self.names = set()

    def __enter__(self):
        check_output(self.path)
        self._file = append_own(self.partial, encoding="utf-8", errors="surrogateescape", newline="")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise LockedError(
                f"{printable(self.partial)}: another process writes this file; wait for it to end"
            ) from None
        self._file.truncate(0)
        self._writer = csv.writer(self._file)
        return self

    def write(self, rows):
        """Append `rows`; they are in the file when this returns. A base name that came before is a DataError."""
        for row in rows:
            if row[0] in self.names:
                raise DataError(
                    f"two images are called {printable(row[0])}; the challenge knows images by base name only"
                )
            self.names.add(row[0])
        self._writer.writerows(rows)
        self._file.flush()

    def __exit__(self, kind, *_):
        with self._file:
            if kind is not None:
                print(f"{printable(self.partial)}: keeps the {len(self.names)} rows written so far", file=sys.stderr)
                return
            os.fsync(self._file.fileno())
            if os.path.lexists(self.path):
                raise UsageError(
                    f"{printable(self.path)}: appeared while this run worked; its rows are in {printable(self.partial)}"
                )
            os.rename(self.partial, self.path)
            sync_directory(os.path.dirname(self.path) or ".")


def check_output(path):
    """UsageError unless `path` can become a new file in an existing folder."""
    folder = os.path.dirname(path) or "."
    if os.path.lexists(path):
        raise UsageError(f"{printable(path)}: exists already; move it away or name another output file")
    if not os.path.isdir(folder):
        raise UsageError(f"{printable(folder)}: no such folder for the output file")
