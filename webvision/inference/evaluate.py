"""Evaluation: every picture of a list through the network once, into a prediction file that is keyed by name."""
import contextlib
import re
from dataclasses import dataclass

import numpy as np

from webvision import faults
from webvision.data.images import REASONS
from webvision.errors import DataError, IncompleteError, printable
from webvision.model.classifier import TOP_K
from webvision.scoring.predictions import PredictionWriter
from webvision.scoring.score_matrix import ScoreMatrix

from tensorpack.utils.utils import get_tqdm


@dataclass(frozen=True)
class Outputs:
    """What an evaluation writes: the prediction file, and on request the scores or logits of all classes."""
    predictions: str
    all_scores: bool = False
    logits: str | None = None


def evaluate(predictor, loader, index, *, header, outputs):
    """Predict every row of `index` through `loader` and write the prediction file; returns how many pictures were bad.

    Pictures that cannot be read keep their row, with `fallback` as the prediction and the reason beside it. DataError if
    the network answers a readable picture with NaN; IncompleteError if the loader ends before the list does.
    """
    fetch = ["top", "top_scores", "finite"] + (["probabilities"] if outputs.all_scores else []) \
        + (["logits"] if outputs.logits else [])
    seen = bad = 0
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(PredictionWriter(outputs.predictions, header))
        matrix = stack.enter_context(ScoreMatrix(outputs.logits, index.num_classes)) if outputs.logits else None
        progress = stack.enter_context(get_tqdm(total=len(index), unit="images"))
        for batch in loader.batches():
            faults.point("predict")
            results = dict(zip(fetch, predictor(batch.images, fetch), strict=True))
            names = index.names(batch.rows)
            _refuse_nan(results["finite"], batch.status, names)
            _fill_unreadable(results, batch.status, index.num_classes)
            problems = [REASONS[status] if status else None for status in batch.status]
            writer.write(names, batch.labels, results["top"], results["top_scores"], problems,
                         all_scores=results.get("probabilities"))
            if matrix is not None:
                matrix.append(results["logits"])
            seen += len(names)
            bad += int(np.count_nonzero(batch.status))
            progress.update(len(names))
        faults.point("predictions")
        if seen != len(index):
            raise IncompleteError(f"{printable(index.path)}: {seen} of {len(index)} pictures were evaluated; nothing was written")
    return bad


def fallback(k, num_classes):
    """What stands in the row of an unreadable picture: the first k classes, all as probable as chance."""
    return np.arange(k, dtype=np.int32), np.full(k, 1 / num_classes, np.float32)


def _fill_unreadable(results, status, num_classes):
    unreadable = np.flatnonzero(status)
    if not len(unreadable):
        return
    for name in results:
        results[name] = results[name].copy()
    results["top"][unreadable], results["top_scores"][unreadable] = fallback(results["top"].shape[1], num_classes)
    for name in ("probabilities", "logits"):
        if name in results:
            results[name][unreadable] = 1 / num_classes if name == "probabilities" else 0


def _refuse_nan(finite, status, names):
    broken = np.flatnonzero(~finite & (status == 0))
    if len(broken):
        raise DataError(f"the network answers {printable(names[broken[0]])} with NaN or infinity; the checkpoint is damaged "
                        "or from a run that diverged")


def prediction_header(index, *, classes, network, checkpoint, preset):
    """The header of a prediction file: what was predicted, by what, from what. Nothing in it depends on the machine."""
    step = re.search(r"model-(\d+)$", checkpoint)
    return {
        "list": {"path": index.path, "sha256": index.hash, "rows": len(index)},
        "classes": classes,
        "model": {"name": network.name, "mode": network.mode, "depth": network.depth, "image_size": network.image_size},
        "checkpoint": {"path": checkpoint, "step": int(step.group(1)) if step else None},
        "preprocessing": {"preset": preset.name, "image_size": preset.image_size, "short_side": preset.short_side},
        "k": min(TOP_K, network.num_classes),
    }
