"""All figures of one set of predictions, as one dictionary (for JSON) and as text."""

import numpy as np

from webvision.environment import DOOR
from webvision.errors import DataError, UsageError, printable
from webvision.scoring.figures import intervals, metrics
from webvision.scoring.figures.calibration import reliability
from webvision.scoring.predictions import ranking

SHOWN_PAIRS = 20
PLACEHOLDERS = "Every label is 0: if they only fill the place of labels, as in a test list, these errors mean nothing."


def outcomes(run, k, tie_rule="lowest"):
    """bool[n]: the label is not among the best k of each image of `run` (a `LoadedRun`)."""
    if tie_rule != "lowest" or k > run.arrays.top.shape[1]:
        if run.all_scores is not None:
            return (ranking.label_ranks(run.labels, run.all_scores, tie_rule) >= k) | unreadable(run)
        if tie_rule != "lowest":
            raise UsageError(
                f"{run.path}: --tie-rule {tie_rule} needs the scores of all classes; run --eval with --scores all"
            )
    try:
        k = metrics.check_k(k, run.arrays.top.shape[1], run.class_range)
    except ValueError as error:
        raise UsageError(f"{run.path}: {error}; run --eval with --scores all") from None
    return metrics.topk_wrong(run.labels, run.arrays.top, k)


def unreadable(run):
    """bool[n]: the picture could not be read, so that what stands in its row says nothing of it."""
    return np.array([problem is not None for problem in run.arrays.problems], bool)


def score(run, *, ks=(1, 5), tie_rule="lowest", per_class=False):
    """The figures of `run` as plain numbers, lists and dictionaries."""
    if run.labels is None:
        raise DataError(
            f"{run.path}: the list has no labels, so there is nothing to score; {DOOR} submit makes a submission of it"
        )
    labels, size = run.labels, run.class_range
    wrong = {k: outcomes(run, k, tie_rule) for k in ks}
    card = {
        "predictions": run.path,
        "images": len(labels),
        "classes": size,
        "classes_without_images": int(np.count_nonzero(metrics.class_counts(labels, size) == 0)),
        "labels_are_all_zero": metrics.placeholders(labels),
        "unreadable_images": int(unreadable(run).sum()),
        "tie_rule": tie_rule,
        "errors": {},
    }
    for k in ks:
        card["errors"][f"top{k}"] = {
            "error": metrics.error_rate(wrong[k]),
            "interval": list(intervals.error_interval(wrong[k])),
            "balanced_error": metrics.balanced_error(labels, wrong[k], size),
            "balanced_interval": list(intervals.balanced_interval(labels, wrong[k], size)),
        }
    card |= _first_choice_figures(labels, run.arrays.top[:, 0] if len(labels) else np.zeros(0, int), size)
    card |= _probability_figures(run, metrics.topk_wrong(labels, run.arrays.top, 1))
    card["di_engine"] = {f"acc{k}": 100 * (1 - card["errors"][f"top{k}"]["error"]) for k in ks} | (
        {"loss": card["log_loss"]} if "log_loss" in card else {}
    )
    if per_class:
        card["per_class"] = class_table(run, wrong)
    return card


def _first_choice_figures(labels, predicted, size):
    table = metrics.class_scores(labels, predicted, size)
    averages = {
        "micro": metrics.micro_scores(labels, predicted),
        **{kind: table.average(kind) for kind in ("macro", "weighted")},
    }
    return {
        "averages": {kind: dict(zip(("precision", "recall", "f1"), values)) for kind, values in averages.items()},
        "confused_pairs": [pair._asdict() for pair in metrics.confusion_pairs(labels, predicted, SHOWN_PAIRS)],
    }


def _probability_figures(run, wrong):
    figures = {}
    if run.arrays.scores is not None and len(run.arrays.names):
        try:
            found = reliability(run.arrays.scores[:, 0], wrong)
            figures["calibration"] = {"ece": found.ece, "mce": found.mce}
            if run.all_scores is not None:
                figures["log_loss"] = metrics.log_loss(run.labels, run.all_scores)
        except DataError:
            pass  # logits instead of probabilities: errors have a meaning, confidences have none
    return figures


