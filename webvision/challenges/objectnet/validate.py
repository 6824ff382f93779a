"""The ObjectNet challenge's verdict on a predictions.csv, and what that verdict does not say.

`report` and `exit_code` are the official validator's, case by case: it stops at the first error, takes the ids from
columns 2, 4, 6, 8, 10, and divides by all answers. `remarks` are ours: every error with its line, and what the
official validator lets through although the submission would score badly.
"""

import csv
import json
import math
import os
from collections import Counter
from typing import NamedTuple

from webvision.errors import DataError, printable
from webvision.files import read_untrusted_json

MAX_ANSWERS = 1 << 26  # bytes; 50,000 names and ids are 2 MB
FIRST_ID, LAST_ID = -1, 312  # 313 ObjectNet classes; -1 is the challenge's "no prediction"
COLUMNS = 11  # name, then five times (id, confidence)
SHOWN = 5  # lines quoted for each kind of remark

BAD_NAME = "Failure to convert first csv column to string"
UNKNOWN = "Image name in first csv column not found in answer set"
DUPLICATE = "Duplicate image name in result csv..rejecting"
BAD_ID = "Failure to convert predictions to integer indices"


class Verdict(NamedTuple):
    report: dict  # what the official validator prints
    exit_code: int  # 0 validated, 1 invalid
    remarks: list  # lines for the person, not part of the official output

    def text(self):
        return json.dumps(self.report, indent=2, sort_keys=True)


def refused(message, remarks=()):
    """The verdict on a file, or a command line, that the official validator refuses with `message`."""
    return Verdict({"prediction_file_errors": [message], "prediction_file_status": "INVALID"}, 1, list(remarks))


def validate(answers_path, predictions_path, *, range_check=True):
    """The Verdict on the file at `predictions_path`; no input makes this raise."""
    try:
        with open(answers_path, encoding="utf-8") as file:
            answers = json.load(file)
        len(answers)  # a number is no set of answers
    except (OSError, ValueError, TypeError, RecursionError) as error:
        return refused("ObjectNet answer file not available", [f"{answers_path}: {error}"])
    try:
        file = open(predictions_path, encoding="utf-8")
    except (OSError, ValueError) as error:
        return refused(f"Unable to open results file: {predictions_path}", [str(error)])
    with file:
        return _Scorer(answers, predictions_path, range_check).verdict(csv.reader(file))


def score_subset(answers_path, predictions_path):
    """(images, top-1, top-5 in percent) over the images in `answers_path` only, for a file that `validate` accepted.

    The challenge's answers for the classes shared with ImageNet cover 18,574 of the 50,273 images; its validator would
    refuse the other rows as unknown. DataError if the answers cannot be read.
    """
    answers = read_untrusted_json(answers_path, max_bytes=MAX_ANSWERS)
    if not isinstance(answers, dict) or not answers:
        raise DataError(f"{printable(answers_path)}: a JSON object of name and id was expected")
    top1 = top5 = 0
    with open(predictions_path, encoding="utf-8") as file:
        for row in csv.reader(file):
            name = os.path.split(row[0])[1]
            if name in answers:
                ids = _ids(row)
                top1 += ids[0] == answers[name]
                top5 += answers[name] in ids
    return len(answers), 100.0 * top1 / len(answers), 100.0 * top5 / len(answers)


def _ids(row):
    return [int(text) if text else -1 for text in row[1:10:2]]


