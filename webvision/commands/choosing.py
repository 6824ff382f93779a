"""What `auto` means for a command's --precision and --batch; said on stderr."""

import dataclasses
import os
import sys

from webvision.errors import UsageError
from webvision.machine import gpu_facts
from webvision.machine.choices import best_precision, xla_pays


def choose_precision(args):
    """--precision auto: what the weakest of the GPUs is fastest in, and XLA where it pays; said on stderr."""
    gpus = gpu_facts.chosen_gpus(args.gpus)
    if len(gpus) < len(args.gpus):
        raise UsageError("--precision auto: the driver does not know all of these GPUs; name a precision")
    args.precision = best_precision([gpu.capability for gpu in gpus])
    args.xla = args.xla or xla_pays(args.precision, on_gpu=bool(gpus))
    weakest = min(gpus, key=lambda gpu: gpu.capability, default=None)
    where = f"{weakest.name}, compute capability {'.'.join(map(str, weakest.capability))}" if weakest else "the CPU"
    print(f"--precision auto: {args.precision}{', compiled by XLA' * args.xla} ({where})", file=sys.stderr)


def choose_batch(args):
    """--batch auto: the recipe's batch becomes the largest that fits, and the learning rate follows."""
    args.recipe = dataclasses.replace(args.recipe, batch=largest_batch(args))
    print(f"--batch auto: {args.recipe.batch} pictures a step, learning rate {args.recipe.base_lr:g}", file=sys.stderr)


def largest_batch(args):
    """The batch of the run that is there, else the largest that the step fits the GPUs with."""
    from webvision.data.data_set import DataSet
    from webvision.model.backbones import Network, backbone_of
    from webvision.training.graph import largest_batch as search

    backbone = backbone_of(args.mode, args.depth)
    folder = os.path.join(args.runs, args.name or f"imagenet-{Network(backbone, 1).name}")
    if not args.fresh and (batch := search.batch_of_run(folder)):
        return batch
    classes = len(DataSet.open(args.data, allow_outside=args.allow_outside).classes)
    step = ["-d", args.depth, "--mode", args.mode, "--classes", classes, "--image-size", args.image_size or 224]
    step += ["--gpu", ",".join(args.gpus), *(["--xla"] if args.xla else [])]
    for name in ("precision", "data_format"):
        step += [f"--{name}", getattr(args, name)] if getattr(args, name) else []
    return search.find([*map(str, step)], args.devices.count, say=lambda line: print(line, file=sys.stderr))
