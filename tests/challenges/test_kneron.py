"""Kneron's per-image files, and DI-engine's figures: equal to scikit-learn, and without the bugs of either original."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from sklearn import metrics as sk

from tests.support.data_set import ROOT
from webvision.challenges.kneron import folder as kneron
from webvision.errors import DataError
from webvision.scoring.figures import scorecard, stop_rules

NAMES = ["cat", "dog", "emu", "fox"]


def folder(tmp_path, rows, truth, class_map=None):
    (tmp_path / "preds").mkdir()
    for i, row in enumerate(rows):
        (tmp_path / f"preds/{i}.json").write_text(row if isinstance(row, str) else json.dumps(row))
    (tmp_path / "gts.json").write_text(json.dumps(truth))
    if class_map is not None:
        (tmp_path / "class_id.json").write_text(json.dumps(class_map))
    return (
        str(tmp_path / "preds"),
        str(tmp_path / "gts.json"),
        str(tmp_path / "class_id.json") if class_map is not None else None,
    )


def row(path, *pairs):
    return {"img_path": path, "0_0": [list(pair) for pair in pairs]}


@pytest.mark.parametrize(
    "class_map",
    [dict(enumerate(NAMES)), {name: i for i, name in enumerate(NAMES)}, NAMES],
    ids=["id to name", "name to id", "list"],
)
@pytest.mark.parametrize("as_names", [True, False], ids=["names", "ids"])
def test_labels_are_ids_or_names_and_maps_go_both_ways(tmp_path, class_map, as_names):
    show = (lambda c: NAMES[c]) if as_names else (lambda c: c)
    paths = folder(
        tmp_path,
        [row("a.jpg", (0.1, show(2)), (0.7, show(3)), (0.2, show(0))), row("b.jpg", (0.9, show(1)))],
        {"a.jpg": show(2), "b.jpg": "dog"},
        class_map,
    )
    run = kneron.load_folder(*paths)
    assert run.arrays.names == ["a.jpg", "b.jpg"] and run.labels.tolist() == [2, 1]
    assert run.arrays.top.tolist() == [[3, 0, 2], [1, -1, -1]] and run.class_names == NAMES


def test_figures_equal_scikit_learn(tmp_path):
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 4, 80), rng.random((80, 4))
    rows = [row(f"/data/x/{i}.jpg", *((float(scores[i, c]), NAMES[c]) for c in rng.permutation(4))) for i in range(80)]
    paths = folder(tmp_path, rows, {f"{i}.jpg": NAMES[labels[i]] for i in range(80)})
    command = [
        sys.executable,
        os.path.join(ROOT, "utils/eval_score.py"),
        "--preds",
        paths[0],
        "--gts",
        paths[1],
        "--k",
        "1,2",
        "--json",
    ]
    card = json.loads(subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout)
    predicted = scores.argmax(1)
    for kind in ("micro", "macro", "weighted"):
        expected = sk.precision_recall_fscore_support(labels, predicted, average=kind)[:3]
        np.testing.assert_allclose(list(card["averages"][kind].values()), expected, atol=1e-14)
    for k in (1, 2):
        assert 1 - card["errors"][f"top{k}"]["error"] == pytest.approx(sk.top_k_accuracy_score(labels, scores, k=k))
    per_class = sk.precision_recall_fscore_support(labels, predicted)
    np.testing.assert_allclose(
        [[r["precision"], r["recall"], r["f1"]] for r in card["per_class"]], np.array(per_class[:3]).T
    )
    lines = (tmp_path / "eval_results.txt").read_text().splitlines()
    assert lines[0] == "images: 80" and lines[2] == f"top-1 accuracy: {np.mean(predicted == labels):.4f}"
    assert lines[5].startswith("macro: precision ") and lines[-1].startswith("fox\t")


def test_all_faults_are_listed_by_file(tmp_path):
    rows = [
        row("a.jpg", (0.5, "cat")),
        row("sub/a.jpg", (0.5, "cat")),
        row("x.jpg", (0.5, "cat")),
        {"img_path": "b.jpg"},
        row("b.jpg"),
        row("b.jpg", ("high", "cat")),
        row("b.jpg", (0.5, "cow")),
        row("c.jpg", (0.5, "cat"), (0.4, "cat")),
        {"0_0": []},
        "{",
    ]
    paths = folder(tmp_path, rows, {"a.jpg": "cat", "b.jpg": "dog", "c.jpg": "emu", "d.jpg": "gnu"}, NAMES)
    with pytest.raises(DataError) as caught:
        kneron.load_folder(*paths)
    text = str(caught.value)
    for words in (
        "1.json: image 'a.jpg' was predicted by 0.json already",
        "2.json: image 'x.jpg' is not in the truth",
        '3.json: "0_0" is missing',
        "4.json: no [score, label] pair",
        "5.json: score str 'high'",
        "6.json: label str 'cow' is no class",
        "7.json: a class is named twice",
        "9.json: ",
        "9.json: not valid JSON",
        '8.json: no "img_path"',
        "no prediction for 'd.jpg'",
        "gts.json: 'd.jpg': label str 'gnu'",
    ):
        assert words in text, words


def test_a_base_name_matches_only_when_it_is_the_only_one(tmp_path):
    paths = folder(tmp_path, [row("/elsewhere/a.jpg", (0.5, 0))], {"one/a.jpg": 0, "two/a.jpg": 0})
    with pytest.raises(DataError, match="could be 'one/a.jpg' or 'two/a.jpg'"):
        kneron.load_folder(*paths)


@pytest.mark.parametrize(
    "table, words",
    [
        ({"0": "a", "2": "b"}, "need the ids 0 to 1"),
        ({"0": "a", "1": "a"}, "each once"),
        ({"a": "b"}, "neither"),
        ({}, "not an object"),
        (3, "not an object"),
    ],
)
def test_a_class_map_with_holes_or_without_ids_is_refused(tmp_path, table, words):
    (tmp_path / "m.json").write_text(json.dumps(table))
    with pytest.raises(DataError, match=words):
        kneron.read_class_map(tmp_path / "m.json")


def test_ids_and_names_together_need_a_map(tmp_path):
    with pytest.raises(DataError, match="--class-map"):
        kneron.load_folder(*folder(tmp_path, [row("a.jpg", (0.5, 0))], {"a.jpg": "cat"}))


# --- DI-engine
# ----------------------------------------------------------------------------------------------------------


def test_figures_weigh_images_not_batches():
    rng = np.random.default_rng(1)
    logits, labels = rng.standard_normal((70, 9)).astype(np.float32), rng.integers(0, 9, 70)
    means = stop_rules.ImageMeans()
    for part in (slice(0, 32), slice(32, 64), slice(64, 70)):
        means.add(logits[part], labels[part])
    probabilities = np.exp(logits.astype(float)) / np.exp(logits.astype(float)).sum(1, keepdims=True)
    assert means.result() == pytest.approx(
        {
            "acc1": 100 * np.mean(logits.argmax(1) == labels),
            "loss": sk.log_loss(labels, probabilities, labels=range(9)),
            "acc5": 100 * sk.top_k_accuracy_score(labels, logits, k=5, labels=range(9)),
        }
    )


def test_acc5_of_three_classes_is_full_and_an_empty_set_has_none():
    means = stop_rules.ImageMeans()
    assert np.isnan(means.result()["acc1"])
    means.add(np.eye(3), [1, 2, 0])
    assert means.result()["acc5"] == 100 and means.result()["acc1"] == 0


def test_each_metric_knows_its_direction():
    assert stop_rules.better("loss", 1.0, 2.0) and not stop_rules.better("loss", 2.0, 1.0)
    assert (
        stop_rules.better("acc1", 2.0, 1.0)
        and stop_rules.better("val-error-top1", 0.1, 0.2)
        and stop_rules.better("top1", 0.0, None)
    )
    assert (
        not stop_rules.better("loss", float("nan"), None)
        and stop_rules.better("loss", 1.0, float("nan"))
        and not stop_rules.better("acc1", 1.0, 1.0)
    )


def test_a_stop_rule_needs_all_its_targets():
    rule = stop_rules.parse_stop_at("top1=75,top5=95,loss=0.5")
    assert str(rule) == "top1 >= 75, top5 >= 95, loss <= 0.5"
    assert rule.reached({"top1": 75.0, "top5": 96.0, "loss": 0.5}) and rule.reached(
        {"top1": 80.0, "top5": 95.0, "loss": 0.1}
    )
    assert not rule.reached({"top1": 80.0, "top5": 95.0, "loss": 0.6}) and not rule.reached(
        {"top1": float("nan"), "top5": 95.0, "loss": 0.1}
    )
    with pytest.raises(ValueError, match="gave no top5, loss"):
        rule.reached({"top1": 80.0})


def test_errors_of_an_epoch_answer_a_rule_in_percent():
    figures = stop_rules.with_accuracies({"val-error-top1": 0.25, "val-balanced-error-top5": 0.5, "loss": 1.0})
    assert figures == {
        "val-error-top1": 0.25,
        "top1": 75,
        "acc1": 75,
        "val-balanced-error-top5": 0.5,
        "balanced_top5": 50,
        "loss": 1.0,
    }
    assert stop_rules.parse_stop_at("top1=75").reached(figures) and not stop_rules.parse_stop_at("top1=76").reached(
        figures
    )


@pytest.mark.parametrize(
    "text, words",
    [
        ("top1", "NAME=VALUE"),
        ("accuracy=3", "NAME=VALUE"),
        ("top1=x", "not a number"),
        ("top1=75,top1=80", "twice"),
        ("top1=0.75", "a percentage, 1 to 100; 75"),
        ("top1=101", "percentage"),
        ("loss=-1", "reach"),
        ("loss=nan", "reach"),
        ("val-error-top1=25", "a fraction, 0 to 1; 0.25"),
        ("", "NAME=VALUE"),
    ],
)
def test_a_stop_rule_that_cannot_be_meant_is_refused(text, words):
    with pytest.raises(ValueError, match=words):
        stop_rules.parse_stop_at(text)


def test_the_card_of_a_folder_has_no_calibration(tmp_path):
    run = kneron.load_folder(*folder(tmp_path, [row("a.jpg", (0.5, 0))], {"a.jpg": 0}))
    assert "calibration" not in scorecard.score(run, ks=(1,))


@pytest.mark.parametrize(
    "truth, words",
    [
        ({}, "no image in it, so there is nothing to score"),
        ({"a.jpg": 1.0}, "'a.jpg': label 1.0 is a decimal number; class ids are whole: 1"),
        ({"a.jpg": True}, "'a.jpg': label true is a truth value"),
        ({"a.jpg": -1}, "'a.jpg': label -1 is below 0"),
        ({"a.jpg": None}, "'a.jpg': no label"),
    ],
)
def test_a_truth_without_labels_is_told_by_what_it_holds(tmp_path, truth, words):
    preds, gts, _ = folder(tmp_path, [row("a.jpg", [0.9, 1], [0.1, 0])], truth)
    with pytest.raises(DataError, match=words):
        kneron.load_folder(preds, gts)
