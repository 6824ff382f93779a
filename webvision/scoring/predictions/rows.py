"""What a prediction file may hold: the frame around the rows, and one row, as text and as a tuple."""

import json
import math
from json.encoder import encode_basestring_ascii
from typing import NamedTuple

import numpy as np

from webvision.errors import DataError

FORMAT, VERSION = "webvision-predictions", 1
MAX_CLASSES, MAX_ROWS = 1 << 20, 1 << 40  # tables of this many classes are made from a number in a stranger's header
KEYS = {"name", "label", "top", "scores", "problem"}


class Prediction(NamedTuple):
    """What the model says of one image: class ids, best first, and their scores.

    `problem` is the reason code of a picture that could not be read; its row is kept, with the documented fall-back
    ids.
    """

    name: str
    label: int | None
    top: tuple[int, ...]
    scores: tuple[float, ...]
    problem: str | None = None


def format_rows(names, labels, top, scores, problems):
    """One JSON object a prediction, as text without line ends.

    Scores are float32 in the shortest decimal form that reads back as the same float32. Names are escaped to ASCII,
    lone surrogates (undecodable bytes of file names) included, so that any JSON reader accepts the file.
    """
    score_texts = scores.astype("U32")  # NumPy's float32 -> text is the shortest round trip; 1 us a number
    for i, name in enumerate(names):
        label = "null" if labels is None or labels[i] < 0 else int(labels[i])
        problem = f',"problem":{encode_basestring_ascii(problems[i])}' if problems is not None and problems[i] else ""
        yield (
            f'{{"name":{encode_basestring_ascii(name)},"label":{label},"top":[{",".join(map(str, top[i].tolist()))}],'
            f'"scores":[{",".join(score_texts[i])}]{problem}}}'
        )


def parse_row(row, k=None, num_classes=None):
    """`row` (decoded JSON) as a Prediction, or the list of everything wrong with it."""
    if type(row) is not dict:
        return [f"a prediction is an object, not {describe(row)}"]
    faults = []
    if unknown := sorted(set(row) - KEYS):
        faults.append(f"unknown key {unknown[0]!r:.80}")
    name = row.get("name")
    if type(name) is not str or not name:
        faults.append(f"name is {describe(name)}, not a text")
    label = row.get("label")
    if label is not None:
        faults += [f"label: {fault}" for fault in _class_faults([label], num_classes)]
    faults += ids_faults(row.get("top"), k, num_classes)
    faults += _score_faults(row.get("scores"), row.get("top"))
    problem = row.get("problem")
    if problem is not None and type(problem) is not str:
        faults.append(f"problem is {describe(problem)}, not a text")
    return faults or Prediction(name, label, tuple(row["top"]), tuple(row["scores"]), problem)


def ids_faults(ids, k=None, num_classes=None):
    """Everything wrong with `ids` as the k best classes of one image: a list of sentences, empty when all is well."""
    if type(ids) is not list:
        return [f"top is {describe(ids)}, not a list of class ids"]
    faults = _class_faults(ids, num_classes)
    if k is not None and len(ids) != k:
        faults.append(f"{len(ids)} class ids where {k} are expected")
    elif not ids:
        faults.append("no class ids")
    if not faults and len(set(ids)) != len(ids):
        twice = next(c for c in ids if ids.count(c) > 1)
        faults.append(f"class {twice} is named twice")
    return faults


def _class_faults(ids, num_classes):
    faults = []
    for c in ids:
        if type(c) is not int:  # bool is a subclass of int, hence `type`
            faults.append(f"{describe(c)} is not a class id")
        elif c < 0 or c > 2**31 - 1 or (num_classes is not None and c >= num_classes):
            faults.append(
                f"class id {str(c)[:40]} is outside 0..{num_classes - 1 if num_classes is not None else 2**31 - 1}"
            )
    return faults


def _score_faults(scores, top):
    if type(scores) is not list:
        return [f"scores is {describe(scores)}, not a list of numbers"]
    for score in scores:
        if type(score) not in (int, float) or not math.isfinite(score):
            return [f"score {describe(score)} is not a finite number"]
    if type(top) is list and len(scores) != len(top):
        return [f"{len(scores)} scores for {len(top)} class ids"]
    if any(a < b for a, b in zip(scores, scores[1:])):
        return ["scores are not in descending order"]
    return []


