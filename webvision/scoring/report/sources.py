"""What the report wants to know of a run beside its predictions: class names, training images a class, training
curves."""

import json
import math
import os
import re
from collections import Counter

import numpy as np

from webvision.data.lists.index import open_index
from webvision.data.lists.text import read_classes
from webvision.errors import DataError, UsageError, printable
from webvision.scoring.report.charts import Series, line_chart, percent

MAX_STATS = 1 << 27
_SYNSET = re.compile(r"(?P<id>n\d{8})\s+(?P<word>[^,]+).*")
CURVES = (  # title, the figures that belong in it, how its values are written, logarithmic
    ("Error", lambda key: "error" in key, percent, False),
    ("Loss", lambda key: key in ("loss", "cost", "total_loss") or key.endswith("-loss"), "{:.3g}".format, False),
    ("Learning rate", lambda key: key in ("learning_rate", "lr"), "{:.1e}".format, True),
)


def class_names(run, data_dir=None, names_path=None):
    """A name for every class: from a file of names, the predictions' header, DATA/meta/synsets.txt, or the ids."""
    size = run.class_range
    if names_path:
        names = _read_names(names_path)
        if len(names) != size:
            raise UsageError(f"{names_path}: {len(names)} lines for {size} classes")
        return names
    if run.class_names:
        return run.class_names
    path = data_dir and os.path.join(data_dir, "meta", "synsets.txt")
    names = read_classes(path) if path and os.path.isfile(path) else []
    return names if len(names) == size else [str(c) for c in range(size)]


def _read_names(path):
    """One name a line. Of `n02165456 ladybug, ladybeetle` that is ladybug, with the synset's id where two classes share
    a word."""
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        found = [_SYNSET.fullmatch(line.strip()) or line.strip() for line in file]
    words = [name if isinstance(name, str) else name["word"] for name in found]
    shared = {word for word, count in Counter(words).items() if count > 1}
    return [
        f"{word} ({name['id']})" if word in shared and not isinstance(name, str) else word
        for name, word in zip(found, words)
    ]


def train_counts(run, data_dir=None):
    """Training images of each class, from the predictions' header or DATA/meta/train.txt; None when neither tells."""
    size = run.class_range
    said = run.header.get("classes", {}).get("train_counts")
    if type(said) is list and len(said) == size and all(type(n) is int and n >= 0 for n in said):
        return np.array(said, np.int64)
    path = data_dir and os.path.join(data_dir, "meta", "train.txt")
    if not path or not os.path.isfile(path):
        return None
    index = open_index(path, size)
    return np.asarray(index.counts) if index.labelled else None


def read_stats(run, run_dir=None):
    """(tensorpack's stats.json of the run as a list of epochs, its path), or ([], None) where there is none.

    Looked for in `run_dir`, else beside the checkpoint, else beside the predictions.
    """
    checkpoint = str(run.header.get("checkpoint", {}).get("path") or "")
    for folder in [run_dir] if run_dir else [checkpoint, os.path.dirname(checkpoint), os.path.dirname(run.path)]:
        path = os.path.join(folder or ".", "stats.json")
        if os.path.isfile(path):
            return _parse_stats(path), path
    if run_dir:
        raise DataError(f"{printable(run_dir)}: holds no stats.json; name the folder of a training run")
    return [], None


def _parse_stats(path):
    try:
        if os.path.getsize(path) > MAX_STATS:
            raise ValueError(f"larger than {MAX_STATS} bytes")
        with open(path, encoding="utf-8") as file:
            epochs = json.load(file)
        if type(epochs) is not list or not all(type(epoch) is dict for epoch in epochs):
            raise ValueError("not a list of objects")
        return epochs
    except (ValueError, RecursionError) as error:
        raise DataError(f"{printable(path)}: {error}; it is no stats.json of a training run") from None


def training_curves(epochs):
    """The charts of errors, loss and learning rate over the epochs, as SVG."""
    keys = dict.fromkeys(key for epoch in epochs for key in epoch)
    charts = []
    for title, wanted, text, log in CURVES:
        series = []
        for key in filter(wanted, keys):
            series.append(
                Series(
                    key,
                    [
                        (epoch.get("epoch_num", number), epoch[key])
                        for number, epoch in enumerate(epochs, 1)
                        if _is_number(epoch.get(key))
                    ],
                )
            )
        charts.append(line_chart(title, series[:8], y_text=text, log=log))
    return "".join(charts)


def _is_number(value):
    return type(value) in (int, float) and math.isfinite(value)
