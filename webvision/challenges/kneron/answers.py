"""What prediction writes, in Kneron's shapes: one JSON for all, one for each picture, a table; and the class map.

    inference_result.json   {"img_path": "a.jpg", "0_0": [[score, label], ...]}   of one picture; a list of them of many
    per-file JSONs          the first form, a file for each: what the end-to-end evaluation (folder.py) reads
    CSV                     img_path, then label and score of the best, the second, ...
    class_id.json           {"0": "ants", "1": "bees"}

Scores are probabilities, highest first. A label is the class's name, or its id on request. A picture that could not be
read has no pairs and says why, under "problem".
"""

import csv
import hashlib
import os

from webvision.challenges.kneron.folder import PAIRS_KEY
from webvision.files import atomic_write, write_json


def answer(name, ids, scores, names, *, label_ids=False, problem=None):
    """The JSON value of one picture."""
    if problem:
        return {"img_path": name, PAIRS_KEY: [], "problem": problem}
    labels = ids if label_ids else [names[i] for i in ids]
    return {"img_path": name, PAIRS_KEY: [[round(float(s), 6), label] for s, label in zip(scores, labels, strict=True)]}


def write_answers(path, answers, *, single):
    """`inference_result.json`: the one answer as it is, or a list."""
    write_json(path, answers[0] if single else answers)


def write_per_file(folder, answers):
    """One JSON for each answer, in `folder`. Pictures of one name in two folders get a hash of their path added."""
    os.makedirs(folder, exist_ok=True)
    taken = set()
    for value in answers:
        base = os.path.basename(value["img_path"])
        if base in taken:
            base += "." + hashlib.sha256(value["img_path"].encode("utf-8", "surrogateescape")).hexdigest()[:8]
        taken.add(base)
        write_json(os.path.join(folder, f"{base}.json"), value)


def write_csv(path, answers):
    """A table: img_path,label_1,score_1,label_2,score_2,...,problem."""
    width = max(len(value[PAIRS_KEY]) for value in answers)
    with atomic_write(path) as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(
            ["img_path", *(f"{part}_{k + 1}" for k in range(width) for part in ("label", "score")), "problem"]
        )
        for value in answers:
            pairs = [cell for score, label in value[PAIRS_KEY] for cell in (_plain(label), score)]
            filler = [""] * (2 * width - len(pairs))
            table.writerow([_plain(value["img_path"]), *pairs, *filler, value.get("problem", "")])


def _plain(text):
    """A text that no spreadsheet takes for a formula: those start with one of = + - @."""
    return f"'{text}" if str(text)[:1] in ("=", "+", "-", "@") else text


def write_class_map(path, names):
    """`class_id.json`: {"0": name, ...}."""
    write_json(path, {str(i): name for i, name in enumerate(names)})
