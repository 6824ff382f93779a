#!/usr/bin/env python3
"""Time and memory of scoring: ranking a matrix of logits beside scikit-learn and upstream's loop, and streaming
predictions."""

import argparse
import json
import os
import resource
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import numpy as np

from webvision.scoring.figures import metrics, scorecard
from webvision.scoring.predictions import loaded, ranking
from webvision.scoring.predictions.file import PredictionWriter, open_predictions

REPEATS = 5


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=290_000, help="rows of the streamed file [%(default)s]")
    parser.add_argument(
        "--all-scores", action="store_true", help="keep the scores of all 5,000 classes too (5.8 GB of disk)"
    )
    return parser.parse_args(argv)


def best(function):
    """Seconds of the quickest of a few calls, and the last result."""
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def say(what, seconds, more=""):
    print(f"{what:66s} {seconds:8.3f} s  {more}", flush=True)


def rank_a_matrix(images=50_000, classes=1000):
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((images, classes), dtype=np.float32)
    labels = rng.integers(0, classes, images)

    def ours():
        ranks = ranking.label_ranks(labels, logits)
        return [float(np.mean(ranks < k)) for k in (1, 5)]

    def scikit_learn():
        from sklearn.metrics import top_k_accuracy_score

        return [float(top_k_accuracy_score(labels, logits, k=k, labels=np.arange(classes))) for k in (1, 5)]

    def argsort():
        order = np.argsort(logits, axis=1)[:, -5:]
        return [float(np.mean((order[:, -k:] == labels[:, None]).any(1))) for k in (1, 5)]

    times, expected = {}, None
    for name, function in (
        ("label_ranks (ours)", ours),
        ("scikit-learn top_k_accuracy_score, twice", scikit_learn),
        ("NumPy argsort", argsort),
    ):
        times[name], result = best(function)
        say(f"{images} x {classes} logits, top-1 and top-5: {name}", times[name])
        expected = expected or result
        if result != expected:
            sys.exit(f"{name} finds {result}, ours {expected}")


def upstream_loop(top, labels, classes):
    """The four error rates, one image after the other."""
    found = []
    for hit in (lambda y, row: y == row[0], lambda y, row: y in row):
        missed, seen = [0.0] * classes, [0.0] * classes
        for y, row in zip(labels, top):
            missed[y] += not hit(y, row)
            seen[y] += 1
        found += [sum(missed) / len(labels), sum(m / s for m, s in zip(missed, seen)) / classes]
    return found


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def stream(folder, images, all_scores, classes=5000):
    """Logits come in batches of 256, as from a network; nothing of their size may stay."""
    rng = np.random.default_rng(0)
    block = rng.dirichlet(np.full(classes, 0.05), 256).astype(np.float32)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, max(0, images - classes))])[:images]
    path = os.path.join(folder, "predictions.json")
    header = {"list": {"path": "val.txt", "rows": images}, "classes": {"count": classes}, "k": 5}
    before, seconds = peak_mb(), time.perf_counter()
    with PredictionWriter(path, header) as writer:
        for start in range(0, images, 256):
            scores = np.roll(block, start % classes, axis=1)[: images - start]
            top, values = ranking.topk_from_scores(scores, 5)
            writer.write(
                [f"val{i:06d}.jpg" for i in range(start, start + len(scores))],
                labels[start : start + len(scores)],
                top,
                values,
                all_scores=scores if all_scores else None,
            )
    say(
        f"{images} x {classes} scores -> top 5 -> file ({os.path.getsize(path) / 1e6:.0f} MB)",
        time.perf_counter() - seconds,
        f"+{peak_mb() - before:.0f} MB resident",
    )
    before, seconds = peak_mb(), time.perf_counter()
    rows = sum(1 for _ in open_predictions(path))
    say(f"{rows} rows streamed", time.perf_counter() - seconds, f"+{peak_mb() - before:.0f} MB resident")
    seconds = time.perf_counter()
    with open(path, encoding="utf-8") as file:
        json.load(file)
    say("the same file by json.load, nothing checked", time.perf_counter() - seconds)
    return path


def score_file(path):
    seconds = time.perf_counter()
    run = loaded.load_run(path)
    say("read into arrays, every row checked", time.perf_counter() - seconds)
    seconds = time.perf_counter()
    scorecard.score(run)
    say("errors, intervals, F1, confusions, calibration", time.perf_counter() - seconds)
    wrong, _ = best(lambda: metrics.error_rates(run.labels, run.arrays.top, run.num_classes))
    say("the four error rates alone", wrong)
    top, labels = run.arrays.top.tolist(), run.labels.tolist()
    seconds = time.perf_counter()
    upstream_loop(top, labels, run.num_classes)
    say("the four error rates as upstream forms them", time.perf_counter() - seconds)


def main(argv=None):
    args = parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        path = stream(folder, args.images, args.all_scores)  # first, while the peak of memory is still low
        score_file(path)
    rank_a_matrix()


if __name__ == "__main__":
    main()
