"""Prediction of pictures that are in no list: through the loader that evaluation uses, so at its speed.

A model here is a function from a uint8 BGR batch to probabilities; a TensorFlow checkpoint or an ONNX file becomes one.
Nothing in this module needs TensorFlow.
"""

from typing import NamedTuple

import numpy as np

from webvision.data.data_set import Split
from webvision.data.loader.batches import EvalBatches
from webvision.data.loader.spec import BatchSpec
from webvision.data.pictures.folder import PictureFolder
from webvision.data.pictures.images import DEFAULT_POLICY, REASONS
from webvision.errors import DataError, printable
from webvision.scoring.predictions.ranking import topk_from_scores


class Answer(NamedTuple):
    """What the network says about one picture."""

    row: int
    ids: list  # best first; among equals the lowest id
    scores: list  # their probabilities
    problem: str | None  # why the picture could not be read: then there are no ids


class Paths:
    """Absolute paths as the loader takes a list: rows with names, without labels."""

    labels = None

    def __init__(self, paths):
        self._names = [path.lstrip("/") for path in paths]

    def __len__(self):
        return len(self._names)

    def name(self, row):
        """The path in `row`, below '/'."""
        return self._names[row]

    def names(self, rows):
        """The paths in `rows`, below '/'."""
        return [self._names[row] for row in rows]


def predict(model, paths, preset, *, top=5, batch=64, workers=0, policy=DEFAULT_POLICY):
    """Yield the Answer of each of `paths` (absolute), in order; DataError if the network answers NaN."""
    split = Split(Paths(paths), PictureFolder("/", policy))
    loader = EvalBatches(split, BatchSpec(preset, min(batch, len(paths))), workers=workers)
    try:
        for shown in loader:
            probabilities = _mean_of_views(model(shown.images), len(shown.rows))
            readable = shown.status == 0
            if not np.isfinite(probabilities[readable]).all():
                raise DataError(
                    f"the network answers {printable(paths[int(shown.rows[0])])} or one after it with NaN; its weights "
                    "are damaged, or of a run that diverged"
                )
            ids, scores = topk_from_scores(np.where(readable[:, None], probabilities, 0), top)
            for row, status, best, values in zip(shown.rows.tolist(), shown.status, ids.tolist(), scores.tolist()):
                yield Answer(row, [], [], REASONS[status]) if status else Answer(row, best, values, None)
    finally:
        loader.close()


def _mean_of_views(probabilities, pictures):
    """Probabilities [pictures, classes] of [pictures * views, classes]."""
    probabilities = np.asarray(probabilities, np.float32)
    return probabilities.reshape(pictures, -1, probabilities.shape[-1]).mean(axis=1)


def softmax(logits):
    """Probabilities of logits [n, classes], in float32."""
    logits = np.asarray(logits, np.float32)
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)
