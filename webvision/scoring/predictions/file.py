"""The prediction file: names, class ids and scores of every image, written and read as a stream.

The whole is one JSON document, and every prediction has a line of its own:

    {"format":"webvision-predictions","version":1,"header":{...},"predictions":[
    {"name":"val000001.jpg","label":3,"top":[3,7,1,0,9],"scores":[0.91,0.04,0.02,0.01,0.005]},
    ...
    ],"rows":50000,"names_sha256":"..."}

Everything that a file says of an image hangs on the image's name; nothing is ever paired by position. A row
with a `problem` is of a picture that could not be read: its ids only fill the row, and it is wrong in every score, for
every k. The hash over
the names at the end tells a reader without the list at hand that no row was lost, added or exchanged.
"""

import contextlib
import hashlib
import json
import os
import stat

import numpy as np

from webvision.environment import DOOR
from webvision.errors import DataError, IncompleteError
from webvision.files import atomic_write, parse_json
from webvision.scoring.predictions.rows import (
    FORMAT,
    VERSION,
    check_batch,
    check_frame,
    format_rows,
    name_bytes,
    parse_row,
)
from webvision.scoring.predictions.scan import Scan, Unreadable
from webvision.scoring.predictions.score_matrix import ScoreMatrix, open_score_matrix

DEFAULT_PATH = os.path.join("train_log", "predictions.json")
MAX_LINE = 1 << 24  # bytes; 5,000 class ids with scores and a long name need 0.1 MB, a header with class names 0.3 MB
MAX_WHOLE = 1 << 28  # a document whose lines were re-arranged (by another tool) is read as a whole, up to this size
SHOWN_FAULTS = 50
UNREADABLE = (
    "rows with a problem are of pictures that could not be read: their ids are a fall-back, wrong in every score"
)
CHUNK = 4096


class PredictionWriter:
    """Write predictions batch by batch; the file appears, whole, when the `with` block ends well.

    The same calls give the same bytes. `write(..., all_scores=matrix)` in every call keeps the scores of all
    classes too, in `<path without .json>.scores.npy` beside the file (5,000 classes x 290,000 images are 5.8 GB).
    """

    def __init__(self, path, header):
        self._path = os.fspath(path)
        self._header = dict(header)
        self._num_classes = (header.get("classes") or {}).get("count")
        self._stack = contextlib.ExitStack()
        self._matrix = None
        self._k = None
        self._names_hash = hashlib.sha256()
        self.rows = self._unreadable = 0

    def __enter__(self):
        self._file = self._stack.enter_context(atomic_write(self._path))
        header = json.dumps(self._header, allow_nan=False, separators=(",", ":"))
        self._file.write(f'{{"format":"{FORMAT}","version":{VERSION},"header":{header},"predictions":[')
        return self

    def write(self, names, labels, top, scores, problems=None, *, all_scores=None):
        """Append a batch: names[n], labels[n] (None or negative: unlabelled), top[n,k], scores[n,k], problems[n] or
        None."""
        finite = np.isfinite(np.asarray(scores, np.float32)).all(axis=-1)
        if not finite.all():
            raise DataError(
                f"the scores of {names[int(np.argmin(finite))]!r} are not finite: the network's weights or its "
                "input are broken"
            )
        labels, top, scores = check_batch(names, labels, top, scores, self._num_classes)
        if self._k not in (None, top.shape[1]):
            raise ValueError(f"{top.shape[1]} class ids a row after rows of {self._k}")
        self._k = top.shape[1]
        self._write_matrix(all_scores, len(names))
        for line in format_rows(names, labels, top, scores, problems):
            self._file.write(",\n" if self.rows else "\n")
            self._file.write(line)
            self.rows += 1
        self._unreadable += sum(problem is not None for problem in problems or ())
        for name in names:
            self._names_hash.update(name_bytes(name))

    def _write_matrix(self, all_scores, rows):
        if all_scores is None:
            if self._matrix is not None:
                raise ValueError("all_scores came with an earlier batch and is missing now")
            return
        if self._matrix is None:
            if self.rows:
                raise ValueError("all_scores was missing in an earlier batch")
            self._matrix_stack = self._stack.enter_context(contextlib.ExitStack())
            self._matrix = self._matrix_stack.enter_context(ScoreMatrix(matrix_path(self._path), all_scores.shape[1]))
        if len(all_scores) != rows:
            raise ValueError(f"{len(all_scores)} rows of all_scores for {rows} names")
        self._matrix.append(all_scores)

    def __exit__(self, kind, value, trace):
        if kind is None:
            try:
                self._finish()
            except BaseException as error:
                self._stack.__exit__(type(error), error, error.__traceback__)
                raise
        return self._stack.__exit__(kind, value, trace)

    def _finish(self):
        expected = expected_rows(self._header)
        if expected is not None and self.rows != expected:
            raise IncompleteError(
                f"{self._path}: {self.rows} predictions for a list of {expected} images; nothing was written"
            )
        tail = {"rows": self.rows, "names_sha256": self._names_hash.hexdigest()}
        if self._unreadable:
            tail["unreadable"] = {"rows": self._unreadable, "note": UNREADABLE}
        if self._matrix is not None:
            self._matrix_stack.close()  # on the disk, under its name, before the file that refers to it
            tail["all_scores"] = self._matrix.reference()
        self._file.write("\n]," + json.dumps(tail, separators=(",", ":"))[1:] + "\n")