def describe(value):
    """A short name of a JSON value for a message."""
    if value is None:
        return "missing or null"
    if type(value) is int and abs(value) >= 10**40:  # repr of thousands of digits is refused by Python itself
        return "a number of more than 40 digits"
    if type(value) in (bool, int, float, str):
        return f"{type(value).__name__} {value!r:.60}"
    return {list: "a list", dict: "an object"}.get(type(value), type(value).__name__)


def label_fault(label):
    """Why a JSON value cannot be an image's class id, for a message; None if it can."""
    if type(label) is int and 0 <= label < 2**31:
        return None
    if label is None:
        return "no label (null); lists without labels are not scored"
    shown = f"{json.dumps(label):.60}" if type(label) in (bool, float, str) else describe(label)
    if type(label) is bool:
        return f"label {shown} is a truth value; a class id is a whole number from 0 on"
    if type(label) is float and label.is_integer():
        return f"label {shown} is a decimal number; class ids are whole: {label:.0f}"
    if type(label) is str and label.isascii() and label.isdigit():
        return f"label {shown} is text; a class id is a number, without quotes: {label:.10}"
    if type(label) is int and label < 0:
        return f"label {label} is below 0; where it means 'no label', the image cannot be scored"
    return f"label is {describe(label)}, not a class id"


def name_bytes(name):
    """What a name contributes to the hash over all names: its UTF-8 (surrogates included) and a NUL."""
    return name.encode("utf-8", "surrogatepass") + b"\0"


def check_batch(names, labels, top, scores, num_classes):
    """Raise ValueError unless a batch is fit to be written; returns it as arrays (labels None when unlabelled)."""
    top, scores = np.asarray(top), np.asarray(scores, np.float32)
    if top.ndim != 2 or top.shape != scores.shape or len(top) != len(names):
        raise ValueError(f"{len(names)} names, ids of shape {top.shape}, scores of shape {scores.shape}")
    if not np.issubdtype(top.dtype, np.integer):
        raise ValueError(f"class ids are {top.dtype}, not integers")
    if top.size and (top.min() < 0 or (num_classes is not None and top.max() >= num_classes)):
        raise ValueError(f"class ids {top.min()}..{top.max()} with {num_classes} classes")
    if labels is not None:
        labels = np.asarray(labels)
        if labels.shape != (len(names),):
            raise ValueError(f"{len(names)} names, labels of shape {labels.shape}")
        if num_classes is not None and labels.size and labels.max() >= num_classes:
            raise ValueError(f"label {labels.max()} with {num_classes} classes")
    return labels, top, scores


def check_frame(path, document):
    """The header of `document`; DataError unless it is a prediction document of this version with a sensible header."""
    if type(document) is list:
        raise DataError(
            f"{path}: a plain JSON list, not a {FORMAT} document; json2sub.py and eval_score.py read such a list "
            "with its companion"
        )
    if type(document) is not dict or document.get("format") != FORMAT:
        raise DataError(f'{path}: not a prediction file: "format" is not {FORMAT!r}')
    if type(document.get("version")) is not int or document["version"] != VERSION:
        raise DataError(
            f"{path}: version {describe(document.get('version'))} of the format; this program reads version {VERSION}"
        )
    header = document.get("header")
    if type(header) is not dict or type(document.get("predictions")) is not list:
        raise DataError(f'{path}: "header" or "predictions" is missing')
    for part in ("classes", "list", "shard", "model", "checkpoint"):
        if part in header and type(header[part]) is not dict:
            raise DataError(f"{path}: header: {part} is {describe(header[part])}, not an object")
    counts = {
        "k": (header.get("k"), 1),
        "classes.count": (header.get("classes", {}).get("count"), 1),
        "list.rows": (header.get("list", {}).get("rows"), 0),
    }
    if shard := header.get("shard"):
        start, stop = shard.get("start", "missing"), shard.get("stop", "missing")
        counts |= {"shard.start": (start, 0), "shard.stop": (stop, start)}
    for key, (value, least) in counts.items():
        most = MAX_ROWS if key.startswith(("list", "shard")) else MAX_CLASSES
        if value is not None and (type(value) is not int or type(least) is not int or not least <= value <= most):
            raise DataError(f"{path}: header: {key} is {describe(value)}, not a whole number from {least} to {most}")
    return header
