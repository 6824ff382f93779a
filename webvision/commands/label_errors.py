"""Rank the labels of a training list that are probably wrong, by the margins that a run kept (a recipe's `margins`).

webvision label-errors train_log/NAME --data DIR --out suspects.csv --write-weights weights.npy

Nothing is deleted: the list without suspects, and the weights for `train --weights`, are new files.
"""

import argparse
import csv
import json
import os
import re
import sys

from webvision.commands import flags
from webvision.errors import DataError, UsageError, printable
from webvision.files import atomic_write, read_json

FIELDS = ("rank", "line", "name", "label", "class", "margin", "visits")


def make_parser():
    parser = flags.CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN", help="a run folder, or a checkpoint in it: model-STEP")
    parser.add_argument("--data", metavar="DIR", required=True, help="the data set that the run was trained on")
    parser.add_argument(
        "--predictions",
        metavar="FILE",
        help="predictions of the training list with --scores all, by a network that was not trained on it: their "
        "confident joint says how many labels of each class are wrong (default: all whose mean margin is below 0)",
    )
    parser.add_argument("--out", metavar="FILE", help="ranked suspects: .csv or .json")
    parser.add_argument("--write-list", metavar="FILE", help="the training list without the suspects")
    parser.add_argument("--write-weights", metavar="FILE.npy", help="0 for each suspect row, 1 for all others")
    parser.add_argument("--allow-outside", action="store_true", help="accept absolute names and '..' in the list")
    return parser


def main(argv=None):
    args = make_parser().parse_args(argv)
    if args.out and not args.out.endswith((".csv", ".json")):
        raise UsageError(f"--out {printable(args.out)}: the name ends in .csv or .json")
    import numpy as np

    from webvision.data.data_set import DataSet
    from webvision.scoring.figures.label_errors import suspicion

    data = DataSet.open(args.data, allow_outside=args.allow_outside)
    index = data.split("train").index
    means, visits, source = _margins(args.run, index)
    flagged = _flagged(args.predictions, means, index, len(data.classes))
    rows = [row for row in suspicion(means).tolist() if flagged[row]]
    if args.out:
        _write_suspects(args.out, rows, index, (data.classes, means, visits))
    if args.write_list:
        _write_list(args.write_list, index, flagged)
    if args.write_weights:
        with atomic_write(args.write_weights, "wb") as file:
            np.save(file, np.where(flagged, 0, 1).astype(np.float32))
    _tell(rows, index, (data.classes, means), source)


def _margins(run, index):
    """(mean margin, visits, path) of each row; DataError if the run was trained on another list."""
    from webvision.scoring.predictions.margins_file import read_margins

    folder = run if os.path.isdir(run) else os.path.dirname(run)
    names = [os.path.basename(run) + ".margins.npz"] if folder != run else os.listdir(folder)
    found = [(int(match[1]), match[0]) for name in names if (match := re.fullmatch(r"model-(\d+)\.margins\.npz", name))]
    found = [name for _, name in sorted(found) if os.path.exists(os.path.join(folder, name))]
    if not found:
        raise DataError(
            f"{printable(run)}: no margins here; train with --recipe web, or with --set margins=true, which changes "
            "no weight"
        )
    trained_on = read_json(os.path.join(folder, "run.json"))["list_sha256"]
    if trained_on != index.hash:
        raise DataError(f"{printable(run)} was trained on another list than {printable(index.path)}: rows do not match")
    path = os.path.join(folder, found[-1])
    margins = read_margins(path, len(index))
    return margins.mean(), margins.counts, path


def _flagged(predictions, means, index, classes):
    import numpy as np

    from webvision.scoring.figures import label_errors

    if not predictions:
        return label_errors.contradicted(means)
    from webvision.scoring.predictions.loaded import load_run

    run = load_run(predictions)
    if list(run.arrays.names) != list(index.names(range(len(index)))):
        raise DataError(f"{printable(predictions)}: its rows are not those of {printable(index.path)}")
    probabilities = run.all_scores
    if probabilities is None:
        raise DataError(f"{printable(predictions)}: has the best scores only; predict with --scores all")
    joint = label_errors.confident_joint(np.asarray(index.labels, np.int64), np.asarray(probabilities))
    counts = label_errors.wrong_counts(joint, index.counts)
    return label_errors.lowest_of_each_class(means, np.asarray(index.labels), counts)


def _write_suspects(path, rows, index, known):
    classes, means, visits = known
    records = (
        {
            "rank": rank,
            "line": row + 1,
            "name": index.name(row),
            "label": int(index.labels[row]),
            "class": classes[index.labels[row]],
            "margin": round(float(means[row]), 4),
            "visits": int(visits[row]),
        }
        for rank, row in enumerate(rows, 1)
    )
    with atomic_write(path) as file:
        if path.endswith(".json"):
            json.dump(list(records), file, indent=1)
        else:
            writer = csv.DictWriter(file, list(FIELDS), lineterminator="\n")
            writer.writeheader()
            writer.writerows(records)


def _write_list(path, index, flagged):
    import numpy as np

    kept = np.flatnonzero(~flagged)
    with atomic_write(path) as file:
        for row in kept.tolist():
            file.write(f"{index.name(row)} {index.labels[row]}\n")


def _tell(rows, index, known, source):
    import numpy as np

    classes, means = known
    unseen = int(np.isnan(means).sum())
    print(f"{printable(source)}: {len(rows)} of {len(index)} labels are probably wrong")
    if unseen:
        print(f"{unseen} pictures were never shown unmixed and are not judged", file=sys.stderr)
    for row in rows[:10]:
        name = f"{printable(index.name(row))} ({printable(classes[index.labels[row]])})"
        print(f"  line {row + 1}: {name}, margin {means[row]:.2f}")
