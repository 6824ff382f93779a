"""The doctor as a command: flags in, table or JSON out."""

from webvision.commands import flags
from webvision.doctor import findings
from webvision.errors import IncompleteError


def make_parser():
    parser = flags.CommandParser(
        description="Is this machine ready? Versions, GPUs, libraries, decoder, cores, memory, limits, disk and clock: "
        "each line is good, wrong with what to do, or a remark. Needs no GPU. Exit code 4 if anything is wrong."
    )
    parser.add_argument("--out", metavar="DIR", default="train_log", help="where runs are to go (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one line of JSON, for bug reports")
    parser.add_argument(
        "--no-tensorflow",
        action="store_true",
        help="do not start TensorFlow and ask it for the GPUs (it takes seconds)",
    )
    return parser


def parse_args(argv=None):
    return make_parser().parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    from webvision.doctor.visit import visit

    found = visit(args.out, start_tensorflow=not args.no_tensorflow)
    print(findings.as_json(found) if args.json else findings.table(found))
    wrong = [finding.name for finding in found if finding.state == findings.BAD]
    if wrong:
        raise IncompleteError(f"wrong here: {', '.join(wrong)}")
