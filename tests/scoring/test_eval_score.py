"""utils/eval_score.py: upstream's numbers to the last digit, averages of runs, paired comparison, tie rules."""

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.support.data_set import ROOT
from webvision.scoring.predictions import fusion
from webvision.scoring.predictions.file import PredictionWriter, open_predictions

SCRIPT = os.path.join(ROOT, "utils", "eval_score.py")


def run(folder, *args, code=0, stderr=False):
    result = subprocess.run([sys.executable, SCRIPT, *map(str, args)], cwd=folder, capture_output=True, text=True)
    assert result.returncode == code and "Traceback" not in result.stderr, result.stderr
    return result.stderr if code or stderr else result.stdout


def write(path, labels, scores, k=5, all_scores=True, names=None):
    classes = scores.shape[1]
    top = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    header = {
        "list": {"path": "meta/val.txt", "rows": len(scores)},
        "classes": {"count": classes, "names": [f"n{c:03d}" for c in range(classes)]},
        "k": min(k, classes),
    }
    with PredictionWriter(path, header) as writer:
        writer.write(
            names or [f"v{i}.jpg" for i in range(len(scores))],
            labels,
            top,
            np.take_along_axis(scores, top, 1),
            all_scores=scores if all_scores else None,
        )
    return top


def probabilities(seed, labels, classes, strength=2.0):
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((len(labels), classes)) + strength * np.eye(classes)[labels]
    return (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train_log").mkdir()
    rng = np.random.default_rng(0)
    labels = np.concatenate([np.arange(12), rng.choice(12, 288, p=np.arange(12, 0, -1) / 78)])
    write(tmp_path / "train_log/predictions.json", labels, probabilities(1, labels, 12))
    write(tmp_path / "b.json", labels, probabilities(2, labels, 12))
    return tmp_path


def upstream_numbers(labels, top, classes):
    """Errors as upstream's loops form them, for any class count."""
    plain, balanced = [], []
    for hit in (lambda y, row: y == row[0], lambda y, row: y in row):
        missed, seen = [0.0] * classes, [0.0] * classes
        for y, row in zip(labels, top):
            missed[y] += not hit(y, row)
            seen[y] += 1
        plain.append(sum(missed) / len(labels))
        mean = 0.0
        for wrong, count in zip(missed, seen):
            mean += wrong / count
        balanced.append(mean / classes)
    return plain + balanced


def test_the_four_error_rates_are_upstreams_from_either_kind_of_file(folder):
    document = json.loads((folder / "train_log/predictions.json").read_text())
    labels, top = zip(*((row["label"], row["top"]) for row in document["predictions"]))
    (folder / "top5_5k.json").write_text(json.dumps(top))
    (folder / "label_5k.json").write_text(json.dumps(labels))
    top1, top5, balanced1, balanced5 = upstream_numbers(labels, top, 12)
    expected = [f"Top1: {top1}", f"Top5: {top5}", f"Balanced Top1: {balanced1}", f"Balanced Top5: {balanced5}"]
    assert run(folder).splitlines()[:4] == expected
    assert run(folder, "top5_5k.json", "label_5k.json").splitlines()[:4] == expected
    assert run(folder, "top5_5k.json", "--labels", "label_5k.json").splitlines()[:4] == expected


def test_json_holds_every_figure(folder):
    card = json.loads(run(folder, "--json", "--per-class", "--k", "1,3,5"))
    assert list(card["errors"]) == ["top1", "top3", "top5"] and card["images"] == 300 and card["classes"] == 12
    for found in card["errors"].values():
        assert found["interval"][0] <= found["error"] <= found["interval"][1]
        assert found["balanced_interval"][0] <= found["balanced_error"] <= found["balanced_interval"][1]
    assert card["averages"]["micro"]["f1"] == pytest.approx(1 - card["errors"]["top1"]["error"])
    assert 0 < card["calibration"]["ece"] < 1 and card["log_loss"] > 0
    assert sum(row["images"] for row in card["per_class"]) == 300 and card["per_class"][3]["name"] == "n003"
    mean = sum(row["top1_error"] for row in card["per_class"]) / 12
    assert mean == pytest.approx(card["errors"]["top1"]["balanced_error"])


def test_di_engines_figures_are_means_over_images(folder):
    """Its own were means over batches of unequal size. The loss needs the label's probability, so the scores of all
    classes."""
    predictions = open_predictions(folder / "train_log/predictions.json")
    arrays, scores = predictions.arrays(), predictions.all_scores()
    own = [float(scores[row, label]) for row, label in enumerate(arrays.labels)]
    hits = [
        np.count_nonzero([label in top[:k] for label, top in zip(arrays.labels, arrays.top.tolist())]) for k in (1, 5)
    ]
    expected = {"acc1": hits[0] / 3, "acc5": hits[1] / 3, "loss": -sum(map(math.log, own)) / 300}
    assert json.loads(run(folder, "--json"))["di_engine"] == pytest.approx(expected)
    assert f"acc1 {expected['acc1']:.4f}  acc5 {expected['acc5']:.4f}  loss {expected['loss']:.4f}" in run(folder)


def test_the_table_of_classes_is_tab_separated(folder):
    lines = run(folder, "--per-class").splitlines()
    table = lines[lines.index("class\tname\timages\ttop1_error\ttop5_error\tprecision\trecall\tf1") :]
    assert len(table) == 13 and table[1].startswith("0\tn000\t")


def test_the_mean_of_two_runs_is_the_mean_of_their_probabilities(folder):
    run(folder, "--average", "train_log/predictions.json", "b.json", "--out", "e.json")
    labels = open_predictions(folder / "b.json").arrays().labels
    a, b = (open_predictions(folder / name).all_scores() for name in ("train_log/predictions.json", "b.json"))
    mean = ((a.astype(float) + b) / 2).astype(np.float32)
    result = open_predictions(folder / "e.json")
    np.testing.assert_array_equal(result.all_scores(), mean)
    np.testing.assert_array_equal(result.arrays().top[:, 0], mean.argmax(1))
    np.testing.assert_array_equal(result.arrays().labels, labels)
    single = min(
        json.loads(run(folder, name, "--json"))["errors"]["top1"]["error"]
        for name in ("b.json", "train_log/predictions.json")
    )
    assert json.loads(run(folder, "e.json", "--json"))["errors"]["top1"]["error"] < single


def test_shards_are_merged_and_scored(tmp_path):
    labels = np.arange(12)
    scores = probabilities(0, labels, 12)
    write(tmp_path / "whole.json", labels, scores, all_scores=False)
    header = json.loads((tmp_path / "whole.json").read_text())["header"]
    top = np.argsort(-scores, axis=1)[:, :5]
    for start, stop in ((5, 12), (0, 5)):
        part = slice(start, stop)
        with PredictionWriter(
            tmp_path / f"{start}.json", {**header, "shard": {"start": start, "stop": stop}}
        ) as writer:
            writer.write(
                [f"v{i}.jpg" for i in range(start, stop)],
                labels[part],
                top[part],
                np.take_along_axis(scores, top, 1)[part],
            )
    text = run(tmp_path, "--merge", "5.json", "0.json", "--out", "merged.json")
    assert (tmp_path / "merged.json").read_bytes() == (tmp_path / "whole.json").read_bytes() and text == run(
        tmp_path, "whole.json"
    ).replace("whole", "merged")
    assert "end at row 5 of 12" in run(tmp_path, "--merge", "0.json", "--out", "m.json", code=3)


def test_averaging_refuses_what_has_no_mean(folder):
    labels = open_predictions(folder / "b.json").arrays().labels
    write(folder / "logits.json", labels, np.log(probabilities(3, labels, 12)))
    write(folder / "top.json", labels, probabilities(3, labels, 12), all_scores=False)
    write(folder / "names.json", labels, probabilities(3, labels, 12), names=[f"x{i}" for i in range(300)])
    assert "are not probabilities" in run(folder, "--average", "b.json", "logits.json", code=3)
    assert "--scores all" in run(folder, "--average", "b.json", "top.json", code=2)
    assert "row 1: not the images of b.json" in run(folder, "--average", "b.json", "names.json", code=3)
    assert "one of the files to average" in run(
        folder, "--average", "b.json", "train_log/predictions.json", "--out", "b.json", code=2
    )


def test_two_runs_are_compared_image_by_image(folder):
    found = json.loads(run(folder, "--compare", "train_log/predictions.json", "b.json", "--json"))
    a, b = (open_predictions(folder / name).arrays() for name in ("train_log/predictions.json", "b.json"))
    wrong_a, wrong_b = a.top[:, 0] != a.labels, b.top[:, 0] != b.labels
    assert found["top1"]["only_a_wrong"] == np.sum(wrong_a & ~wrong_b) and found["top1"]["only_b_wrong"] == np.sum(
        ~wrong_a & wrong_b
    )
    assert found["top1"]["difference"] == pytest.approx(wrong_a.mean() - wrong_b.mean())
    text = run(folder, "--compare", "train_log/predictions.json", "b.json")
    assert "McNemar p" in text and "balanced top5" in text


@pytest.mark.parametrize(
    "rule, error", [("lowest", 11 / 12), ("highest", 11 / 12), ("optimistic", 0), ("pessimistic", 1)]
)
def test_tie_rules_reproduce_other_programs_on_constant_scores(tmp_path, rule, error):
    write(tmp_path / "p.json", np.arange(12), np.full((12, 12), 1 / 12, np.float32))
    card = json.loads(run(tmp_path, "p.json", "--json", "--tie-rule", rule))
    assert card["errors"]["top1"]["error"] == error
    right = {"lowest": range(5), "highest": range(7, 12), "optimistic": range(12), "pessimistic": ()}[rule]
    assert card["errors"]["top5"]["error"] == (12 - len(right)) / 12


def test_a_tie_rule_needs_all_scores_and_a_large_k_needs_the_ids(tmp_path):
    write(tmp_path / "p.json", np.arange(12), np.eye(12, dtype=np.float32), all_scores=False)
    assert "--scores all" in run(tmp_path, "p.json", "--tie-rule", "highest", code=2)
    assert "top-7 needs 7 ids an image, the predictions hold 5" in run(tmp_path, "p.json", "--k", "7", code=2)
    assert "'0' is not a number from 1 up" in run(tmp_path, "p.json", "--k", "0", code=2)


def test_fewer_classes_than_k_and_absent_classes_have_defined_errors(tmp_path):
    write(tmp_path / "p.json", np.array([0, 0, 2]), np.eye(3, dtype=np.float32)[[0, 1, 2]])
    card = json.loads(run(tmp_path, "p.json", "--json"))
    assert (
        card["errors"]["top5"]["error"] == 0
        and card["errors"]["top1"]["balanced_error"] == 0.25
        and card["classes_without_images"] == 1
    )


def test_an_empty_set_has_nothing_to_score(tmp_path):
    write(tmp_path / "p.json", np.zeros(0, int), np.zeros((0, 6), np.float32))
    assert "no labels" in run(tmp_path, "p.json", "--json", code=3)


def test_an_unlabelled_list_has_no_error_rates(tmp_path):
    write(tmp_path / "p.json", None, np.eye(6, dtype=np.float32))
    assert "webvision submit makes a submission of it" in run(tmp_path, "p.json", code=3)


def test_names_do_not_reach_the_terminal_raw(tmp_path):
    header = {"classes": {"count": 2, "names": ["\x1b[31mred", "=cmd()"]}, "k": 2}
    with PredictionWriter(tmp_path / "p.json", header) as writer:
        writer.write(["a"], [0], np.array([[1, 0]]), np.array([[0.6, 0.4]]))
    table = run(tmp_path, "p.json", "--per-class")
    assert "\x1b" not in table and "\t'=cmd()\t" in table


def test_wrong_rows_are_listed_with_their_numbers(folder):
    document = json.loads((folder / "b.json").read_text())
    document["predictions"][6]["top"] = [1, 2]
    document["predictions"][8]["label"] = 12
    (folder / "b.json").write_text(json.dumps(document))
    text = run(folder, "b.json", code=3)
    assert "row 7: 2 class ids where 5 are expected" in text and "row 9: label: class id 12 is outside 0..11" in text


@pytest.mark.parametrize(
    "labels, words",
    [
        ("[1.0, 2]", "row 1: label 1.0 is a decimal number; class ids are whole: 1"),
        ("[true, 2]", "row 1: label true is a truth value"),
        ("[-1, 2]", "row 1: label -1 is below 0; where it means 'no label'"),
        ('["1", 2]', 'row 1: label "1" is text; a class id is a number, without quotes: 1'),
        ("[null, 2]", "row 1: no label (null)"),
        ("[[1], 2]", "row 1: label is a list, not a class id"),
        (None, "labels.json: no such file; the list of labels for "),
    ],
)
def test_labels_that_are_none_are_told_by_what_they_are(tmp_path, labels, words):
    (tmp_path / "top.json").write_text("[[1, 2, 3, 4, 5], [2, 3, 4, 5, 6]]")
    if labels is not None:
        (tmp_path / "labels.json").write_text(labels)
    done = run(tmp_path, "top.json", "labels.json", code=3)
    assert words in done


def test_two_empty_lists_are_nothing_to_score(tmp_path):
    for name in ("top.json", "labels.json"):
        (tmp_path / name).write_text("[]")
    assert "top.json: the list is empty, so there is nothing to score" in run(
        tmp_path, "top.json", "labels.json", code=3
    )


def test_labels_that_are_all_0_are_remarked_upon(tmp_path):
    (tmp_path / "top.json").write_text("[[0, 2, 3, 4, 5], [2, 0, 4, 5, 6]]")
    for labels, told in (("[0, 0]", True), ("[0, 2]", False)):
        (tmp_path / "labels.json").write_text(labels)
        assert ("Every label is 0" in run(tmp_path, "top.json", "labels.json")) is told
        card = json.loads(run(tmp_path, "top.json", "labels.json", "--json"))
        assert card["labels_are_all_zero"] is told


def test_files_are_fused_with_weights_fitted_on_one_half_and_told_on_the_other(folder):
    flags = ("--average", "train_log/predictions.json", "b.json", "--fuse", "geometric", "--fit-weights")
    said = run(folder, *flags, "--out", "f.json", stderr=True)
    fused = open_predictions(folder / "f.json")
    weights = fused.header["fusion"]["weights"]
    assert fused.header["fusion"]["method"] == "geometric" and sum(weights) == pytest.approx(1)
    blocks = [open_predictions(folder / name).all_scores() for name in ("train_log/predictions.json", "b.json")]
    expected = fusion.fuse(blocks, "geometric", weights)
    np.testing.assert_array_equal(fused.all_scores(), expected)
    wrong = np.mean(expected[1::2].argmax(1) != fused.arrays().labels[1::2])
    assert f"these weights: {wrong:.4f}" in said
    assert "belong to --average" in run(folder, "b.json", "--fuse", "rank", code=2)
