"""Train arms on noisy labels, one after the other; one line of JSON for each, and the table. Finished ones are kept.

    python -m benchmarks.learn.run --fashion /usr/share/datasets/fashion-mnist --work DIR [--task many] [--seeds 0,1,2]
    python -m benchmarks.learn.run --data DIR --truth FILE --work DIR [-- -d 18 --image-size 64 --epochs ...]

The second is for any set in the ILSVRC layout: FILE holds the true class of each line of meta/train.txt, -1 for none;
its val list is what arms are judged on. What follows -- goes to every training, so that there a ResNet is trained.
"""

import argparse
import json
import os
import resource
import shutil
import sys

from webvision.environment import use_project_environment

use_project_environment("tensorflow", "tensorpack", "cv2")

import numpy as np  # noqa: E402

from benchmarks.learn import pictures  # noqa: E402
from benchmarks.learn.arms import ARMS  # noqa: E402
from benchmarks.learn.network import train_small  # noqa: E402
from benchmarks.learn.table import table  # noqa: E402
from webvision.commands import label_errors, train  # noqa: E402
from webvision.scoring.predictions.margins_file import read_margins  # noqa: E402

TASKS = {  # (largest class, passes, noisy)
    "many": (500, 40, True),
    "few": (3000, 5, True),
    "clean": (175, 40, False),
}
# In all arms: grey pictures of whole articles, on a network that sees a batch of them in 15 ms.
SMALL = (
    *("--set", "view.area=0.85,1", "--set", "view.aspect=1,1", "--set", "view.colours=false"),
    *("--image-size", "32", "--batch", "32", "--lr", "0.05", "--workers", "0", "--gpu", "-1", "--epochs", "1"),
    *("--save-every", "3", "--log-every", "200"),
)


def parse_args(argv):
    own, passed_on = _split(argv)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--fashion", metavar="DIR", help="Debian's dataset-fashion-mnist")
    source.add_argument("--data", metavar="DIR", help="a set in the ILSVRC layout, with --truth")
    parser.add_argument("--truth", metavar="FILE", help="the true class of each line of its train.txt, -1 for none")
    parser.add_argument("--work", required=True, metavar="DIR", help="where tasks, runs and results.jsonl go")
    parser.add_argument("--task", choices=list(TASKS), default="many")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--arms", default=",".join(ARMS), help="in this order; card and oracle make the scale")
    args = parser.parse_args(own)
    if bool(args.data) != bool(args.truth):
        parser.error("--data and --truth belong together")
    if unknown := set(args.arms.split(",")) - ARMS.keys():
        parser.error(f"no arm is called {sorted(unknown)[0]!r}: {', '.join(ARMS)}")
    args.passed_on, args.task = passed_on, "data" if args.data else args.task
    return args


def _split(argv):
    """(what stands before --, what stands behind it)."""
    place = argv.index("--") if "--" in argv else len(argv)
    return argv[:place], argv[place + 1 :]


def main(argv=None):
    args = parse_args(sys.argv[1:] if argv is None else argv)
    os.makedirs(args.work, exist_ok=True)
    for seed in map(int, args.seeds.split(",")):
        for arm in args.arms.split(","):
            if (args.task, seed, arm) not in {(r["task"], r["seed"], r["arm"]) for r in results(args.work)}:
                measured = {"task": args.task, "seed": seed, "arm": arm, **run_arm(args, seed, arm)}
                with open(os.path.join(args.work, "results.jsonl"), "a") as file:
                    file.write(json.dumps(measured) + "\n")
    print(table(results(args.work)))


def results(work):
    """The lines written so far."""
    try:
        with open(os.path.join(work, "results.jsonl")) as file:
            return [json.loads(line) for line in file]
    except FileNotFoundError:
        return []


def run_arm(args, seed, name):
    """Train one arm, from where it was if it was begun; what it measured."""
    arm, task = ARMS[name], task_folder(args, seed)
    runs = os.path.join(args.work, f"runs-{args.task}-{seed}")
    run = os.path.join(runs, name.replace(" ", "-"))
    settings = [part for setting in arm.settings for part in ("--set", setting)]
    before = resource.getrusage(resource.RUSAGE_SELF)
    training = train.main if args.passed_on else train_small
    training(
        [
            *("--data", task + "-oracle" if arm.oracle else task, "--runs", runs, "--name", os.path.basename(run)),
            *("--recipe", arm.recipe, "--seed", str(seed), "--keep", "1"),
            *(args.passed_on or (*SMALL, "--epoch-size", str(rows_of(task) * passes_of(args)))),
            *settings,
            *(second_pass(args, seed, task) if arm.second_pass else ()),
        ]
    )
    after = resource.getrusage(resource.RUSAGE_SELF)
    with open(os.path.join(run, "stats.json")) as file:
        stats = json.load(file)[-1]
    found = {} if arm.oracle else finder(task, os.path.join(run, f"model-{stats['global_step']}.margins.npz"))
    return {
        "error": stats[("average-" if arm.averaged else "") + "val-balanced-error-top1"],
        "error_last": stats["val-balanced-error-top1"],
        "train_error": stats["train-error-top1"],
        "cpu_s": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "steps": stats["global_step"],
        **found,
    }


def passes_of(args):
    return TASKS[args.task][1]


def rows_of(task):
    with open(os.path.join(task, "meta", "truth.txt")) as file:
        return sum(1 for _ in file)


def second_pass(args, seed, task):
    """The flags of a training whose rows weigh what the margins of the arm `web` say."""
    runs = os.path.join(args.work, f"runs-{args.task}-{seed}")
    weights = os.path.join(runs, "weights.npy")
    label_errors.main([os.path.join(runs, "web"), "--data", task, "--write-weights", weights])
    return "--weights", weights


def task_folder(args, seed):
    """The data set of a seed, made when it is not there; of --data, its pictures with links."""
    folder = os.path.join(args.work, args.task if args.data else f"{args.task}-{seed}")
    if not os.path.exists(folder + "-oracle"):
        shutil.rmtree(folder, ignore_errors=True)
        if args.data:
            pictures.link_set(args.data, args.truth, folder)
        else:
            largest, _, noisy = TASKS[args.task]
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