def matrix_path(path):
    """Where the scores of all classes lie that belong to the prediction file `path`."""
    return os.path.splitext(os.fspath(path))[0] + ".scores.npy"


def expected_rows(header):
    """How many predictions a file with `header` must hold, or None if the header does not say."""
    if shard := header.get("shard"):
        return shard["stop"] - shard["start"]
    return (header.get("list") or {}).get("rows")


def open_predictions(path):
    """The prediction file at `path`, its header read and checked; DataError when it is none."""
    return Predictions(path)


class Predictions:
    """A prediction file opened for reading. Iterating streams `Prediction` after `Prediction`, and stops at the first
    fault."""

    def __init__(self, path):
        self.path = os.fspath(path)
        try:
            if not stat.S_ISREG(os.stat(self.path).st_mode):
                raise DataError(f"{self.path}: is a folder or a device; name the predictions.json itself")
            with open(self.path, "rb") as file:
                first = file.readline(MAX_LINE)
        except FileNotFoundError:
            raise DataError(
                f"{self.path}: no such file; `{DOOR} eval --load CHECKPOINT --data DIR` writes it"
            ) from None
        self._by_line = first.startswith(b'{"format":"%s"' % FORMAT.encode()) and first.endswith(b'"predictions":[\n')
        self._document = (
            self._parse(first[:-1].decode("ascii", "replace") + "]}", 1) if self._by_line else self._read_whole()
        )
        self.header = check_frame(self.path, self._document)
        self.num_classes = (self.header.get("classes") or {}).get("count")
        self.k = self.header.get("k")

    def __iter__(self):
        for first_row, values in self._blocks():
            for row, value in enumerate(values, first_row):
                value = value.faults if type(value) is Unreadable else parse_row(value, self.k, self.num_classes)
                if type(value) is list:
                    raise DataError(f"{self.path}: row {row}: {'; '.join(value)}")
                self.k = len(value.top)
                yield value

    def arrays(self):
        """The whole file as `Arrays`; DataError listing every fault with its row number if there are any."""
        arrays, faults = self.scan()
        if faults:
            raise DataError("\n".join(list_faults(self.path, faults)))
        return arrays

    def scan(self):
        """(Arrays of the sound rows, every fault of the file as a sentence with its row number)."""
        found = Scan(self.k, self.num_classes)
        for first_row, values in self._blocks():
            found.add(first_row, values)
        self.k = found.k
        faulty = bool(found.faults)
        arrays = found.arrays()
        return arrays, found.faults + ([] if faulty else self._tail_faults(found.rows, found.names_sha256()))

    def all_scores(self):
        """float32[n, classes], memory-mapped and verified against the hash in this file; None if it holds none."""
        if self._by_line:
            for _ in self._lines():
                pass  # the reference stands at the end
        reference = self._document.get("all_scores")
        return None if reference is None else open_score_matrix(matrix_path(self.path), reference)

    def _tail_faults(self, rows, names_hash):
        """What the end of the file and the header say against its `rows` rows."""
        faults = []
        tail_rows, tail_hash = self._document.get("rows"), self._document.get("names_sha256")
        expected = expected_rows(self.header)
        if expected is not None and rows != expected:
            faults.append(f"row {rows}: the file ends here, but the list has {expected} images")
        if tail_rows is not None and rows != tail_rows:
            faults.append(f"row {rows}: the file ends here, but says that it holds {tail_rows} rows")
        elif tail_hash is not None and names_hash != tail_hash:
            faults.append(
                f"rows 1 to {rows}: the names are not those that were written (names_sha256 differs): rows were "
                "exchanged or renamed"
            )
        return faults

    def _blocks(self):
        """(row number of the first, decoded rows) for every `CHUNK` rows; a row that is no JSON is `Unreadable`."""
        if not self._by_line:
            rows = self._document["predictions"]
            yield from ((start + 1, rows[start : start + CHUNK]) for start in range(0, len(rows), CHUNK))
            return
        lines, first_row = [], 1
        for line in self._lines():
            lines.append(line)
            if len(lines) == CHUNK:
                yield first_row, _decode_lines(lines)
                first_row, lines = first_row + CHUNK, []
        yield first_row, _decode_lines(lines)

    def _lines(self):
        """The text of each row, without its comma; leaves the end of the document in `_document`."""
        with open(self.path, "rb") as file:
            file.readline(MAX_LINE)
            row, open_row = 0, False  # open_row: the line before promised another one, by its comma
            while line := file.readline(MAX_LINE):
                if line[:1] == b"]":
                    self._read_tail(line, row, open_row)
                    if rest := file.read(1):
                        raise DataError(
                            f"{self.path}:{row + 3}: something ({rest!r}...) follows the end of the document"
                        )
                    return
                if row and not open_row:
                    raise DataError(f"{self.path}: row {row}: no comma after this row, but another line follows")
                row += 1
                text = line.rstrip(b"\r\n")
                open_row = text.endswith(b",")
                if line.endswith(b"\n"):
                    yield text[:-1] if open_row else text
                elif len(line) == MAX_LINE:
                    raise DataError(f"{self.path}: row {row}: longer than {MAX_LINE} bytes; this is no prediction file")
        raise DataError(
            f"{self.path}: row {row}: the file ends in or after this row, without its closing bracket: it was cut "
            "off; run --eval again"
        )

    def _read_tail(self, line, row, open_row):
        if open_row:
            raise DataError(f"{self.path}: row {row}: a comma, but no row follows")
        if len(line) == MAX_LINE:
            raise DataError(f"{self.path}:{row + 2}: longer than {MAX_LINE} bytes; this is no prediction file")
        self._document.update(
            self._parse('{"predictions":[' + line.decode("ascii", "replace"), row + 2, f"after row {row}")
        )

    def _parse(self, text, line, where=""):
        try:
            return parse_json(text)
        except ValueError as error:
            raise DataError(f"{self.path}:{line}: {where + ': ' if where else ''}not valid JSON: {error}") from None

    def _read_whole(self):
        """The document of a file that another program wrote or re-formatted."""
        size = os.path.getsize(self.path)
        if size > MAX_WHOLE:
            raise DataError(
                f"{self.path}: {size} bytes that are not one prediction a line; files of that form are read up to "
                f"{MAX_WHOLE} bytes"
            )
        with open(self.path, "rb") as file:
            text = file.read()
        try:
            return parse_json(text.decode("utf-8-sig"))
        except ValueError as error:
            rows = max(0, text.count(b'"top"'))
            raise DataError(f"{self.path}: not valid JSON: {error} (in or after row {rows})") from None


def list_faults(path, faults):
    """Lines for a message: every fault, up to a screenful or two, then how many more there are."""
    path = os.fspath(path)
    yield f"{path}: {faults[0]}"
    yield from (f"{path}: {fault}" for fault in faults[1:SHOWN_FAULTS])
    if len(faults) > SHOWN_FAULTS:
        yield f"{path}: ... and {len(faults) - SHOWN_FAULTS} more"


def _decode_lines(lines):
    """The rows in `lines`: all at once when they are sound, else one by one, so that the faulty ones are known."""
    try:
        rows = parse_json((b"[" + b",".join(lines) + b"]").decode("utf-8"))
        if len(rows) == len(lines):  # not so when a line holds two rows
            return rows
    except ValueError:
        pass
    return [_decode_line(line) for line in lines]


def _decode_line(line):
    try:
        return parse_json(line.decode("utf-8"))
    except ValueError as error:
        return Unreadable([f"not valid JSON: {error}"])
