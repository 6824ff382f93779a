"""Prediction files: one valid JSON document, streamed, whole or absent, and every fault of a row found with its
number."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from tests.support.data_set import ROOT
from webvision.errors import DataError, IncompleteError
from webvision.scoring.predictions.file import PredictionWriter, matrix_path, open_predictions
from webvision.scoring.predictions.scan import NOTHING
from webvision.scoring.predictions.shards import merge_shards
from webvision.scoring.predictions.upstream_lists import is_upstream_list, read_label_list, read_top_list

NAMES = ["a.jpg", "with space.jpg", "\u00e4/\u65e5.png", "raw\udce9byte.jpg", 'quote"\\\n\t<b>.jpg', "f.jpg", "g.jpg"]


def header(rows=len(NAMES), classes=9, k=5, **more):
    return {
        "list": {"path": "meta/val.txt", "sha256": "ab" * 32, "rows": rows},
        "classes": {"count": classes},
        "k": k,
        **more,
    }


def batch(rows=len(NAMES), classes=9, k=5, seed=0):
    rng = np.random.default_rng(seed)
    scores = rng.dirichlet(np.ones(classes) * 0.3, size=rows).astype(np.float32)
    top = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return rng.integers(0, classes, rows), top, np.take_along_axis(scores, top, 1), scores


def write(path, names=NAMES, head=None, step=3, with_matrix=False, labelled=True, problems=None):
    labels, top, scores, matrix = batch(len(names))
    with PredictionWriter(path, head or header(len(names))) as writer:
        for start in range(0, len(names), step):
            part = slice(start, start + step)
            writer.write(
                names[part],
                labels[part] if labelled else None,
                top[part],
                scores[part],
                problems[part] if problems else None,
                all_scores=matrix[part] if with_matrix else None,
            )
    return labels, top, scores, matrix


def test_a_file_reads_back_equal_bit_for_bit(tmp_path):
    path = tmp_path / "p.json"
    problems = [None, "truncated"] + [None] * 5
    labels, top, scores, _ = write(path, problems=problems)
    arrays = open_predictions(path).arrays()
    assert arrays.names == NAMES and arrays.problems == problems
    np.testing.assert_array_equal(arrays.labels, labels)
    np.testing.assert_array_equal(arrays.valid_ids(), top)
    np.testing.assert_array_equal(np.delete(arrays.top, 1, axis=0), np.delete(top, 1, axis=0))
    assert (arrays.top[1] == NOTHING).all()
    assert arrays.scores.tobytes() == scores.tobytes()


def test_the_file_is_one_json_document_with_a_prediction_a_line(tmp_path):
    path = tmp_path / "p.json"
    write(path)
    text = path.read_bytes()
    document = json.loads(text)
    assert document["format"] == "webvision-predictions" and document["version"] == 1
    assert [row["name"] for row in document["predictions"]] == NAMES
    lines = text.decode("ascii").split("\n")
    assert json.loads(lines[1].rstrip(",")) == document["predictions"][0]
    assert len(lines) == len(NAMES) + 3


def test_the_bytes_do_not_depend_on_the_batch_size(tmp_path):
    for step in (1, 2, 7):
        write(tmp_path / f"{step}.json", step=step)
    assert (
        (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes() == (tmp_path / "7.json").read_bytes()
    )


def test_scores_are_the_shortest_text_of_their_float32(tmp_path):
    path = tmp_path / "p.json"
    with PredictionWriter(path, {}) as writer:
        writer.write(["a"], None, np.array([[0, 1, 2, 3]]), np.array([[1, 0.1, 1e-8, 0]], np.float32))
    assert '"label":null' in path.read_text() and '"scores":[1.0,0.1,1e-08,0.0]' in path.read_text()


def test_an_unlabelled_list_has_no_labels(tmp_path):
    write(tmp_path / "p.json", labelled=False)
    assert open_predictions(tmp_path / "p.json").arrays().labels is None


def test_an_empty_list_gives_an_empty_file(tmp_path):
    with PredictionWriter(tmp_path / "p.json", header(0)):
        pass
    assert json.loads((tmp_path / "p.json").read_text())["predictions"] == []
    assert open_predictions(tmp_path / "p.json").arrays().top.shape == (0, 5)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_refused_by_name_and_nothing_is_written(tmp_path, value):
    labels, top, scores, _ = batch()
    scores[3, 1] = value
    with pytest.raises(DataError, match="raw"):
        with PredictionWriter(tmp_path / "p.json", header()) as writer:
            writer.write(NAMES, labels, top, scores)
    assert os.listdir(tmp_path) == []


def test_fewer_rows_than_the_list_is_an_error_and_the_old_file_stays(tmp_path):
    (tmp_path / "p.json").write_text("old")
    with pytest.raises(IncompleteError, match="6 predictions for a list of 7"):
        write(tmp_path / "p.json", NAMES[:6], header(7))
    assert os.listdir(tmp_path) == ["p.json"] and (tmp_path / "p.json").read_text() == "old"


def test_an_error_in_the_middle_leaves_nothing(tmp_path):
    with pytest.raises(KeyError):
        with PredictionWriter(tmp_path / "p.json", header()) as writer:
            labels, top, scores, matrix = batch()
            writer.write(NAMES, labels, top, scores, all_scores=matrix)
            raise KeyError
    assert os.listdir(tmp_path) == []


def test_streaming_stops_at_a_fault_and_arrays_names_all_of_them(tmp_path):
    path = faulty(tmp_path, lambda rows: (rows[1].update(top=[1, 1, 2, 3, 4]), rows[4].update(label=9)))
    iterator = iter(open_predictions(path))
    assert next(iterator).name == "a.jpg"
    with pytest.raises(DataError, match="row 2: class 1 is named twice"):
        next(iterator)
    with pytest.raises(DataError, match=r"(?s)row 2: class 1 is named twice.*row 5: label: class id 9 is outside 0..8"):
        open_predictions(path).arrays()


def faulty(tmp_path, change, by_line=True):
    """A good file, changed by `change(rows)`; written a row a line as ours, or as another program would."""
    path = tmp_path / "p.json"
    write(path)
    document = json.loads(path.read_text())
    change(document["predictions"])
    if by_line:
        lines = path.read_text().split("\n")
        rows = ",\n".join(json.dumps(row) for row in document["predictions"])
        path.write_text("\n".join([lines[0], rows, *lines[-2:]]))
    else:
        path.write_text(json.dumps(document))
    return path


def deep(rows):
    rows[2]["top"] = json.loads("[" * 900 + "]" * 900)


# Fault S1 of the catalogue, one change a case, with the words that must name it.
ROW_FAULTS = {
    "four ids": (lambda r: r[2].update(top=[1, 2, 3, 4]), "row 3: 4 class ids where 5"),
    "six ids": (lambda r: r[2].update(top=[1, 2, 3, 4, 5, 6]), "row 3: 6 class ids where 5"),
    "no ids": (lambda r: r[2].update(top=[]), "row 3: 0 class ids where 5"),
    "class twice": (lambda r: r[2].update(top=[1, 2, 3, 4, 1]), "row 3: class 1 is named twice"),
    "float": (lambda r: r[2].update(top=[1, 2, 3, 4, 5.0]), "row 3: float 5.0 is not a class id"),
    "string": (lambda r: r[2].update(top=[1, 2, "3", 4, 5]), "row 3: str '3' is not a class id"),
    "bool": (lambda r: r[2].update(top=[True, 2, 3, 4, 5]), "row 3: bool True is not a class id"),
    "null": (lambda r: r[2].update(top=[None, 2, 3, 4, 5]), "row 3: missing or null is not a class id"),
    "negative": (lambda r: r[2].update(top=[-1, 2, 3, 4, 5]), "row 3: class id -1 is outside 0..8"),
    "too large": (lambda r: r[2].update(top=[9, 2, 3, 4, 5]), "row 3: class id 9 is outside 0..8"),
    "far too large": (lambda r: r[2].update(top=[10**30, 2, 3, 4, 5]), "row 3: class id 1000000"),
    "nested": (lambda r: r[2].update(top=[[1], 2, 3, 4, 5]), "row 3: a list is not a class id"),
    "deeply nested": (deep, "row 3: 1 class ids where 5|row 3: a list is not"),
    "top is no list": (lambda r: r[2].update(top={"0": 1}), "row 3: top is an object"),
    "no top": (lambda r: r[2].pop("top"), "row 3: top is missing"),
    "no name": (lambda r: r[2].pop("name"), "row 3: name is missing"),
    "name is no text": (lambda r: r[2].update(name=7), "row 3: name is int 7"),
    "unknown key": (lambda r: r[2].update(logits=[]), "row 3: unknown key 'logits'"),
    "label is text": (lambda r: r[2].update(label="3"), "row 3: label: str '3' is not a class id"),
    "label too large": (lambda r: r[2].update(label=9), "row 3: label: class id 9 is outside"),
    "label missing once": (lambda r: r[2].update(label=None), "row 3: no label, unlike the rows before"),
    "score NaN": (lambda r: r[2].update(scores=[float("nan")] * 5), "row 3: .*NaN is not a JSON number|JSON: NaN"),
    "score text": (lambda r: r[2].update(scores=["0.5"] * 5), "row 3: score str '0.5' is not a finite number"),
    "scores ascend": (
        lambda r: r[2].update(scores=[0.1, 0.2, 0.3, 0.4, 0.5]),
        "row 3: scores are not in descending order",
    ),
    "scores short": (lambda r: r[2].update(scores=[0.1]), "row 3: 1 scores for 5 class ids"),
    "row is a list": (lambda r: r.__setitem__(2, [1, 2]), "row 3: a prediction is an object, not a list"),
    "row missing": (lambda r: r.pop(2), "row 6: the file ends here, but the list has 7 images"),
    "row doubled": (lambda r: r.insert(2, r[1]), "row 3: name 'with space.jpg' stands in row 2 too"),
    "name exchanged": (
        lambda r: r[2].update(name="other.jpg"),
        "rows 1 to 7: the names are not those that were written",
    ),
    "rows exchanged": (lambda r: r.reverse(), "rows 1 to 7: the names are not those that were written"),
}


@pytest.mark.parametrize("by_line", [True, False], ids=["by line", "as a whole"])
@pytest.mark.parametrize("change, words", ROW_FAULTS.values(), ids=ROW_FAULTS)
def test_a_wrong_row_is_refused_with_its_number(tmp_path, change, words, by_line):
    path = faulty(tmp_path, change, by_line)
    with pytest.raises(DataError, match=words):
        open_predictions(path).arrays()


def test_every_cut_of_the_file_is_noticed(tmp_path):
    path = tmp_path / "p.json"
    write(path)
    whole = path.read_bytes()
    for length in range(len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match="p.json"):
            open_predictions(path).arrays()


@pytest.mark.parametrize("byte", [b"x", b"9", b'"', b"\n", b"\xff", b"]", b","])
def test_no_changed_byte_loses_or_renames_a_row_unseen(tmp_path, byte):
    path = tmp_path / "p.json"
    write(path)
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + byte + whole[position + 1 :])
        try:
            assert open_predictions(path).arrays().names == NAMES
        except DataError:
            pass


@pytest.mark.parametrize(
    "text, words",
    [
        (
            b'{"format":"webvision-predictions","version":1,"header":{"k":%d},"predictions":[]}' % 10**30,
            "k is int 1000000",
        ),
        (
            b'{"format":"webvision-predictions","version":1,"header":{"classes":{"count":1e3}},"predictions":[]}',
            "classes.count is float 1000.0",
        ),
        (
            b'{"format":"webvision-predictions","version":1,"header":{"shard":{"start":3,"stop":2}},"predictions":[]}',
            "shard.stop is int 2",
        ),
        (b"", "not valid JSON"),
        (b"\x00\x01", "not valid JSON"),
        (b"{}", "not a prediction file"),
        (b"[[1,2,3,4,5]]", "plain JSON list"),
        (b"[" * 200_000, "nested too deeply"),
        (b"9" * 10_000, "not valid JSON"),
        (b'{"format":"webvision-predictions","version":2}', "version int 2"),
        (b'{"format":"webvision-predictions","version":1,"header":{"k":0},"predictions":[]}', "k is int 0"),
        (b'{"format":"webvision-predictions","version":1,"header":{"list":[]},"predictions":[]}', "list is a list"),
        (
            b'{"format":"webvision-predictions","version":1,"header":{},"predictions":[\n' + b"x" * (1 << 25),
            "longer than",
        ),
    ],
)
def test_something_else_is_refused_at_once(tmp_path, text, words):
    (tmp_path / "p.json").write_bytes(text)
    with pytest.raises(DataError, match=words):
        open_predictions(tmp_path / "p.json").arrays()


def test_a_huge_file_without_lines_is_refused_by_its_size_alone(tmp_path):
    with open(tmp_path / "p.json", "wb") as file:
        file.truncate(2 << 30)
    with pytest.raises(DataError, match="2147483648 bytes"):
        open_predictions(tmp_path / "p.json")


def test_a_pipe_or_a_folder_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "p.json")
    for path in (tmp_path / "p.json", tmp_path):
        with pytest.raises(DataError, match="a folder or a device"):
            open_predictions(path)


def test_all_scores_come_back_from_the_file_beside(tmp_path):
    _, _, _, matrix = write(tmp_path / "p.json", with_matrix=True)
    np.testing.assert_array_equal(open_predictions(tmp_path / "p.json").all_scores(), matrix)
    np.testing.assert_array_equal(np.load(matrix_path(tmp_path / "p.json")), matrix)


def test_scores_of_another_run_beside_the_file_are_refused(tmp_path):
    write(tmp_path / "p.json", with_matrix=True)
    np.save(matrix_path(tmp_path / "p.json"), np.zeros((7, 9), np.float32))
    with pytest.raises(DataError, match="other hash"):
        open_predictions(tmp_path / "p.json").all_scores()
    os.unlink(matrix_path(tmp_path / "p.json"))
    with pytest.raises(DataError, match="missing"):
        open_predictions(tmp_path / "p.json").all_scores()


def test_shards_in_any_order_merge_to_the_bytes_of_one_run(tmp_path):
    labels, top, scores, matrix = write(tmp_path / "whole.json", with_matrix=True)
    for start, stop in ((0, 3), (3, 4), (4, 7)):
        with PredictionWriter(tmp_path / f"{start}.json", header(shard={"start": start, "stop": stop})) as writer:
            part = slice(start, stop)
            writer.write(NAMES[part], labels[part], top[part], scores[part], all_scores=matrix[part])
    shards = [tmp_path / "4.json", tmp_path / "0.json", tmp_path / "3.json"]
    assert merge_shards(shards, tmp_path / "merged.json") == 7
    assert (tmp_path / "merged.json").read_bytes() == (tmp_path / "whole.json").read_bytes()
    with pytest.raises(DataError, match="4.json: starts at row 4 of the list, but the shards before it end at row 3"):
        merge_shards(shards[:2], tmp_path / "m.json")
    with pytest.raises(DataError, match="end at row 4 of 7"):
        merge_shards(shards[1:], tmp_path / "m.json")
    with pytest.raises(DataError, match="already a whole"):
        merge_shards([tmp_path / "whole.json"], tmp_path / "m.json")


def test_upstreams_pair_of_lists_is_read_and_checked(tmp_path):
    (tmp_path / "top.json").write_text("[[1, 2, 3, 4, 5], [5, 4, 3, 2, 1]]")
    (tmp_path / "labels.json").write_text("[1, 7]")
    assert is_upstream_list(tmp_path / "top.json")
    arrays = read_top_list(tmp_path / "top.json", names=["x", "y"])
    assert arrays.names == ["x", "y"] and arrays.top.tolist() == [[1, 2, 3, 4, 5], [5, 4, 3, 2, 1]]
    assert read_label_list(tmp_path / "labels.json", 2).tolist() == [1, 7]
    with pytest.raises(DataError, match="2 rows of ids, but the list has 3 images"):
        read_top_list(tmp_path / "top.json", names=["x", "y", "z"])
    with pytest.raises(DataError, match="row 2: class id 5 is outside 0..4|row 1: class id 5"):
        read_top_list(tmp_path / "top.json", num_classes=5)
    with pytest.raises(DataError, match="row 3: 2 labels for 3 rows"):
        read_label_list(tmp_path / "labels.json", 3)


WRITE_FOR_EVER = """
import sys, numpy as np
from webvision.scoring.predictions.file import PredictionWriter
with PredictionWriter(sys.argv[1], {}) as writer:
    for i in range(10**9):
        writer.write([f"{i}"], None, np.array([[0, 1]]), np.array([[.5, .25]], np.float32))
        if i == 2000: print("writing", flush=True)
