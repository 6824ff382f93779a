"""Is my data right? Checks a data set's lists, files and pictures, and reports; never changes any of them.

Goes on where it was killed. Exit code 0: in order; 3: a list has wrong lines; 4: too many pictures missing or damaged.
"""

import dataclasses
import os

from webvision.commands import flags
from webvision.devices import cpu_cores


def make_parser():

    parser = flags.CommandParser(description=__doc__.replace("\n\n", " "))
    parser.add_argument(
        "--data", required=True, metavar="DIR", help="data set: train/, val/, test/ and meta/ with their lists"
    )
    level = parser.add_mutually_exclusive_group()
    level.add_argument(
        "--quick", dest="level", action="store_const", const="names", help="lists and files only; read no picture"
    )
    level.add_argument(
        "--decode",
        dest="level",
        action="store_const",
        const="decode",
        help="decode every picture as training does (default: read its bytes, for equal pictures)",
    )
    level.add_argument(
        "--near", dest="level", action="store_const", const="near", help="--decode, and find pictures that look alike"
    )
    parser.add_argument(
        "--sample",
        type=flags.at_least(1),
        metavar="N",
        help="look at N pictures of each list, decoded, drawn without a pattern, and bound the share of bad ones among "
        "all with 95%% confidence (3000 without a bad one: below 0.13%%); writes nothing",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of --sample: draw others (default: %(default)s)"
    )
    parser.add_argument("--out", metavar="DIR", help="folder for the reports (default: DATA/check)")
    parser.add_argument("--fix", action="store_true", help="write cleaned lists to OUT/fixed/")
    parser.add_argument(
        "--max-bad",
        type=flags.share,
        default=0.01,
        metavar="SHARE",
        help="exit with 4 if more of a split's pictures are missing or damaged (default: 1%%)",
    )
    parser.add_argument(
        "--accept-truncated", action="store_true", help="cut files count as pictures, as for training with this flag"
    )
    parser.add_argument(
        "--allow-outside",
        action="store_true",
        help="accept absolute names and '..' in lists, and links out of the data folder",
    )
    parser.add_argument(
        "--jobs", type=int, default=cpu_cores(), metavar="N", help="worker processes (default: one per core)"
    )
    parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="S", help="seconds one picture may take (default: 60)"
    )
    parser.add_argument(
        "--restart", action="store_true", help="begin anew instead of going on with an unfinished check"
    )
    parser.set_defaults(level="content")
    return parser


def parse_args(argv=None):
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.jobs < 1 or args.timeout <= 0:
        parser.error("--jobs and --timeout must be positive")
    return args


def main(argv=None):
    args = parse_args(argv)
    from webvision.data.pictures.images import ImagePolicy
    from webvision.errors import DataError, IncompleteError, printable
    from webvision.prep.check.check import CheckOptions, check
    from webvision.prep.check.report import summary
    from webvision.prep.check.scan import ScanOptions

    out = args.out or os.path.join(args.data, "check")
    scan = ScanOptions(
        args.level, ImagePolicy(accept_truncated=args.accept_truncated, allow_outside=args.allow_outside)
    )
    if args.sample:
        return check_sample(args, scan)
    report = check(
        args.data,
        out,
        CheckOptions(
            scan=scan,
            jobs=args.jobs,
            timeout_s=args.timeout,
            allow_outside=args.allow_outside,
            fix=args.fix,
            restart=args.restart,
        ),
    )
    print(*summary(report), sep="\n")
    names = [
        name
        for name in ("report.json", "problems.csv", "classes.csv", "imbalance.png", "worst.png")
        if os.path.exists(os.path.join(out, name))
    ]
    print(f"more in {printable(out)}: {', '.join(names)}")
    if args.fix:
        print(
            f"cleaned lists in {printable(out)}/fixed; to use them: cp {printable(out)}/fixed/*.txt "
            f"{printable(args.data)}/meta/"
        )
    if wrong := [name for name, part in report["splits"].items() if part["wrong_lines"]["count"]]:
        raise DataError(
            f"wrong lines in {', '.join(f'{name}.txt' for name in wrong)}; correct them, or --fix leaves them out"
        )
    if bad := [name for name, part in report["splits"].items() if part["unusable_share"] > args.max_bad]:
        raise IncompleteError(
            f"more than {100 * args.max_bad:g} % of the pictures of {', '.join(bad)} are missing or damaged; "
            "problems.csv names them, --fix writes lists without them"
        )


def check_sample(args, scan):
    """--sample: a look at some pictures of each list."""
    from webvision.data.data_set import DataSet
    from webvision.data.lists.folders import SPLITS
    from webvision.errors import IncompleteError, printable
    from webvision.prep.check.sampled import sample_split, tell

    data = DataSet.open(args.data, policy=scan.policy)
    bad = []
    for name in filter(data.has, SPLITS):
        split = data.split(name)
        options = dataclasses.replace(scan, level="decode" if args.level == "content" else args.level)
        found = sample_split(
            split.index,
            split.pictures,
            options,
            count=args.sample,
            seed=args.seed,
            jobs=args.jobs,
            timeout_s=args.timeout,
        )
        print(
            *map(printable, tell(name, found, path_of=lambda row, index=split.index: index.paths([row])[0])), sep="\n"
        )
        bad += [name] if found.at_least > args.max_bad else []
    if bad:
        raise IncompleteError(
            f"more than {100 * args.max_bad:g} % of the pictures of {', '.join(bad)} are surely missing or damaged; "
            "without --sample all of them are named"
        )
