"""Predict a list with a checkpoint and write the prediction file, from which scores, submissions and reports are made.

webvision eval --data DIR -d 50 --mode resnet --load train_log/NAME/model-STEP
"""

import argparse
import dataclasses
import os
import sys
from contextlib import closing
from functools import partial

from webvision import watchdog
from webvision.commands import flags
from webvision.environment import DOOR
from webvision.errors import IncompleteError, UsageError, printable

BATCH = 64

AVERAGED = {"better": None, "yes": True, "no": False}


def make_parser():
    parser = flags.CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = flags.add_data_flags(parser)
    data.add_argument("--split", choices=["train", "val", "test"], default="val", help="which list (default: val)")
    data.add_argument(
        "--max-bad",
        type=flags.share,
        default=0.01,
        metavar="SHARE",
        help="of pictures that may be unreadable; more is exit code 4, after all is written (default: 1%%)",
    )
    flags.add_network_flags(parser)
    group = parser.add_argument_group("evaluation")
    group.add_argument("--load", metavar="CKPT", help="weights to evaluate: model-STEP, run folder, or .npz")
    group.add_argument(
        "--out",
        default=os.path.join("train_log", "predictions.json"),
        metavar="FILE",
        help="the prediction file (default: %(default)s)",
    )
    group.add_argument(
        "--class-errors", action="store_true", help="also the error of every class, in web_acc{1,5}.json beside FILE"
    )
    group.add_argument(
        "--scores",
        choices=["top", "all"],
        default="top",
        help="keep the top-5 scores, or those of all classes (default: top)",
    )
    group.add_argument(
        "--crops",
        type=int,
        choices=[1, 5, 10],
        default=1,
        help="average over 5 crops, corners and centre of the resized picture; 10: with --flip (default: the centre)",
    )
    group.add_argument(
        "--averaged",
        choices=list(AVERAGED),
        default="better",
        help="take the averages that the run kept of its weights: yes, no, or where its validation found them "
        "better (default)",
    )
    group.add_argument("--flip", action="store_true", help="average each crop with its mirror image")
    group.add_argument("--logits", metavar="FILE.npy", help="also stream all logits into this file")
    group.add_argument(
        "--batch", type=flags.at_least(1), default=BATCH, metavar="N", help="pictures at a time (default: %(default)s)"
    )
    flags.add_hang_limit(group, "600 to start, 420 a batch")
    flags.add_device_flags(parser)
    return parser


def parse_args(argv=None):
    parser = make_parser()
    args = parser.parse_args(argv)
    flags.check_data(parser, args)
    if not args.load:
        parser.error("the weights to evaluate are needed: --load train_log/NAME/model-STEP")
    if args.crops == 10:
        args.crops, args.flip = 5, True
    if args.logits and (args.crops > 1 or args.flip):
        parser.error("--logits: a mean over views has no logits; --scores all keeps the probabilities")
    try:
        flags.check_network(args.mode, args.depth)
        flags.settle_devices(args)
    except UsageError as error:
        parser.error(str(error))
    return args


def main(argv=None):
    args = parse_args(argv)
    flags.use_devices(args)
    with watchdog.watch(args.hang_limit):
        return evaluate_split(args)


def evaluate_split(args):
    """Predict the list that the flags name."""
    from webvision.data.data_set import DataSet
    from webvision.data.loader.batches import EvalBatches
    from webvision.data.loader.spec import BatchSpec
    from webvision.data.views.presets import PRESETS
    from webvision.inference.evaluate import Outputs, evaluate, prediction_header, refuse_duplicates
    from webvision.inference.predictor import Predictor
    from webvision.inference.provenance import classes_in_header, known_card, settle_size
    from webvision.inference.summary import print_errors, write_class_errors
    from webvision.model.backbones import Network, backbone_of

    data = DataSet.open(args.data, allow_outside=args.allow_outside)
    card = known_card(args.load, classes=data.classes)
    split = data.split(args.split)
    if args.class_errors and not split.index.labelled:
        raise UsageError(
            f"{printable(split.index.path)} has no labels, so no class has an error: leave the errors of classes out "
            "(--eval in place of --eval5k)"
        )
    refuse_duplicates(split.index)
    size = settle_size(
        args.load, card, asked=args.image_size, remark=partial(print, file=sys.stderr), otherwise="--image-size"
    )
    network = Network(backbone_of(args.mode, args.depth), len(data.classes), size)
    preset = PRESETS["webvision"]
    if card:
        card.check_network(network, args.load)
        preset = card.preset
    preset = dataclasses.replace(preset.scaled(size), crops=args.crops, flip=args.flip)
    outputs = Outputs(args.out, args.scores == "all", args.logits)
    os.makedirs(os.path.dirname(outputs.predictions) or ".", exist_ok=True)
    spec = BatchSpec(preset, max(1, args.batch // preset.views))
    with (
        Predictor(
            network,
            flags.arithmetic(args),
            args.load,
            preset=preset,
            devices=args.devices,
            averaged=AVERAGED[args.averaged],
        ) as predictor,
        closing(EvalBatches(split, spec, workers=args.workers)) as batches,
    ):
        averages = ", averaged weights" if predictor.averaged else ""
        print(f"{predictor.checkpoint}: {predictor.match.counts()}{averages}", file=sys.stderr)
        header = prediction_header(
            split.index,
            classes=classes_in_header(data.classes, card),
            network=network,
            preset=preset,
            checkpoint=predictor.checkpoint,
        )
        bad = evaluate(predictor, batches, split.index, header=header, outputs=outputs)
    print_errors(outputs.predictions, bad=batches.bad)
    if args.class_errors:
        write_class_errors(outputs.predictions, len(data.classes))
    if bad > args.max_bad * len(split.index):
        raise IncompleteError(
            f"{bad} of {len(split.index)} pictures could not be read, over --max-bad {args.max_bad:.1%}; their rows "
            f"hold the fallback. {DOOR} check --decode names them"
        )
