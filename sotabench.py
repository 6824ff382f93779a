#!/usr/bin/env python3
"""Evaluate a model on ILSVRC 2012's validation images as sotabench does; its server runs this file without arguments.

The result goes where SOTABENCH_STORE_FILENAME says, in sotabench's format, and to stdout.
"""

import os
import sys

ROOT = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, ROOT)
from webvision.environment import use_project_environment  # noqa: E402

use_project_environment("numpy", "cv2")

import argparse  # noqa: E402

from webvision.devices import cpu_cores, installed_gpus  # noqa: E402
from webvision.errors import UsageError, run_command  # noqa: E402

# What the server evaluates: edit these for your model.
MODEL = "resnet50"  # a network of this project, or a Python file with logits(images) and PRESET
CHECKPOINT = os.path.join(
    ROOT, "train_log", "sotabench"
)  # a checkpoint or a run's folder; sotabench_setup.sh can fetch it
MODEL_NAME = "ResNet-50"
PAPER_ARXIV_ID = "1512.03385"


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--data", default=".", metavar="DIR", help="ILSVRC2012_img_val.tar or val/, and the devkit archive or val.txt")
    add("--labels", metavar="FILE", help="the devkit archive or a text list of labels, if not in DIR")
    add("--model", default=MODEL, help="default: %(default)s")
    add("--checkpoint", default=CHECKPOINT, help="default: %(default)s")
    add("--model-name", default=MODEL_NAME, metavar="NAME", help="as in the result (default: %(default)s)")
    add("--paper-arxiv-id", default=PAPER_ARXIV_ID, metavar="ID", help="default: %(default)s")
    add("--batch", type=int, default=128, metavar="N", help="images a batch (default: %(default)s)")
    add("--workers", type=int, default=cpu_cores(), metavar="N", help="decoding threads (default: %(default)s)")
    add("--gpus", type=int, default=installed_gpus(), metavar="N", help="0: the CPU (default: %(default)s)")
    add("--cache", metavar="DIR", help="keep results here, and use them when the model has not changed")
    add(
        "--max-bad",
        type=float,
        default=0.01,
        metavar="SHARE",
        help="unreadable images that are still fine (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    if args.batch < 1 or args.workers < 1:
        raise UsageError("--batch and --workers must be at least 1")
    if not 0 <= args.gpus <= installed_gpus():
        raise UsageError(f"--gpus {args.gpus}: this machine shows {installed_gpus()}; 0 computes on the CPU")
    return args


def main(argv=None):
    args = parse_args(argv)
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, range(args.gpus))) if args.gpus else "-1"
    import json

    from webvision.challenges.sotabench import evaluate, result_cache
    from webvision.challenges.sotabench.evaluator import ImageNetEvaluator
    from webvision.inference import own_model

    evaluator = ImageNetEvaluator(
        args.data, args.model_name, args.paper_arxiv_id, labels=args.labels, cache_dir=args.cache
    )
    files = evaluate.open_images(evaluator.root)
    model = own_model.find_model(args.model, args.checkpoint, preset="sotabench")
    if evaluator.has_cache:
        evaluator.identity = result_cache.identity_of(
            model.contents_sha256(args.checkpoint), repr(model.preset), evaluate.open_images(evaluator.root)
        )
    with model.open(args.checkpoint, gpus=args.gpus) as predict:
        evaluator.reset_time()
        bad = evaluate.evaluate(evaluator, files, predict, preset=model.preset, batch=args.batch, workers=args.workers)
        if bad:
            evaluator.identity = None  # not kept: the next time they may be readable
        print(json.dumps(evaluator.save().to_dict(), ensure_ascii=False))
    evaluate.check_bad(bad, len(evaluator.targets), args.max_bad)


if __name__ == "__main__":
    run_command(main)
