"""Give the ObjectNet challenge's verdict on a predictions.csv: the official JSON and exit code; remarks on stderr."""

import argparse
import sys

from webvision.challenges.objectnet import validate
from webvision.errors import printable


class OfficialParser(argparse.ArgumentParser):
    """A wrong command line gets the official answer too: a verdict on stdout and exit code 1."""

    def error(self, message):
        self.print_usage(sys.stderr)
        print(f"{self.prog}: error: {message}", file=sys.stderr)
        print(validate.refused("Failed to parse command line").text())
        self.exit(1)


def make_parser():
    parser = OfficialParser(description=__doc__)
    parser.add_argument("--answers", "-a", required=True, metavar="JSON", help="image name -> ObjectNet id")
    parser.add_argument("--filename", "-f", required=True, metavar="CSV", help="the predictions to judge")
    parser.add_argument("--no-range-check", "-n", action="store_true", help="allow ids outside -1..312")
    parser.add_argument(
        "--subset",
        action="append",
        default=[],
        metavar="JSON",
        help="answers for a part of the images: accuracy on those too, on stderr; may be repeated",
    )
    return parser


def parse_args(argv=None):
    return make_parser().parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    verdict = validate.validate(args.answers, args.filename, range_check=not args.no_range_check)
    for remark in verdict.remarks:
        print(printable(f"{args.filename}: {remark}"), file=sys.stderr)
    print(verdict.text())
    for subset in args.subset if verdict.exit_code == 0 else []:
        images, top1, top5 = validate.score_subset(subset, args.filename)
        print(printable(f"{subset}: accuracy {top1:.2f}, top5_accuracy {top5:.2f} on {images} images"), file=sys.stderr)
    return verdict.exit_code
