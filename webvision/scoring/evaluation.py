"""What webvision score does with its files: (a result for JSON, the same as lines of text)."""

import os

import numpy as np

from webvision.errors import DataError, UsageError, printable
from webvision.scoring.figures import intervals, scorecard
from webvision.scoring.predictions import fusion
from webvision.scoring.predictions import loaded as runs
from webvision.scoring.predictions.file import DEFAULT_PATH
from webvision.scoring.predictions.shards import merge_shards
from webvision.scoring.predictions.upstream_lists import is_upstream_list


def load_files(paths, labels_path=None, num_classes=None):
    """The runs at `paths`; two plain JSON lists are upstream's ids and their labels."""
    paths = list(paths) or [DEFAULT_PATH]
    if labels_path is None and len(paths) == 2 and is_upstream_list(paths[0]):
        if not os.path.exists(paths[1]):
            raise DataError(f"{paths[1]}: no such file; the list of labels for {paths[0]} is expected there")
        if is_upstream_list(paths[1]):
            paths, labels_path = paths[:1], paths[1]
    return [runs.load_run(path, labels_path, num_classes=num_classes) for path in paths]


def average_files(loaded, out=None, *, method="mean", weights=None):
    """The mean of `loaded` runs, by one of fusion's methods, kept in `out`."""
    out = out or os.path.join(os.path.dirname(loaded[0].path), "averaged.json")
    return runs.average_runs(loaded, out, method=method, weights=weights)


def fitted_weights(loaded, method):
    """(weights of the runs, lines that tell them and the errors on the rows that they were not fitted on)."""
    labels = loaded[0].labels
    if labels is None or len(labels) < 2 or (labels < 0).any() or any(run.all_scores is None for run in loaded):
        raise UsageError("--fit-weights needs labelled files of --eval --scores all")
    for run in loaded:
        runs.same_images(loaded[0], run)
    fitted, judged = slice(0, None, 2), slice(1, None, 2)
    weights = fusion.fit_weights([np.asarray(run.all_scores[fitted]) for run in loaded], labels[fitted], method)
    blocks = [np.asarray(run.all_scores[judged]) for run in loaded]
    errors = {f"{weight:.3f}  {printable(run.path)}": block for weight, run, block in zip(weights, loaded, blocks)} | {
        "equal weights": fusion.fuse(blocks, method),
        "these weights": fusion.fuse(blocks, method, weights),
    }
    lines = [f"weights ({method}), fitted on every other row, and top-1 error on the rest:"]
    lines += [f"  {name}: {np.mean(said.argmax(axis=1) != labels[judged]):.4f}" for name, said in errors.items()]
    return weights, lines


def merge_files(paths, out=None):
    """Join the shards at `paths`; returns the path of the whole."""
    out = out or os.path.join(os.path.dirname(paths[0]), "merged.json")
    merge_shards(paths, out)
    return out


def score_runs(loaded, ks, tie_rule, per_class):
    """One card, or a list of cards when there are several runs."""
    cards = [scorecard.score(run, ks=ks, tie_rule=tie_rule, per_class=per_class) for run in loaded]
    lines = []
    for card in cards:
        if len(cards) > 1:
            lines.append(("\n" if lines else "") + printable(card["predictions"]))
        lines += scorecard.text(card)
    cards = scorecard.without_nan(cards)
    return (cards if len(cards) > 1 else cards[0]), lines


def compare_files(path_a, path_b, ks, tie_rule):
    """The paired comparison of two files over the same images, for each k."""
    a, b = runs.load_run(path_a), runs.load_run(path_b)
    runs.same_images(a, b)
    if a.labels is None:
        raise DataError(f"{a.path}: the list has no labels, so no run is better than another")
    found = {
        f"top{k}": intervals.compare(
            a.labels,
            scorecard.outcomes(a, k, tie_rule),
            scorecard.outcomes(b, k, tie_rule),
            max(a.class_range, b.class_range),
        )
        for k in ks
    }
    result = {"a": a.path, "b": b.path, **{k: scorecard.without_nan(value._asdict()) for k, value in found.items()}}
    return result, list(scorecard.comparison_text(a.path, b.path, found))
