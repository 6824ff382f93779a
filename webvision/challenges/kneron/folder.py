"""Kneron's end-to-end evaluation: a folder with a JSON file for each image, against one JSON file of true labels.

    prediction   {"img_path": "a.jpg", "0_0": [[score, label], ...]}      any order of pairs; the highest score is first
    truth        {"a.jpg": label, ...}
    class map    {"0": "cat", ...} or {"cat": 0, ...}

A label is an id or a name. What the public documentation leaves open is defined here: a picture is matched by its
whole path, then by its base name if only one truth has it; every truth needs one prediction, and every prediction a
truth.
"""

import math
import os

import numpy as np

from webvision.errors import DataError, printable
from webvision.files import atomic_write, read_untrusted_json
from webvision.scoring.figures import scorecard
from webvision.scoring.predictions.file import list_faults
from webvision.scoring.predictions.loaded import LoadedRun
from webvision.scoring.predictions.rows import describe, label_fault
from webvision.scoring.predictions.scan import Arrays

MAX_BYTES = 1 << 26
PAIRS_KEY = "0_0"


class ClassMap:
    """Ids and names of classes, in both directions."""

    def __init__(self, names):
        self.names = names  # by id
        self._ids = {name: i for i, name in enumerate(names)}

    def id_of(self, label):
        """The id of a label that is an id or a name; ValueError if it is neither."""
        if type(label) is int and 0 <= label < len(self.names):
            return label
        if type(label) is str and label in self._ids:
            return self._ids[label]
        raise ValueError(f"label {describe(label)} is no class: neither a name nor an id in 0..{len(self.names) - 1}")


def read_class_map(path):
    """The class map at `path`, written id -> name or name -> id; ids must be 0..n-1."""
    table = read_untrusted_json(path, max_bytes=MAX_BYTES)
    if type(table) is list:
        table = {str(i): name for i, name in enumerate(table)}
    if type(table) is not dict or not table:
        raise DataError(f"{path}: {describe(table)}, not an object of class ids and names")
    keys_are_ids, values_are_ids = all(map(_is_id, table)), all(map(_is_id, table.values()))
    if keys_are_ids and not values_are_ids:
        names = {int(i): name for i, name in table.items()}
    elif values_are_ids:  # also {"7": 0}: classes called by a number
        names = {int(i): name for name, i in table.items()}
    else:
        raise DataError(f"{path}: neither id -> name nor name -> id: one side must be whole numbers from 0 up")
    wrong = [name for name in names.values() if type(name) is not str]
    if wrong or sorted(names) != list(range(len(table))) or len(set(names.values())) != len(table):
        raise DataError(
            f"{path}: "
            + (
                f"class name {describe(wrong[0])} is not a text"
                if wrong
                else f"{len(table)} entries need the ids 0 to {len(table) - 1} and as many names, each once"
            )
        )
    return ClassMap([names[i] for i in range(len(names))])


def _is_id(value):
    return (
        type(value) is int
        and value >= 0
        or type(value) is str
        and value.isascii()
        and value.isdigit()
        and len(value) < 10
    )


def load_folder(preds, gts, class_map_path=None):
    """The predictions in the folder `preds` with the labels of `gts`, as a LoadedRun; DataError listing every fault by
    its file."""
    truth = read_untrusted_json(gts, max_bytes=MAX_BYTES)
    if type(truth) is not dict:
        raise DataError(f"{gts}: {describe(truth)}, not an object image -> label")
    if not truth:
        raise DataError(f"{gts}: no image in it, so there is nothing to score")
    reasons = {image: None if type(label) is str else label_fault(label) for image, label in truth.items()}
    if wrong := [f"{image!r}: {reason}" for image, reason in reasons.items() if reason]:
        raise DataError("\n".join(list_faults(gts, wrong)))
    if not os.path.isdir(preds):
        raise DataError(f"{preds}: no such folder; it should hold a JSON file for each image")
    files = sorted(name for name in os.listdir(preds) if name.endswith(".json"))
    rows, faults = {}, []
    matcher = _Matcher(truth)
    for file in files:
        try:
            image, pairs = _read_prediction(os.path.join(preds, file), matcher)
            if image in rows:
                raise ValueError(f"image {image!r} was predicted by {rows[image][0]} already")
            rows[image] = file, pairs
        except (ValueError, DataError) as error:
            faults.append(f"{file}: {error}")
    faults += [f"no prediction for {image!r}" for image in truth if image not in rows]
    classes = read_class_map(class_map_path) if class_map_path else _derived_classes(truth, rows)
    labels, ranked = {}, {}
    for image in truth:
        try:
            labels[image] = classes.id_of(truth[image])
        except ValueError as error:
            faults.append(f"{os.path.basename(gts)}: {image!r}: {error}")
    for image, (file, pairs) in rows.items():
        try:
            ranked[image] = _ranked(pairs, classes)
        except ValueError as error:
            faults.append(f"{file}: {error}")
    if faults:
        raise DataError("\n".join(list_faults(preds, faults)))
    names = list(truth)
    top = np.full((len(names), max(map(len, ranked.values()))), -1, np.int32)  # -1: this image has fewer pairs
    for row, name in enumerate(names):
        top[row, : len(ranked[name])] = ranked[name]
    arrays = Arrays(names, np.array([labels[name] for name in names], np.int64), top, None, [None] * len(names))
    return LoadedRun(preds, {"classes": {"count": len(classes.names), "names": classes.names}}, arrays)


