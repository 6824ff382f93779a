"""What --eval prints of a prediction file, and --eval5k's error of every class."""

import os

import numpy as np

from webvision.files import write_json
from webvision.scoring.figures import metrics
from webvision.scoring.figures.scorecard import PLACEHOLDERS
from webvision.scoring.predictions.file import open_predictions


def print_errors(path, *, bad):
    """Top-1 and top-5 error, plain and class-balanced, of the prediction file at `path`; none for an unlabelled
    list."""
    predictions = open_predictions(path).arrays()
    count = len(predictions.names)
    print(f"{count} pictures of {count} expected, {bad.count} unreadable" + (f" ({bad})" if bad.count else ""))
    if predictions.labels is None:
        print("The list has no labels, so there is no error to tell.")
    else:
        rates = metrics.error_rates(predictions.labels, predictions.top)
        print(f"Top1 Error: {rates['top1']}")
        print(f"Top5 Error: {rates['top5']}")
        print(f"Balanced Top1 Error: {rates['balanced_top1']}")
        print(f"Balanced Top5 Error: {rates['balanced_top5']}")
        if metrics.placeholders(predictions.labels) and predictions.top.shape[1] > 1:
            print(PLACEHOLDERS)
    print(f"Predictions: {path}")


def write_class_errors(path, num_classes):
    """Upstream's web_acc1.json and web_acc5.json (error rates, whatever the name says), beside the prediction file.

    A class without pictures is null there and left out of the means that are printed.
    """
    predictions = open_predictions(path).arrays()
    for k in (1, 5):
        wrong = metrics.topk_wrong(predictions.labels, predictions.top, k)
        errors = metrics.class_errors(predictions.labels, wrong, num_classes)
        write_json(
            os.path.join(os.path.dirname(path) or ".", f"web_acc{k}.json"),
            [None if np.isnan(error) else float(error) for error in errors],
        )
        print(f"Error{k} {metrics.balanced_error(predictions.labels, wrong, num_classes)}")
