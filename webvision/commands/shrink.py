"""Rewrite a data set once with its pictures at short side 256: training reads it about three times faster."""

from webvision.commands import flags
from webvision.environment import DOOR


def make_parser():
    parser = flags.CommandParser(
        description=__doc__,
        epilog=(
            "Every listed picture of OUT is a baseline JPEG of the same name, upright, in colour; smaller ones are "
            "copied "
            "as they are, and so are files that are no picture, so that OUT's lists stay true. The same command "
            "continues "
            "where it was stopped."
        ),
    )
    parser.add_argument("--data", required=True, metavar="DIR", help="an ILSVRC-layout folder; it is only read")
    parser.add_argument("--out", required=True, metavar="DIR", help="the new folder")
    flags.add_splits(parser, "which lists of meta/ to rewrite, where present")
    parser.add_argument(
        "--short-side", type=int, default=256, metavar="PX", help="of the shorter side (default: %(default)s)"
    )
    parser.add_argument("--quality", type=int, default=90, metavar="Q", help="of the JPEGs (default: %(default)s)")
    parser.add_argument(
        "--max-bad",
        type=flags.share,
        default=0.01,
        metavar="SHARE",
        help="exit with 4, and write no lists, if more of a split's pictures are missing or left out (default: 1%%)",
    )
    parser.add_argument("--allow-outside", action="store_true", help="follow links out of the data folder")
    flags.add_jobs(parser, "threads")
    return parser


def parse_args(argv=None):
    parser = make_parser()
    args = parser.parse_args(argv)
    if not 16 <= args.short_side <= 4096:
        parser.error(f"--short-side {args.short_side} is outside 16..4096")
    if not 1 <= args.quality <= 100:
        parser.error(f"--quality {args.quality} is outside 1..100")
    flags.check_jobs(parser, args)
    return args


def main(argv=None):
    args = parse_args(argv)
    from webvision.data.pictures.images import ImagePolicy
    from webvision.errors import IncompleteError
    from webvision.prep.shrink import shrink_set

    report = shrink_set(
        args.data,
        args.out,
        splits=args.splits.split(","),
        short_side=args.short_side,
        quality=args.quality,
        jobs=args.jobs,
        max_bad=args.max_bad,
        policy=ImagePolicy(allow_outside=args.allow_outside),
    )
    print(report.text)
    if report.incomplete:
        raise IncompleteError(
            f"more than {100 * args.max_bad:g} % of the pictures of {', '.join(report.incomplete)} are missing or were "
            f"left out, so no lists were written; {DOOR} check names them. --allow-outside follows links, "
            "--max-bad puts up with more; what was done is not done again"
        )
