"""From a folder of one's own pictures to a checked model, by the commands of classification/: train, predict, judge,
export. A real set where one is installed, else one that it draws.

Every step is printed before it runs. Run again, it continues or repeats at once.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import time

from webvision.commands import flags
from webvision.environment import ROOT
from webvision.errors import IncompleteError

SCRIPTS = os.path.join(ROOT, "classification")
EPOCHS = 8  # at most: what the probe has, few pictures seldom better


def make_parser():
    parser = flags.CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="demo-own", metavar="DIR", help="where everything goes (default: %(default)s)")
    parser.add_argument("--snapshot", metavar="PATH", help="weights to begin with (default: an installed package's)")
    return parser


def parse_args(argv=None):
    return make_parser().parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    from webvision.prep.demo.own_folder import make_own_folder

    began = time.monotonic()
    pictures, run = (os.path.join(os.path.abspath(args.out), name) for name in ("pictures", "run"))
    os.makedirs(pictures, exist_ok=True)
    print(f"{pictures}: {make_own_folder(pictures)}", flush=True)
    for command in steps(args, pictures, run):
        print(f"\n$ python3 {shlex.join(command)}", flush=True)
        status = subprocess.run([sys.executable, *command], cwd=SCRIPTS).returncode
        if status:
            raise IncompleteError(
                f"the step above ended with exit code {status}; the same command continues from there"
            )
    with open(os.path.join(run, "chosen.json"), encoding="utf-8") as file:
        accuracy = json.load(file)["val_accuracy"]
    print(f"\n{100 * accuracy:.1f} % of val right after {time.monotonic() - began:.0f} s; {run}/report.html shows more")


def steps(args, pictures, run):
    """The commands, as they are typed in classification/."""
    weights = ["--snapshot", os.path.abspath(args.snapshot)] if args.snapshot else []
    result = os.path.join(run, "inference_result.json")
    some = os.path.join(pictures, sorted(os.listdir(pictures))[0])
    train = ["train.py", "--gpu", "-1", "--epochs", str(EPOCHS), "--workers", "2", *weights, "--snapshot-path", run]
    return [
        [*train, pictures],
        ["inference.py", "--gpu", "-1", "--img-path", some, "--snapshot", run, "--save-path", result],
        ["pytorch2onnx.py", "--snapshot", run, "--save-path", os.path.join(run, "model.onnx")],
    ]
