"""Write a class-balanced training list: the order in which training with the same seed walks that epoch."""

import os
import sys

from webvision.commands import flags


def make_parser():
    parser = flags.CommandParser(description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", metavar="DIR", help="data set: reads DIR/meta/train.txt and DIR/meta/synsets.txt")
    source.add_argument("--list", metavar="FILE", help="another list, with --synsets")
    parser.add_argument("--synsets", metavar="FILE", help="the classes of --list (default: synsets.txt beside it)")
    parser.add_argument(
        "--balance",
        default="upsample",
        metavar="RULE",
        help="upsample (default): every class as often as the largest; sqrt: halfway; none; "
        "cap:N: no picture more than N times",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="as given to training (default: 0)")
    parser.add_argument("--epoch", type=int, default=0, help="which epoch, from 0 (default)")
    parser.add_argument("--allow-outside", action="store_true", help="accept absolute names and '..' in the list")
    parser.add_argument("--out", required=True, metavar="FILE", help="the list to write")
    return parser


def parse_args(argv=None):
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.synsets and args.data:
        parser.error("--synsets belongs to --list; --data has its own")
    if args.seed < 0 or args.epoch < 0:
        parser.error("--seed and --epoch count from 0")
    return args


def main(argv=None):
    args = parse_args(argv)
    from webvision.data.lists.balance import describe_empty, parse_balance, targets
    from webvision.data.lists.balanced import write_balanced_list
    from webvision.data.lists.index import open_index
    from webvision.data.lists.order import EpochOrder
    from webvision.data.lists.text import read_classes
    from webvision.errors import UsageError, printable
    from webvision.progress import Progress

    try:
        balance = parse_balance(args.balance)
    except ValueError as error:
        raise UsageError(f"--balance: {error}") from None
    list_path = args.list or os.path.join(args.data, "meta", "train.txt")
    classes = read_classes(args.synsets or os.path.join(os.path.dirname(list_path), "synsets.txt"))
    index = open_index(list_path, len(classes), allow_outside=args.allow_outside)
    if not index.labelled:
        raise UsageError(f"{printable(list_path)} has no labels, so there is nothing to balance")
    goal = targets(index.counts, balance)
    order = EpochOrder(index, goal, seed=args.seed)
    with Progress("writing", len(order), "entries") as progress:
        write_balanced_list(args.out, index, order, epoch=args.epoch, progress=progress.update)
    if empty := describe_empty(index.counts, classes):
        print(f"upsample.py: {empty}", file=sys.stderr)
    print(
        f"{printable(args.out)}: {len(order)} entries of {len(index)} pictures in {int((index.counts > 0).sum())} "
        "classes; "
        f"balance {balance}, seed {args.seed}, epoch {args.epoch}"
    )