"""


def test_a_kill_while_writing_leaves_the_old_file(tmp_path):
    (tmp_path / "p.json").write_text("old")
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE_FOR_EVER, tmp_path / "p.json"], cwd=ROOT, stdout=subprocess.PIPE
    )
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert (tmp_path / "p.json").read_text() == "old"


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path):
    (tmp_path / "p.json").write_text("old")
    limit = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", limit + WRITE_FOR_EVER, tmp_path / "p.json"], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode != 0 and "File too large" in result.stderr
    assert os.listdir(tmp_path) == ["p.json"] and (tmp_path / "p.json").read_text() == "old"


def test_memory_does_not_grow_with_the_rows(tmp_path):  # E5
    script = """
import resource, sys, numpy as np
from webvision.scoring.predictions.file import PredictionWriter, open_predictions
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
top = np.tile(np.arange(5), (500, 1)); scores = np.full((500, 5), .2, np.float32)
with PredictionWriter(sys.argv[1], {}) as writer:
    for i in range(60):
        writer.write([f"{i}-{j}.jpg" for j in range(500)], None, top, scores)
        if i == 5: before = peak()
for _ in open_predictions(sys.argv[1]): pass
print(peak() - before)
"""
    grown = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "p.json"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    assert float(grown) < 6  # MB; the 30,000 rows are 3 MB of text, and 20 MB as Python objects
