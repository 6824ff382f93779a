"""Runs arms one after the other in this process and writes a line of JSON for each; finished ones are not run again.

python -m benchmarks.learn.run --task many --seeds 0,1,2 --arms card,oracle,web --work DIR
"""

import argparse
import json
import os
import resource
import shutil
import sys

import numpy as np

from webvision.environment import use_project_environment

use_project_environment("tensorflow", "tensorpack", "cv2")

from benchmarks.learn import pictures  # noqa: E402
from benchmarks.learn.arms import ARMS  # noqa: E402
from benchmarks.learn.network import load_command  # noqa: E402
from webvision.scoring.predictions.margins_file import read_margins  # noqa: E402

TASKS = {  # (largest class, passes, noisy)
    "many": (500, 40, True),
    "few": (3000, 5, True),
    "clean": (175, 40, False),
}
BATCH, SIZE, RATE = 32, 32, 0.05
VIEW = (
    "view.area=0.85,1",
    "view.aspect=1,1",
    "view.colours=false",
)  # in all arms: these are grey pictures of whole articles


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fashion", required=True, help="folder of Debian's dataset-fashion-mnist")
    parser.add_argument("--work", required=True, help="where tasks, runs and results.jsonl go")
    parser.add_argument("--task", choices=list(TASKS), default="many")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--arms", default=",".join(ARMS))
    args = parser.parse_args()
    command = load_command()
    for seed in map(int, args.seeds.split(",")):
        for arm in args.arms.split(","):
            if (args.task, seed, arm) not in {(r["task"], r["seed"], r["arm"]) for r in results(args.work)}:
                measured = {"task": args.task, "seed": seed, "arm": arm, **run_arm(command, args, seed, arm)}
                with open(os.path.join(args.work, "results.jsonl"), "a") as file:
                    file.write(json.dumps(measured) + "\n")
                print(json.dumps(measured), flush=True)


def results(work):
    """The lines written so far."""
    try:
        with open(os.path.join(work, "results.jsonl")) as file:
            return [json.loads(line) for line in file]
    except FileNotFoundError:
        return []


def run_arm(command, args, seed, name):
    """Train one arm, from where it was if it was begun; what it measured."""
    arm, (_, passes, _) = ARMS[name], TASKS[args.task]
    task = task_folder(args, seed)
    with open(os.path.join(task, "meta", "task.json")) as file:
        rows = json.load(file)["rows"]
    out, run = os.path.join(args.work, f"runs-{args.task}-{seed}"), name.replace(" ", "-").replace(",", "")
    settings = [part for setting in (*VIEW, *arm.settings) for part in ("--set", setting)]
    before = resource.getrusage(resource.RUSAGE_SELF)
    command.main(
        [
            *("--data", task + "-oracle" if arm.oracle else task, "--out", out, "--name", run),
            *("--recipe", arm.recipe, *settings, "--seed", str(seed), "--lr", str(RATE)),
            *("--image-size", str(SIZE), "--batch", str(BATCH), "--workers", "0", "--gpu", "-1"),
            *("--epochs", "1", "--epoch-size", str(rows * passes), "--save-every", "3", "--keep", "1"),
            *("--log-every", "200"),
        ]
    )
    after = resource.getrusage(resource.RUSAGE_SELF)
    with open(os.path.join(out, run, "stats.json")) as file:
        stats = json.load(file)[-1]
    steps = stats["global_step"]
    return {
        "error": stats[("average-" if arm.averaged else "") + "val-balanced-error-top1"],
        "error_last": stats["val-balanced-error-top1"],
        "train_error": stats["train-error-top1"],
        "cpu_s": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "steps": steps,
        **({} if arm.oracle else finder(task, os.path.join(out, run, f"model-{steps}.margins.npz"))),
    }


def task_folder(args, seed):
    """The data set of a seed, made when it is not there."""
    folder = os.path.join(args.work, f"{args.task}-{seed}")
    if not os.path.exists(folder + "-oracle"):
        largest, _, noisy = TASKS[args.task]
        shutil.rmtree(folder, ignore_errors=True)
        pictures.make_task(pictures.read_fashion(args.fashion), folder, seed=seed, largest=largest, noisy=noisy)
        pictures.make_oracle(folder, folder + "-oracle")
    return folder


def finder(task, path):
    """How well the margins tell wrong rows: precision among as many of the lowest as there are wrong ones."""
    truth = np.loadtxt(os.path.join(task, "meta", "truth.txt"), int)
    with open(os.path.join(task, "meta", "train.txt")) as file:
        wrong = truth != [int(line.rsplit(" ", 1)[1]) for line in file]
    if not os.path.exists(path) or not wrong.any():
        return {}
    means = read_margins(path, len(truth)).mean()
    lowest = np.argsort(np.where(np.isnan(means), np.inf, means), kind="stable")[: wrong.sum()]
    return {"finder_precision": round(float(wrong[lowest].mean()), 4)}


if __name__ == "__main__":
    sys.exit(main())
