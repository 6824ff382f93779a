"""The last stage: what the chosen weights say of val, its figures, and a page one can act on."""

import contextlib
import os

import numpy as np

from webvision.challenges.kneron.folder import write_results
from webvision.data.loader.batches import EvalBatches
from webvision.data.loader.spec import BatchSpec
from webvision.errors import DataError, UsageError, printable
from webvision.files import atomic_write, write_json
from webvision.inference.evaluate import Outputs, evaluate, prediction_header
from webvision.inference.predict import predict
from webvision.inference.predictor import Predictor
from webvision.inference.provenance import classes_in_header
from webvision.prep.own_folder.gather import gathered
from webvision.scoring.figures import scorecard
from webvision.scoring.predictions.loaded import LoadedRun, load_run
from webvision.scoring.predictions.scan import Arrays
from webvision.scoring.report.report import Sources, build_report

PREDICTIONS, RESULTS, FIGURES, REPORT = "predictions.json", "eval_results.txt", "eval_results.json", "report.html"


def judge(weights, network, split, folder, *, data, card, computing, batch, workers):
    """Predict a Split with `weights`, and leave predictions, figures and a report in `folder`; returns the
    scorecard."""
    path = os.path.join(folder, PREDICTIONS)
    with (
        Predictor(network, computing.arithmetic, weights, preset=card.preset, devices=computing.devices) as predictor,
        contextlib.closing(EvalBatches(split, BatchSpec(card.preset, batch), workers=workers)) as batches,
    ):
        header = prediction_header(
            split.index,
            classes=classes_in_header(card.classes, card),
            network=network,
            preset=card.preset,
            checkpoint=predictor.checkpoint,
        )
        evaluate(predictor, batches, split.index, header=header, outputs=Outputs(path, all_scores=True))
    card_of_scores = _write_figures(load_run(path), folder)
    run_dir = folder if os.path.exists(os.path.join(folder, "stats.json")) else None  # a probe has no curves
    page, _ = build_report([path], Sources(data, run_dir, os.path.join(data, "meta", "synsets.txt")))
    with atomic_write(os.path.join(folder, REPORT)) as file:
        file.write(page)
    return card_of_scores


def _write_figures(run, folder, results=None):
    """`eval_results.txt` and the same as JSON; returns the scorecard."""
    stored = run.arrays.top.shape[1]
    found = scorecard.score(run, ks=tuple(dict.fromkeys((1, min(5, stored)))), per_class=True)
    found["confusion"] = confusion(run).tolist()
    write_results(results or os.path.join(folder, RESULTS), found)
    write_json(os.path.join(folder, FIGURES), scorecard.without_nan(found))
    return found


def confusion(run):
    """int64 [classes, classes]: how often pictures of the row's class were taken for the column's."""
    table = np.zeros((run.class_range, run.class_range), np.int64)
    predicted = run.arrays.top[:, 0]
    named = predicted >= 0  # not where the picture could not be read
    np.add.at(table, (run.labels[named], predicted[named]), 1)
    return table


def judge_folder(snapshot, model, folder, results, *, batch=64, workers=0, jobs=1):
    """Figures of a model over a folder of class folders, which it need not have been trained on: (scorecard, lines).

    A folder with a val in it is judged by that. A class is its folder's name; one that the model does not know is an
    error, one without pictures is none.
    """
    top = _folder_to_judge(folder)
    ids = {name: i for i, name in enumerate(snapshot.names)}
    with gathered(top, jobs=jobs) as found:
        kept = [row for row, name in enumerate(found.names) if os.sep in name]
        labels = [found.names[row].split(os.sep)[0] for row in kept]
        if unknown := sorted(set(labels) - set(ids)):
            raise DataError(
                f"{printable(top)}: '{printable(unknown[0])}' is no class of this model, which knows "
                f"{', '.join(map(printable, snapshot.names[:8]))}; rename or remove the folder"
            )
        said = list(
            predict(
                model, [found.paths[row] for row in kept], snapshot.preset, top=len(ids), batch=batch, workers=workers
            )
        )
    good = [one for one in said if not one.problem]
    if not good:
        raise DataError(f"{printable(top)}: no picture in a class folder can be read")
    arrays = Arrays(
        [found.names[kept[one.row]] for one in good],
        np.array([ids[labels[one.row]] for one in good], np.int64),
        np.array([one.ids for one in good], np.int32),
        np.array([one.scores for one in good], np.float32),
        [None] * len(good),
    )
    run = LoadedRun(top, {"classes": {"count": len(ids), "names": list(snapshot.names)}}, arrays)
    card = _write_figures(run, os.path.dirname(results) or ".", results)
    lines = [*scorecard.text(card), "", *confusion_lines(card["confusion"], snapshot.names)]
    if len(good) < len(said):
        bad = next(one for one in said if one.problem)
        lines.append(f"{len(said) - len(good)} could not be read, {printable(found.names[kept[bad.row]])} first")
    return scorecard.without_nan(card), [*lines, f"written to {printable(results)}"]


def _folder_to_judge(folder):
    if not os.path.isdir(folder):
        raise UsageError(
            f"--data-dir {printable(folder)}: no such folder; it should hold class folders, or val with them"
        )
    for name in ("val", "valid", "validation"):
        if os.path.isdir(os.path.join(folder, name)):
            return os.path.join(folder, name)
    return folder


def confusion_lines(table, names, most=12):
    """A confusion matrix for a person: rows are the truth; left out where there are many classes."""
    if len(names) > most:
        return []
    wide = max(len(printable(name)) for name in names)
    lines = [f"{'truth':>{wide}}  said: " + ", ".join(f"{i} {printable(name)}" for i, name in enumerate(names))]
    for name, row in zip(names, table, strict=True):
        lines.append(f"{printable(name):>{wide}}  " + " ".join(f"{count:5d}" for count in row))
    return lines
