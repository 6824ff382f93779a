"""From a folder of pictures to a model: PICTURES/<class>/*, or PICTURES/{train,val}/<class>/* where it is split.

    %(prog)s --gpu -1 --backbone efficientnet-lite0 PICTURES

Looks, converts what is no plain picture, splits by lists (nothing in PICTURES is changed), trains the last layer on
what the frozen network sees, then the whole network from there, keeps what is better on val, and leaves figures and a
report in snapshots/<today>. The same command again goes on where it stopped.
"""

import argparse
import os
import re
import time

from webvision.commands import flags
from webvision.environment import DOOR
from webvision.errors import UsageError, printable

OPTIMIZERS = ("SGD", "ASGD", "ADAM", "ADAMW")


def make_parser():
    parser = flags.CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", metavar="PICTURES", help="folder of class folders; never changed")
    add = flags.adder_of_twins(parser)
    add("--gpu", metavar="LIST", help="GPUs, as 0 or 0,1; -1 for the CPU (default: what is there)")
    add("--backbone", metavar="NAME", help="of the network (default: the snapshot's, else efficientnet-lite0)")
    add(
        "--freeze-backbone",
        type=int,
        choices=[0, 1],
        default=0,
        help="1: train the last layer only, on features that are computed once (default: 0)",
    )
    add("--early-stop", type=int, choices=[0, 1], default=1, help="end when val no longer gets better (default: 1)")
    add("--patience", type=flags.at_least(1), default=7, metavar="EPOCHS", help="without a better one (default: 7)")
    add("--model-name", metavar="NAME", help="of the run, for its folder (default: none)")
    add(
        "--lr", type=flags.above(0), metavar="RATE", help="(default: 1e-3, or less where a few steps show it is unsafe)"
    )
    add(
        "--model-def-path",
        default="./models/",
        metavar="DIR",
        help="taken and left alone: code is never loaded from it",
    )
    add(
        "--snapshot",
        metavar="PATH",
        help="weights to begin with: a run, a checkpoint, an .npz, or another maker's file",
    )
    add("--epochs", type=flags.at_least(1), default=100, metavar="N", help="at most (default: 100)")
    add("--batch-size", type=flags.at_least(1), default=64, metavar="N", help="pictures a step (default: 64)")
    add(
        "--snapshot-path",
        default=os.path.join("snapshots", time.strftime("%Y-%m-%d")),
        metavar="DIR",
        help="folder of the run (default: snapshots/<today>)",
    )
    add("--optimizer", type=str.upper, choices=OPTIMIZERS, default="SGD", help="(default: SGD)")
    add("--momentum", type=flags.at_least(0, float), default=0.9, metavar="M", help="of SGD, Nesterov's (default: 0.9)")
    add("--loss", choices=["cross_entropy"], default="cross_entropy", help="(default: cross_entropy)")
    add("--workers", type=flags.at_least(0), default=1, metavar="N", help="loader processes (default: 1)")
    add("--val", type=flags.share, default=0.2, metavar="SHARE", help="of each class that judges (default: 20%%)")
    add(
        "--test", type=flags.share, default=0.0, metavar="SHARE", help="of each class kept for a last look (default: 0)"
    )
    add("--probe", type=int, choices=[0, 1], default=1, help="0: fine-tune without the probe (default: 1)")
    add("--seed", type=flags.at_least(0), default=0, metavar="N", help="of split, order and first weights (default: 0)")
    return parser


def parse_args(argv=None):
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.val <= 0 or args.val + args.test > 0.9:
        parser.error("--val must be above 0, and leave with --test at least a tenth to train on")
    if args.freeze_backbone and not args.probe:
        parser.error("--freeze-backbone 1 is the probe; --probe 0 leaves nothing to train")
    return args


def main(argv=None):
    args = parse_args(argv)
    from webvision.commands.own_pictures.finetuning import Tuning
    from webvision.commands.own_pictures.road import Wanted, walk
    from webvision.devices import Devices, choose_gpus, cpu_cores
    from webvision.prep.own_folder.split import Shares

    gpus = choose_gpus(args.gpu)
    flags.show_only(gpus)
    run = os.path.join(args.snapshot_path, args.model_name) if args.model_name else args.snapshot_path
    _refuse_names(run)
    tuning = Tuning(
        epochs=args.epochs,
        lr=args.lr,
        optimizer=args.optimizer.lower(),
        momentum=args.momentum,
        patience=args.patience if args.early_stop else 0,
        seed=args.seed,
    )
    walk(
        Wanted(
            pictures=args.pictures,
            run=run,
            backbone=args.backbone,
            snapshot=args.snapshot,
            shares=Shares(args.val, args.test),
            probe=bool(args.probe),
            fine_tune=None if args.freeze_backbone else tuning,
            batch=args.batch_size,
            workers=args.workers,
            jobs=cpu_cores(),
            devices=Devices(bool(gpus), max(1, len(gpus))),
        )
    )


def _refuse_names(run):
    try:
        run.encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError(f"{printable(run)}: TensorFlow takes only UTF-8 for a name; choose another folder") from None


def are_named(argv, *, instead_of):
    """True where the words name a folder of one's own pictures, without lists: first, or last and no flag's value.

    `instead_of` is the parser of training from lists: its error where a flag of its own stands beside the folder.
    """
    own, others = make_parser()._option_string_actions, instead_of._option_string_actions
    if not argv or argv[0].startswith("-") and not _ends_in_a_word(argv, {**others, **own}):
        return False
    for word in argv:
        flag = word.split("=")[0]
        if flag in others and flag not in own:
            instead_of.error(
                f"{flag} is of training from lists; `{DOOR} train-pictures --help` tells what goes with PICTURES"
            )
    return True


def _ends_in_a_word(argv, known):
    """True if the last of `argv` is no flag and, by the flags `known`, no flag's value."""
    *_, before, last = "", *argv
    if last.startswith("-"):
        return False
    takes_none = "=" in before or before in known and known[before].nargs == 0
    return takes_none or not re.match(r"-[^\d]", before)  # -1 is a value: --gpu -1
