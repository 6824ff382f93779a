"""Draw the demo's data set: a small, noisy, imbalanced web set in the shape in which WebVision is distributed."""

from webvision.commands import flags
from webvision.environment import DOOR


def make_parser():
    parser = flags.CommandParser(description=__doc__)
    parser.add_argument(
        "--out", default="demo/raw", metavar="DIR", help="folder to draw into, new or empty (default: %(default)s)"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=1,
        metavar="N",
        help="another seed, another set; same seed, same bytes (default: %(default)s)",
    )
    return parser


def parse_args(argv=None):
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.seed < 0:
        parser.error(f"--seed {args.seed}: must be 0 or more")
    return args


def main(argv=None):
    args = parse_args(argv)
    from webvision.prep.demo import data_set

    count = data_set.draw(args.out, seed=args.seed)
    print(
        f"{args.out}: {f'{count} files drawn' if count else 'already drawn'}; "
        f"next: {DOOR} prepare --raw {args.out} --data DATA"
    )
