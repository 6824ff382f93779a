"""The way back from `pack` and from a set in archives: each listed picture becomes a file of its name.

The same command goes on where it was stopped.
"""

from webvision.commands import flags
from webvision.environment import DOOR


def make_parser():
    parser = flags.CommandParser(description=__doc__.replace("\n\n", " "))
    parser.add_argument("--data", required=True, metavar="DIR", help="a set whose pictures lie in archives; only read")
    parser.add_argument("--out", required=True, metavar="DIR", help="the new folder")
    flags.add_splits(parser)
    parser.add_argument(
        "--max-bad",
        type=flags.share,
        default=0.01,
        metavar="SHARE",
        help="exit with 4, and write no lists, if more of a split's pictures are missing (default: 1%%)",
    )
    flags.add_jobs(parser, "threads")
    return parser


def main(argv=None):
    parser = make_parser()
    args = parser.parse_args(argv)
    flags.check_jobs(parser, args)
    from webvision.errors import IncompleteError
    from webvision.prep.shrink import shrink_set

    splits = args.splits.split(",")
    report = shrink_set(
        args.data, args.out, splits=splits, short_side=None, quality=None, jobs=args.jobs, max_bad=args.max_bad
    )
    print(report.text)
    if report.incomplete:
        raise IncompleteError(
            f"more than {100 * args.max_bad:g} % of the pictures of {', '.join(report.incomplete)} are missing, so no "
            f"lists were written; `{DOOR} check --quick` names them, --max-bad puts up with more"
        )