class _Scorer:
    """Counts hits row by row, remembers the first error (the official one), and collects remarks to the end."""

    def __init__(self, answers, path, range_check):
        self.answers, self.path, self.range_check = answers, path, range_check
        self.lines = {}  # base name -> line of its first row
        self.top1 = self.top5 = 0
        self.first_error = None
        self.kinds, self.examples = Counter(), {}

    def verdict(self, reader):
        try:
            for row in reader:
                self._row(row, reader.line_num)
        except Exception as error:  # as the official one does: whatever the file holds, the answer is a verdict
            self._error(f"Caught exception while parsing csv file: {self.path}", reader.line_num, error)
        if self.first_error:
            return refused(self.first_error, self._remarks())
        total = len(self.answers)
        if not total:  # the official validator divides by zero here
            return refused("ObjectNet answer file not available", ["the answer file holds no answers"])
        report = {
            "accuracy": 100.0 * self.top1 / total,
            "images_scored": len(self.lines),
            "prediction_file_errors": [],
            "prediction_file_status": "VALIDATED",
            "top5_accuracy": 100.0 * self.top5 / total,
            "total_images": total,
        }
        return Verdict(report, 0, self._coverage() + self._remarks())

    def _row(self, row, line):
        if not row:
            return self._error(BAD_NAME, line, "blank line")
        name = os.path.split(row[0])[1]
        if name not in self.answers:
            return self._error(UNKNOWN, line, name)
        if name in self.lines:
            return self._error(DUPLICATE, line, f"{name} stands in line {self.lines[name]} already")
        self.lines[name] = line
        correct = self.answers[name]  # raises if the answers are a list of names, before the ids are looked at
        try:
            ids = _ids(row)
        except ValueError as error:
            hint = "; the ids seem to come first, then the confidences" if _ids_first(row) else ""
            return self._error(BAD_ID, line, f"{error}{hint}")
        if not ids:
            return self._error(f"Caught exception while parsing csv file: {self.path}", line, "a name, no prediction")
        if self.range_check:
            for number in ids:
                if not FIRST_ID <= number <= LAST_ID:
                    return self._error(f"Prediction index <{number}> out of range [{FIRST_ID}, {LAST_ID}]", line, name)
        self.top1 += ids[0] == correct
        self.top5 += correct in ids
        self._look_closer(row, ids, line)

    def _error(self, message, line, detail):
        self.first_error = self.first_error or message
        self._note(f"error: {message}", line, detail)

    def _note(self, kind, line, detail=""):
        self.kinds[kind] += 1
        examples = self.examples.setdefault(kind, [])
        if len(examples) < SHOWN:
            examples.append(f"line {line}{': ' if detail != '' else ''}{str(detail)[:200]}")

    def _look_closer(self, row, ids, line):
        """Note what the official validator accepts in silence."""
        if len(row) != COLUMNS:
            self._note(f"not {COLUMNS} columns; only the first five predictions count", line, len(row))
        if _ids_first(row):
            return self._note(
                "this looks like five ids and then five confidences; the challenge wants id,confidence pairs", line
            )
        if "" in row[1:10:2]:
            self._note("an empty id counts as -1, no prediction", line)
        if max(ids) < 0:
            self._note("no prediction at all, only -1", line)
        named = [number for number in ids if number >= 0]
        if len(set(named)) < len(named):
            self._note("an id occurs twice in one row, which wastes a guess", line)
        confidences = [_number(text) for text in row[2:11:2]]
        if None in confidences:
            self._note("a confidence is not a number", line)
        elif not all(map(math.isfinite, confidences)):
            self._note("a confidence is NaN or infinite", line)
        elif any(later > earlier for earlier, later in zip(confidences, confidences[1:])):
            self._note("confidences do not descend: is the first id the best one?", line)

    def _coverage(self):
        missing = len(self.answers) - len(self.lines)
        if not self.lines:
            return ["the file holds no rows; the hosted challenge rejects an empty file"]
        if not missing:
            return []
        names = [name for name in self.answers if name not in self.lines][:SHOWN]
        return [
            f"{missing} of {len(self.answers)} images have no row and count as wrong: {', '.join(names)}"
            + (", ..." if missing > SHOWN else "")
        ]

    def _remarks(self):
        return [
            f"{kind} ({count} row{'s' if count > 1 else ''}: {'; '.join(self.examples[kind])}"
            f"{'; ...' if count > len(self.examples[kind]) else ''})"
            for kind, count in self.kinds.items()
        ]


def _number(text):
    try:
        return float(text)
    except ValueError:
        return None


def _descending(texts):
    numbers = [_number(text) for text in texts]
    return None not in numbers and numbers == sorted(numbers, reverse=True)


def _ids_first(row):
    """Whether the row reads as five ids and then five confidences, and not as five pairs."""
    return (
        len(row) == COLUMNS
        and all(text.strip().lstrip("+-").isdecimal() for text in row[1:6])
        and _descending(row[6:11])
        and not _descending(row[2:11:2])
    )
