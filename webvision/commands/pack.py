"""Put a data set's pictures into WebDataset shards: few large files instead of millions of small ones.

The same set and seed give the same bytes. Run again after any interruption: it goes on.
"""

import os

from webvision.commands import flags
from webvision.environment import DOOR


def make_parser():
    parser = flags.CommandParser(description=__doc__.replace("\n\n", " "))
    parser.add_argument("--data", required=True, metavar="DIR", help="an ILSVRC-layout folder; it is only read")
    parser.add_argument("--out", required=True, metavar="DIR", help="the new folder: {train,val,test}/*.tar and meta/")
    flags.add_splits(parser)
    parser.add_argument(
        "--per-shard",
        type=flags.at_least(1),
        default=10_000,
        metavar="N",
        help="pictures of a shard (default: %(default)s: 270 MB)",
    )
    order = parser.add_mutually_exclusive_group()
    order.add_argument("--seed", type=int, default=0, metavar="N", help="chooses the order (default: %(default)s)")
    order.add_argument("--as-listed", action="store_true", help="in the list's order")
    parser.add_argument(
        "--max-bad",
        type=flags.share,
        default=0.01,
        metavar="SHARE",
        help="write no lists if more of a split's pictures cannot be read (default: 1%%)",
    )
    parser.add_argument("--allow-outside", action="store_true", help="follow links out of the data folder")
    flags.add_jobs(parser, "shards at a time")
    return parser


def main(argv=None):
    parser = make_parser()
    args = parser.parse_args(argv)
    flags.check_jobs(parser, args)
    from webvision.data.data_set import DataSet
    from webvision.errors import DataError, UsageError, printable
    from webvision.prep.shards.pack import PackOptions, pack_set

    here, there = os.path.realpath(args.data), os.path.realpath(args.out)
    if f"{there}/".startswith(f"{here}/") or f"{here}/".startswith(f"{there}/"):
        raise UsageError("--out must lie outside --data: nothing in --data is ever changed")
    data = DataSet.open(args.data, allow_outside=args.allow_outside)
    names = [name for name in args.splits.split(",") if data.has(name)]
    if not names:
        raise DataError(f"{printable(args.data)}/meta: none of the lists {printable(args.splits)} is here")
    splits = {name: (split.index, split.pictures) for name in names for split in [data.split(name)]}
    options = PackOptions(args.per_shard, None if args.as_listed else args.seed, args.jobs, args.max_bad)
    for name, done in pack_set(splits, data.meta, args.out, options).items():
        left_out = "".join(f", {count:,} left out: {reason}" for reason, count in done.left_out.items())
        repeated = f", {done.repeated:,} rows name a picture again" if done.repeated else ""
        print(f"{name}: {done.pictures:,} pictures in {done.shards:,} shards{left_out}{repeated}")
    print(f"next: {DOOR} check --quick --data {printable(args.out)}; every command takes it as --data")
