"""Evaluation: every picture of a list through the network once, into a prediction file that is keyed by name."""

import contextlib
import re
from dataclasses import dataclass

import numpy as np

from webvision import faults, watchdog
from webvision.data.lists.repeats import find_repeats, hash_rows
from webvision.data.pictures.images import REASONS
from webvision.environment import DOOR
from webvision.errors import DataError, IncompleteError, printable
from webvision.files import remove_abandoned
from webvision.model.forward import TOP_K
from webvision.progress import Progress
from webvision.scoring.predictions.file import PredictionWriter, matrix_path
from webvision.scoring.predictions.ranking import topk_from_scores
from webvision.scoring.predictions.score_matrix import ScoreMatrix

_SHOWN = 5  # duplicate names in an error
_SUSPECTS = 1 << 16  # rows with equal hashes that are compared by name: a list doubled as a whole has millions


@dataclass(frozen=True)
class Outputs:
    """What an evaluation writes: the prediction file, and on request the scores or logits of all classes."""

    predictions: str
    all_scores: bool = False
    logits: str | None = None


def evaluate(predictor, loader, index, *, header, outputs):
    """Predict every row of `index` through `loader` and write the prediction file; returns how many pictures were bad.

    Where the loader shows a picture in several views, their probabilities are averaged; such a mean has no logits.
    Pictures that cannot be read keep their row, with `fallback` as the prediction and the reason beside it. DataError
    if the network answers a readable picture with NaN; IncompleteError if the loader ends before the list does.
    """
    kept = (["probabilities"] if outputs.all_scores else []) + (["logits"] if outputs.logits else [])
    seen = bad = 0
    for path in filter(None, (outputs.predictions, matrix_path(outputs.predictions), outputs.logits)):
        remove_abandoned(path)  # by evaluations that were killed
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(PredictionWriter(outputs.predictions, header))
        matrix = stack.enter_context(ScoreMatrix(outputs.logits, index.num_classes)) if outputs.logits else None
        progress = stack.enter_context(Progress("predicting", len(index), "pictures"))
        progress.update(0)
        for batch in loader:
            faults.point("predict")
            results = _predict(predictor, batch, kept)
            watchdog.reach("evaluation")
            names = index.names(batch.rows)
            _refuse_nan(results["finite"], batch.status, names)
            _fill_unreadable(results, batch.status, index.num_classes)
            problems = [REASONS[status] if status else None for status in batch.status]
            writer.write(
                names,
                batch.labels,
                results["top"],
                results["top_scores"],
                problems,
                all_scores=results.get("probabilities"),
            )
            if matrix is not None:
                matrix.append(results["logits"])
            seen += len(names)
            bad += int(np.count_nonzero(batch.status))
            progress.update(seen)
        faults.point("predictions")
        if seen != len(index):
            raise IncompleteError(
                f"{printable(index.path)}: {seen} of {len(index)} pictures were evaluated; nothing was written"
            )
    return bad


def _predict(predictor, batch, kept):
    """'top', 'top_scores', 'finite' and the arrays named in `kept`, a row for each picture of `batch`."""
    pictures, views = len(batch.rows), len(batch.images) // len(batch.rows)
    if views == 1:
        fetch = ["top", "top_scores", "finite", *kept]
        return dict(zip(fetch, predictor(batch.images, fetch), strict=True))
    probabilities, finite = predictor(batch.images, ["probabilities", "finite"])
    finite = finite.reshape(pictures, views).all(axis=1)
    probabilities = probabilities.reshape(pictures, views, -1)
    mean = np.where(finite[:, None], probabilities.mean(axis=1, dtype=np.float64), 0).astype(np.float32)
    top, top_scores = topk_from_scores(mean, TOP_K)
    return {"top": top, "top_scores": top_scores, "finite": finite, **({"probabilities": mean} if kept else {})}


def refuse_duplicates(index):
    """DataError if two rows of `index` have one name: a prediction hangs on its picture's name, and every reader
    refuses two.

    Costs 8 bytes and 0.3 us a row, so 290,000 rows are looked at before the network is built.
    """
    rows, first = find_repeats(index, hash_rows(index.names, len(index)), limit=_SUSPECTS)
    if len(rows):
        twice = "; ".join(
            f"line {row + 1}: {printable(index.name(row))} stands in line {earlier + 1} too"
            for row, earlier in zip(rows[:_SHOWN].tolist(), first.tolist(), strict=False)
        )
        more = f" (and at least {len(rows) - _SHOWN} more)" if len(rows) > _SHOWN else ""
        raise DataError(
            f"{printable(index.path)}: {twice}{more}. Predictions are keyed by name, so each may "
            f"stand in the list once; {DOOR} check --fix writes a list without duplicates"
        )


def fallback(k, num_classes):
    """What stands in the row of an unreadable picture, which the file's readers count as wrong whatever its label: the
    first k classes, all as probable as chance."""
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
        raise DataError(
            f"the network answers {printable(names[broken[0]])} with NaN or infinity; the checkpoint is damaged "
            "or from a run that diverged"
        )


def prediction_header(index, *, classes, network, checkpoint, preset):
    """The header of a prediction file: what was predicted, by what, from what. Nothing in it depends on the machine."""
    step = re.search(r"model-(\d+)$", checkpoint)
    return {
        "list": {"path": index.path, "sha256": index.hash, "rows": len(index)},
        "classes": classes,
        "model": {"name": network.name, **{k: v for k, v in network.described().items() if k != "num_classes"}},
        "checkpoint": {"path": checkpoint, "step": int(step.group(1)) if step else None},
        "preprocessing": {
            "preset": preset.name,
            "image_size": preset.image_size,
            "short_side": preset.short_side,
            "crops": preset.crops,
            "flip": preset.flip,
        },
        "k": min(TOP_K, network.num_classes),
    }