def class_table(run, wrong):
    """One dictionary a class: images, error for each k of `wrong`, precision, recall and F1 of the first choice."""
    size = run.class_range
    counts = metrics.class_counts(run.labels, size)
    errors = {k: metrics.class_errors(run.labels, values, size) for k, values in wrong.items()}
    found = metrics.class_scores(run.labels, run.arrays.top[:, 0], size)
    names = run.class_names or list(map(str, range(size)))
    rows = [
        {
            "class": c,
            "name": names[c],
            "images": int(counts[c]),
            **{f"top{k}_error": float(errors[k][c]) for k in errors},
            "precision": None,
            "recall": None,
            "f1": None,
        }
        for c in range(size)
    ]
    for c, precision, recall, f1 in zip(found.classes, found.precision, found.recall, found.f1):
        rows[c].update(precision=float(precision), recall=float(recall), f1=float(f1))
    return rows


def without_nan(value):
    """`value` with NaN as None, for JSON."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and value != value else value


def text(card):
    """The card for a person. The first lines are upstream's, to the letter: `Top1: 0.5`, `Balanced Top1: 0.5`."""
    ks = card["errors"]
    yield from (f"Top{k[3:]}: {ks[k]['error']}" for k in ks)
    yield from (f"Balanced Top{k[3:]}: {ks[k]['balanced_error']}" for k in ks)
    absent = f", {card['classes_without_images']} of them without images" if card["classes_without_images"] else ""
    ties = f"ties: {card['tie_rule']}"
    yield f"\n{card['images']} images of {card['classes']} classes{absent}; errors are fractions, {ties}"
    if card["labels_are_all_zero"] and card["classes"] > 1:
        yield PLACEHOLDERS
    if card["unreadable_images"]:
        yield f"{card['unreadable_images']} images could not be read; they count as wrong"
    for k, found in ks.items():
        yield (
            f"95 % intervals  top{k[3:]} {_range(found['interval'])}  balanced top{k[3:]} "
            f"{_range(found['balanced_interval'])}"
        )
    for kind, found in card["averages"].items():
        yield f"{kind:8s} precision {found['precision']:.4f}  recall {found['recall']:.4f}  F1 {found['f1']:.4f}"
    if "calibration" in card:
        loss = f"  log loss {card['log_loss']:.4f}" if "log_loss" in card else ""
        yield f"calibration error (ECE) {card['calibration']['ece']:.4f}{loss}"
    yield (
        "  ".join(f"{name} {value:.4f}" for name, value in card["di_engine"].items())
        + "  (DI-engine's: percent, every image once)"
    )
    if "per_class" in card:
        yield ""
        yield from _class_lines(card["per_class"])


def _class_lines(rows):
    yield "\t".join(rows[0]) if rows else ""
    for row in rows:
        yield "\t".join(map(cell, row.values()))


def cell(value):
    """A value in a table for people: names cannot steer a terminal, nor start a formula where the table is pasted."""
    if value is None or value != value:
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}"
    text = printable(value)
    return f"'{text}" if isinstance(value, str) and text[:1] in ("=", "+", "-", "@") else text


def comparison_text(a, b, found):
    """A `compare` result for each k ({'top1': Comparison, ...}) for a person."""
    yield f"A {printable(a)}\nB {printable(b)}"
    for k, result in found.items():
        yield (
            f"{k}: A {result.error_a:.4f}  B {result.error_b:.4f}  A-B {result.difference:+.4f} "
            f"{_range(result.interval)}  "
            f"only A wrong {result.only_a_wrong}, only B wrong {result.only_b_wrong}, McNemar p {result.p_value:.3g}"
        )
        yield (
            f"balanced {k}: A {result.balanced_a:.4f}  B {result.balanced_b:.4f}  A-B "
            f"{result.balanced_difference:+.4f} "
            f"{_range(result.balanced_interval)}"
        )
    yield "(A-B above 0: B is better; an interval that holds 0 tells nothing)"


def _range(interval):
    return f"[{interval[0]:.4f}, {interval[1]:.4f}]"
