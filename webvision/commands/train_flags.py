"""The groups of flags that training from lists has to itself: its recipe, its run, and what to watch of it."""

import argparse

from webvision.commands import flags

CARD_EPOCHS = 110  # training.recipes' own, which is not loaded for --help


def add_recipe_flags(parser):
    group = parser.add_argument_group("recipe")
    group.add_argument("--recipe", default="card", metavar="NAME", help="card (default) or web, for noisy labels")
    group.add_argument("--config", metavar="FILE", help="a recipe as JSON, or another run's run.json, over --recipe's")
    group.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="of the recipe; may be repeated"
    )
    group.add_argument(
        "--batch",
        type=flags.at_least_or(1, "auto"),
        metavar="N|auto",
        help="pictures a step, over all towers; auto: the largest that fits the GPUs, by trying (default: 256)",
    )
    group.add_argument(
        "--epochs",
        type=flags.at_least(1),
        metavar="N",
        help=f"the learning rate falls at 30/60/90 of {CARD_EPOCHS} of them (default: {CARD_EPOCHS})",
    )
    group.add_argument(
        "--epoch-size",
        type=flags.at_least_or(1, "list"),
        metavar="N|list",
        help="pictures in an epoch; 'list': one pass over the balanced list (default: 1280000, ImageNet's)",
    )
    group.add_argument("--lr", type=flags.above(0), help="learning rate (default: 0.1 for each 256 of --batch)")
    group.add_argument(
        "--seed",
        type=flags.at_least(0),
        default=0,
        metavar="N",
        help="of order, augmentation and first weights (default: 0)",
    )
    group.add_argument(
        "--weights", metavar="FILE.npy", help="how much each row of the list counts: label-errors writes it"
    )
    group.add_argument("--sync-bn", action="store_true", help="batch norm over all towers, not each for itself")


def add_run_flags(parser):
    group = parser.add_argument_group("run")
    group.add_argument("--load", metavar="CKPT", help="weights to start from: model-STEP, run folder, or .npz")
    group.add_argument(
        "--finetune",
        action="store_true",
        help="with --load: start the last layer anew if the number of classes differs",
    )
    group.add_argument("--name", help="of the run (default: imagenet-MODE-dDEPTH)")
    group.add_argument("--runs", default="train_log", metavar="DIR", help="where runs go (default: %(default)s)")
    group.add_argument("--fresh", action="store_true", help="a new run beside an existing one instead of continuing it")
    group.add_argument(
        "--save-every",
        type=flags.above(0),
        default=10.0,
        metavar="MINUTES",
        help="between checkpoints, besides each epoch's (default: 10)",
    )
    group.add_argument(
        "--keep",
        type=flags.at_least(1),
        default=10,
        metavar="N",
        help="last checkpoints to keep, besides the best (default: %(default)s)",
    )
    group.add_argument(
        "--keep-every",
        type=flags.at_least(1),
        metavar="K",
        help="keep the checkpoint of every K-th epoch for ever (default: none)",
    )
    group.add_argument(
        "--on-nan",
        choices=["stop", "rollback"],
        default="stop",
        help="when the loss diverges: stop with exit code 6, or go back to the last checkpoint with a tenth of the "
        "learning rate, three times at most (default: stop)",
    )
    group.add_argument(
        "--stop-at",
        type=flags.stop_at,
        metavar="NAME=VALUE,...",
        help="end the run once validation reaches all of these, as top1=75,top5=95,loss=0.5 (accuracies in percent)",
    )
    group.add_argument(
        "--requeue-code",
        type=flags.at_least(0),
        metavar="N",
        help="exit code after a signal (default: 128 + the signal's number)",
    )


def add_watching_flags(parser):
    group = parser.add_argument_group("watching")
    group.add_argument(
        "--log-every",
        type=flags.at_least(1),
        default=100,
        metavar="STEPS",
        help="a line of figures every so many steps (default: 100)",
    )
    group.add_argument(
        "--log-style",
        choices=["plain", "di"],
        default="plain",
        help="di: DI-engine's lines and TensorBoard tags (default: plain)",
    )
    group.add_argument("--histograms", action="store_true", help="of weights and gradients, each epoch")
    group.add_argument(
        "--trace", action="store_true", help="trace one step: its parts in the log, a timeline in the run folder"
    )
    flags.add_hang_limit(group, "600 to start, 180 a step, 420 a batch of validation, 300 a save")


def balance(text):
    """An argparse type: the Balance written as `text`."""
    from webvision.data.lists.balance import parse_balance

    try:
        return parse_balance(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
