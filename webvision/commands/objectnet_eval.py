"""Predict a folder of ObjectNet images with one of this project's networks or your own, as the challenge wants it."""

import argparse
import contextlib
import os
import sys

from webvision.commands import flags
from webvision.devices import cpu_cores, installed_gpus
from webvision.environment import ROOT
from webvision.errors import UsageError


def truth(text):
    """The boolean that `text` means; unlike bool(), which calls 'False' true."""
    values = {"true": True, "t": True, "1": True, "yes": True, "false": False, "f": False, "0": False, "no": False}
    if text.lower() not in values:
        raise argparse.ArgumentTypeError(f"{text!r} is neither True nor False")
    return values[text.lower()]


def make_parser():
    parser = flags.CommandParser(description=__doc__)
    add = parser.add_argument
    given = {"nargs": "?"}  # the template's defaults
    add(
        "images", **given, metavar="IMAGES", default="input/images", help="folder of .png images, searched at any depth"
    )
    add(
        "output_file",
        **given,
        metavar="OUTPUT",
        default="output/predictions.csv",
        help="predictions.csv to write; it must not exist",
    )
    add(
        "model_class_name",
        **given,
        metavar="MODEL",
        default="resnext101_32x48d_wsl",
        help="a PyTorch class or function in model_description.py, a Python file with logits(images) and PRESET, "
        "or resnet50, se101, ...",
    )
    add(
        "model_checkpoint",
        **given,
        metavar="CHECKPOINT",
        default="model/ig_resnext101_32x48-3e41cc8a.pth",
        help="the model's weights",
    )
    add(
        "--workers",
        type=int,
        default=cpu_cores(),
        metavar="N",
        help="loader workers, 1 to %(default)s (default: %(default)s)",
    )
    add(
        "--gpus", type=int, default=installed_gpus(), metavar="N", help="GPUs to use; 0: the CPU (default: %(default)s)"
    )
    add("--batch_size", type=int, default=96, metavar="N", help="images a batch and GPU (default: %(default)s)")
    add(
        "--softmax",
        type=truth,
        default=True,
        metavar="T/F",
        help="confidences by softmax; else the logits (default: True)",
    )
    add(
        "--convert_outputs_mode",
        type=int,
        default=1,
        choices=(0, 1),
        metavar="N",
        help="1: ImageNet classes become ObjectNet ids (default); 0: ids as the model gives them",
    )
    add(
        "--mapping",
        metavar="PATH",
        help="ObjectNet's mappings folder or id JSON (default: mappings/ in or beside IMAGES)",
    )
    add(
        "--model-folder",
        metavar="DIR",
        default=os.path.join(ROOT, "objectnet", "model"),
        help="where model_description.py and data_transform_description.py are (default: objectnet/model)",
    )
    add(
        "--max-bad",
        type=flags.share,
        default=0.01,
        metavar="SHARE",
        help="unreadable images that are still fine (default: %(default)s)",
    )
    return parser


def parse_args(argv=None):
    parser = make_parser()
    args = parser.parse_args(argv)
    check(args)
    return args


def check(args):
    """UsageError for numbers that this machine cannot serve."""
    if not 1 <= args.workers <= cpu_cores():
        raise UsageError(f"--workers {args.workers}: from 1 to the {cpu_cores()} CPUs that this process may use")
    flags.show_first(args.gpus)
    if args.batch_size < 1:
        raise UsageError(f"--batch_size {args.batch_size}: at least 1")


@contextlib.contextmanager
def open_model(args):
    """(model, predict) of the model that the command names."""
    from webvision.inference import own_model, torch_model

    checkpoint = args.model_checkpoint
    if torch_model.describes(args.model_folder, args.model_class_name):
        model = torch_model.find_torch_model(args.model_folder, args.model_class_name)
        beside = os.path.join(os.path.dirname(os.path.abspath(args.model_folder)), checkpoint)  # the template's place
        checkpoint = checkpoint if os.path.exists(checkpoint) or not os.path.exists(beside) else beside
        opened = model.open(checkpoint, gpus=args.gpus, workers=args.workers)
    else:
        model = own_model.find_model(args.model_class_name, checkpoint, preset="objectnet")
        opened = model.open(checkpoint, gpus=args.gpus)
    with opened as predict:
        yield model, predict


def main(argv=None):
    args = parse_args(argv)
    from webvision.challenges.objectnet import evaluate
    from webvision.challenges.objectnet.mapping import find_mapping, read_mapping
    from webvision.challenges.objectnet.predictions_csv import check_output

    print("**** params ****", *(f"{name} {value}" for name, value in vars(args).items()), "****************", sep="\n")
    check_output(args.output_file)
    pictures = evaluate.find_pictures(args.images, remark=lambda text: print(text, file=sys.stderr))
    mapping = read_mapping(args.mapping or find_mapping(args.images)) if args.convert_outputs_mode else None
    with open_model(args) as (model, predict):
        counts = evaluate.evaluate(
            pictures,
            args.output_file,
            predict,
            preset=model.preset,
            mapping=mapping,
            softmax=args.softmax,
            batch=args.batch_size * max(1, args.gpus),
            workers=args.workers,
        )
    print("Done. Number of predictions: ", counts.images)
    evaluate.check_bad(counts, args.max_bad)
