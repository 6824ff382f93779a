"""What does training at that size need? Cores, disk, network and hours for a number of pictures and GPUs, and what
gives out first; from what `webvision speed --json` measured here, or from published figures."""

import argparse
import json

from webvision.commands import flags


def make_parser():
    parser = flags.CommandParser(description=__doc__.replace("\n", " "))
    parser.add_argument("--pictures", type=count, required=True, metavar="N", help="of the training list, e.g. 16e6")
    parser.add_argument("--gpus", type=count, required=True, metavar="N", help="in all")
    parser.add_argument("--epoch", type=count, metavar="N", help="samples of an epoch, if balancing makes them more")
    parser.add_argument(
        "--picture-kb", type=positive, default=27.0, metavar="KB", help="mean size (default: %(default)g)"
    )
    parser.add_argument("--speed", metavar="FILE", help="what `webvision speed --json` printed here")
    site = parser.add_argument_group("the machines")
    site.add_argument("--gpus-per-node", type=count, default=8, metavar="N", help="of a node (default: %(default)s)")
    site.add_argument("--cores", type=count, default=96, metavar="N", help="of a node (default: %(default)s)")
    site.add_argument(
        "--rate",
        type=positive,
        default=2400.0,
        metavar="N",
        help="pictures/s of one GPU alone (default: %(default)g: an A100)",
    )
    site.add_argument("--batch", type=count, default=256, metavar="N", help="of a GPU (default: %(default)s)")
    site.add_argument(
        "--link-gbit", type=positive, default=100.0, metavar="N", help="network of a node (default: %(default)g)"
    )
    site.add_argument(
        "--storage-gbyte", type=positive, metavar="N", help="GB/s of the file server; none: a copy in each node"
    )
    return parser


def count(text):
    """'16e6' -> 16000000"""
    number = _number(text)
    if not number.is_integer() or number < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of things; write 16e6 or 16000000")
    return int(number)


def positive(text):
    """'1.5' -> 1.5"""
    number = _number(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive number")
    return number


def _number(text):
    """'1.5' -> 1.5; NaN for what is no number."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def main(argv=None):
    args = make_parser().parse_args(argv)
    from webvision.data.plan import Load, Site, explain, plan
    from webvision.errors import DataError, printable

    measured = {}
    if args.speed:
        try:
            with open(args.speed, encoding="utf-8") as file:
                timing = json.load(file)
            measured = {"worker_us": float(timing["worker"]), "hand_over_us": float(timing["hand_over"])}
        except (ValueError, KeyError, TypeError):
            raise DataError(f"{printable(args.speed)}: not what `webvision speed --json` prints") from None
    load = Load(args.pictures, picture_bytes=1000 * args.picture_kb, epoch=args.epoch)
    site = Site(
        gpus=args.gpus,
        gpus_per_node=min(args.gpus_per_node, args.gpus),
        cores_per_node=args.cores,
        step_rate=args.rate,
        batch=args.batch,
        link=args.link_gbit * 1e9 / 8,
        storage=args.storage_gbyte and args.storage_gbyte * 1e9,
        **measured,
    )
    print("\n".join(explain(load, site, plan(load, site))))
