"""Pictures that could not be read are wrong in every score, for every k, and whatever ids fill their rows."""

import json
import shutil

import numpy as np
import pytest

from webvision.challenges.codalab.submission import write_submission
from webvision.inference.evaluate import fallback
from webvision.inference.summary import write_class_errors
from webvision.scoring.evaluation import average_files, compare_files, load_files, score_runs
from webvision.scoring.figures import metrics
from webvision.scoring.figures.stop_rules import ImageMeans
from webvision.scoring.predictions.file import PredictionWriter, open_predictions
from webvision.scoring.report.report import build_report

RIGHT, EMPTY = 6, 6  # readable pictures, all answered rightly; unreadable ones, whose label is in the fall-back's ids


def write(path, classes, *, all_scores=True):
    """Labels 0 and 1 by turns; the first RIGHT rows are answered with certainty, the others could not be read."""
    k, rows = min(5, classes), RIGHT + EMPTY
    labels = np.arange(rows) % 2
    scores = np.full((rows, classes), 0.25 / (classes - 1), np.float32)
    scores[np.arange(rows), labels] = 0.75
    top = np.argsort(-scores, axis=1, kind="stable")[:, :k].astype(np.int32)
    top_scores = np.take_along_axis(scores, top, 1)
    top[RIGHT:], top_scores[RIGHT:] = fallback(k, classes)
    scores[RIGHT:] = 1 / classes
    header = {"classes": {"count": classes}, "list": {"rows": rows}}
    with PredictionWriter(path, header) as writer:
        names = [f"{row}.jpg" for row in range(rows)]
        problems = [None] * RIGHT + ["empty"] * EMPTY
        writer.write(names, labels, top, top_scores, problems, all_scores=scores if all_scores else None)
    return str(path)


@pytest.mark.parametrize("classes", [3, 5, 12])
@pytest.mark.parametrize("tie_rule", ["lowest", "highest", "optimistic", "pessimistic"])
def test_wrong_for_every_k_and_tie_rule(tmp_path, classes, tie_rule):
    (run,) = load_files([write(tmp_path / "p.json", classes)])
    card, lines = score_runs([run], (1, 2, 5, classes, 1000), tie_rule, True)
    assert {found["error"] for found in card["errors"].values()} == {0.5}
    assert {found["balanced_error"] for found in card["errors"].values()} == {0.5}
    assert card["averages"]["micro"]["recall"] == 0.5 and card["averages"]["macro"]["precision"] == 1.0
    assert card["confused_pairs"] == [] and card["unreadable_images"] == EMPTY
    assert [row["top1_error"] for row in card["per_class"][:2]] == [0.5, 0.5]
    assert any("6 images could not be read; they count as wrong" in line for line in lines)


def test_wrong_for_k_beyond_the_ids_where_only_the_best_are_kept(tmp_path):
    (run,) = load_files([write(tmp_path / "p.json", 4, all_scores=False)])
    card, _ = score_runs([run], (4, 5), "lowest", False)
    assert [found["error"] for found in card["errors"].values()] == [0.5, 0.5]


def test_wrong_in_comparisons_ensembles_class_files_and_reports(tmp_path):
    path = write(tmp_path / "p.json", 5)
    found, _ = compare_files(path, write(tmp_path / "q.json", 5), (1, 5), "lowest")
    assert found["top5"]["error_a"] == found["top5"]["error_b"] == 0.5
    joined = average_files(load_files([path, str(tmp_path / "q.json")]), str(tmp_path / "joined.json"))
    assert score_runs([joined], (1, 5), "lowest", False)[0]["errors"]["top5"]["error"] == 0.5
    write_class_errors(path, 5)
    assert json.loads((tmp_path / "web_acc5.json").read_text()) == [0.5, 0.5, None, None, None]
    page, _ = build_report([path])
    assert "6 of the pictures, counted as wrong" in page
    arrays = open_predictions(path).arrays()
    assert metrics.error_rates(arrays.labels, arrays.top)["top5"] == 0.5


def test_the_file_says_so_and_a_submission_of_it_stays_valid(tmp_path):
    path = write(tmp_path / "p.json", 12)
    document = json.loads((tmp_path / "p.json").read_text())
    assert document["unreadable"]["rows"] == EMPTY and "wrong in every score" in document["unreadable"]["note"]
    assert document["predictions"][-1]["top"] == [0, 1, 2, 3, 4] and document["predictions"][-1]["problem"] == "empty"
    write_submission(tmp_path / "s.zip", open_predictions(path).arrays(), num_classes=12)
    clean = tmp_path / "clean.json"
    with PredictionWriter(clean, {}) as writer:
        writer.write(["a"], [0], np.array([[0]]), np.array([[1.0]]), [None])
    assert "unreadable" not in json.loads(clean.read_text())


def test_wrong_in_the_means_of_a_validation():
    means = ImageMeans()
    means.add(np.zeros((4, 3)), [0, 0, 1, 2], unreadable=np.array([True, True, True, False]))
    assert means.result() == {"acc1": 0.0, "acc5": 25.0, "loss": pytest.approx(np.log(3))}


def test_a_validation_in_training_counts_them_as_wrong(train, tiny_data, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(tiny_data, data)
    for path in (data / "val").rglob("*.jpg"):
        path.write_bytes(b"")
    train.data = data
    train("--epochs", "1", "--max-bad", "1")
    figures = train.stats()[-1]
    assert {figures[f"val-{kind}error-top{k}"] for kind in ("", "balanced-") for k in (1, 5)} == {1.0}