class _Matcher:
    """Finds the truth's name of a predicted image."""

    def __init__(self, truth):
        self._truth = truth
        self._by_base = {}
        for image in truth:
            self._by_base.setdefault(os.path.basename(image), []).append(image)

    def find(self, path):
        if path in self._truth:
            return path
        found = self._by_base.get(os.path.basename(path), [])
        if len(found) == 1:
            return found[0]
        raise ValueError(
            f"image {path!r} is not in the truth"
            if not found
            else f"image {path!r} could be {found[0]!r} or {found[1]!r}; write its whole path"
        )


def _read_prediction(path, matcher):
    row = read_untrusted_json(path, max_bytes=MAX_BYTES)
    if type(row) is not dict or type(row.get("img_path")) is not str:
        raise ValueError('no "img_path"')
    pairs = row.get(PAIRS_KEY)
    if type(pairs) is not list:
        raise ValueError(f'"{PAIRS_KEY}" is {describe(pairs)}, not a list of [score, label]')
    if not pairs:
        raise ValueError("no [score, label] pair")
    for pair in pairs:
        if type(pair) is not list or len(pair) != 2:
            raise ValueError(f"{describe(pair)} is not [score, label]")
        if type(pair[0]) not in (int, float) or not math.isfinite(pair[0]):
            raise ValueError(f"score {describe(pair[0])} is not a finite number")
    return matcher.find(row["img_path"]), pairs


def _ranked(pairs, classes):
    """Class ids, highest score first, ties by the lowest id."""
    ids = [classes.id_of(label) for _, label in pairs]
    if len(set(ids)) != len(ids):
        raise ValueError("a class is named twice")
    return [ids[i] for i in sorted(range(len(ids)), key=lambda i: (-pairs[i][0], ids[i]))]


def _derived_classes(truth, rows):
    """Without a class map: the ids that occur, or the names that occur in sorted order. Both kinds together need a
    map."""
    used = [*truth.values(), *(label for _, pairs in rows.values() for _, label in pairs)]
    if all(type(label) is int for label in used):
        return ClassMap([str(i) for i in range(min(max(used), 2**20) + 1)] if min(used) >= 0 else [])
    if all(type(label) is str for label in used):
        return ClassMap(sorted(set(used)))
    raise DataError("labels are ids in one place and names in another; --class-map FILE says which belong together")


def write_results(path, card):
    """`eval_results.txt`: accuracies, then precision, recall and F1 over all and for each class."""
    with atomic_write(path) as file:
        file.write(f"images: {card['images']}\nclasses: {card['classes']}\n")
        for k, found in card["errors"].items():
            file.write(f"top-{k[3:]} accuracy: {1 - found['error']:.4f}\n")
        for kind, found in card["averages"].items():
            file.write(
                f"{kind}: precision {found['precision']:.4f} recall {found['recall']:.4f} f1 {found['f1']:.4f}\n"
            )
        file.write("\nclass\timages\tprecision\trecall\tf1\n")
        for row in card["per_class"]:
            file.write(
                "\t".join(scorecard.cell(row[key]) for key in ("name", "images", "precision", "recall", "f1")) + "\n"
            )


def score_folder(preds, gts, class_map, ks, results):
    """Kneron's evaluation of a folder, written to `results` too.

    Without `ks`: top-1, and top-5 or the largest k that the files can answer.
    """
    run = load_folder(preds, gts, class_map)
    stored = run.arrays.top.shape[1]
    card = scorecard.score(run, ks=ks or tuple(dict.fromkeys((1, min(5, stored)))), per_class=True)
    write_results(results, card)
    return scorecard.without_nan(card), [*scorecard.text(card), "", f"written to {printable(results)}"]
