"""The main job, end to end, on a small data set that it draws itself: arrange, train, evaluate, score, submit.

Every step is one of the project's own commands, printed before it runs. Run again, it continues or repeats at once.
"""

import argparse
import os
import shlex
import subprocess
import sys
import time

from webvision.commands import flags
from webvision.environment import ROOT
from webvision.errors import IncompleteError, WebvisionError

CLASSES = 12
CHANCE_ERROR = 1 - 1 / CLASSES
# 10 epochs of 28 steps: the rate falls after 3, 5 and 8, as it does after 30, 60 and 90 of the full recipe's 110.
TRAINING = [
    "-d",
    "18",
    "--image-size",
    "64",
    "--batch",
    "64",
    "--lr",
    "0.05",
    "--epochs",
    "10",
    "--epoch-size",
    "1792",
    "--log-every",
    "30",
    "--keep",
    "2",
]


def make_parser():
    parser = flags.CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="demo", metavar="DIR", help="where everything goes (default: %(default)s)")
    return parser


def parse_args(argv=None):
    return make_parser().parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    began = time.monotonic()
    place = {
        name: os.path.join(args.out, name)
        for name in ("raw", "data", "runs", "val.json", "train.json", "test.json", "submission.zip", "report.html")
    }
    os.makedirs(args.out, exist_ok=True)
    for title, command in steps(place):
        print(f"\n== {title}\n$ python3 {shlex.join(command)}", flush=True)
        status = subprocess.run([sys.executable, *command]).returncode
        if status:
            raise _Failed(
                f"the step above ended with exit code {status}; `make demo` again continues from there", status
            )
    error = balanced_error(place["val.json"])
    print(closing_words(place, error, time.monotonic() - began))
    if error >= CHANCE_ERROR / 3:
        raise IncompleteError(
            f"the balanced error {error:.3f} is not under a third of chance's {CHANCE_ERROR:.3f}; "
            f"is {place['runs']} from other settings? `rm -r {args.out}` and try again"
        )


class _Failed(WebvisionError):
    def __init__(self, message, exit_code):
        super().__init__(message)
        self.exit_code = exit_code


def steps(place):
    """(title, command) of every step, in order."""
    trainer, run = os.path.relpath(os.path.join(ROOT, "imagenet-resnet.py")), os.path.join(place["runs"], "demo")
    tool = lambda name: os.path.relpath(os.path.join(ROOT, "utils", name))  # noqa: E731
    evaluation = [trainer, "--data", place["data"], "-d", "18", "--eval", "--load", run]
    return [
        (
            "Draw a small WebVision: google and flickr sources, 20:1 imbalance, wrong labels, broken files",
            [tool("demo_data.py"), "--out", place["raw"]],
        ),
        (
            "Arrange it into the ILSVRC layout",
            [tool("preprocess.py"), "--raw", place["raw"], "--data", place["data"], "--link"],
        ),
        ("Check it", [tool("check.py"), "--data", place["data"]]),
        (
            "Train a ResNet-18 on balanced classes",
            [trainer, "--data", place["data"], *TRAINING, "--out", place["runs"], "--name", "demo"],
        ),
        ("Evaluate it on the validation list", [*evaluation, "--out", place["val.json"]]),
        ("Score the predictions", [tool("eval_score.py"), place["val.json"]]),
        ("Predict the unlabelled test list", [*evaluation, "--split", "test", "--out", place["test.json"]]),
        (
            "Write the submission, and read it again",
            [tool("json2sub.py"), place["test.json"], "--out", place["submission.zip"]],
        ),
        (
            "Predict the training list too: where the network is sure of another class, the label may be wrong",
            [*evaluation, "--split", "train", "--out", place["train.json"]],
        ),
        (
            "Make a report to look at",
            [
                tool("report.py"),
                place["val.json"],
                place["train.json"],
                "--data",
                place["data"],
                "--names",
                os.path.join(place["raw"], "info", "synsets.txt"),
                "--out",
                place["report.html"],
            ],
        ),
    ]


def balanced_error(path):
    """The class-balanced top-1 error of a prediction file."""
    from webvision.scoring.figures import metrics
    from webvision.scoring.predictions.file import open_predictions

    predictions = open_predictions(path).arrays()
    return metrics.error_rates(predictions.labels, predictions.top, CLASSES)["balanced_top1"]


def closing_words(place, error, seconds):
    """Where everything is, and what to type next."""
    return f"""
== Done in {seconds:.0f} s: balanced top-1 error {error:.3f} on the validation set (chance: {CHANCE_ERROR:.3f})
data         {place["data"]}
run          {place["runs"]}/demo: checkpoints, log.log, stats.json, TensorBoard events
predictions  {place["val.json"]}, {place["test.json"]}
submission   {place["submission.zip"]}: what CodaLab takes
report       {place["report.html"]}: open it in a browser; it shows the labels that are probably wrong

Next, on a data set of yours in the same layout:
  python3 ./imagenet-resnet.py --data DIR --gpu 0,1,2,3 -d 50 --mode resnet
  python3 ./imagenet-resnet.py --data DIR -d 50 --mode resnet --eval --load train_log/imagenet-resnet-d50
  python3 utils/json2sub.py"""
