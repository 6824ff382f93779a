"""Turn a prediction file into a CodaLab submission: predictions.txt in a zip, checked row by row and read back."""

import os
import sys

from webvision.commands import flags


def make_parser():
    parser = flags.CommandParser(description=__doc__)
    parser.add_argument(
        "predictions",
        nargs="?",
        default=os.path.join("train_log", "predictions.json"),
        help="what --eval wrote, or upstream's JSON list of top-5 ids (needs --list) (default: %(default)s)",
    )
    parser.add_argument("--out", metavar="ZIP", help="where to write (default: submission.zip beside the predictions)")
    parser.add_argument(
        "--list", metavar="FILE", help="check names and order against this list (default: the one that was evaluated)"
    )
    parser.add_argument("--classes", type=int, metavar="N", help="class count, for upstream's list, which does not say")
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing: check the submission (zip or predictions.txt) given as PREDICTIONS",
    )
    return parser


def parse_args(argv=None):
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.check and args.out:
        parser.error("--check writes nothing, so it takes no --out")
    return args


def main(argv=None):
    args = parse_args(argv)
    if args.check:
        return check(args)
    from webvision.challenges.codalab.convert import convert

    out = args.out or os.path.join(os.path.dirname(args.predictions), "submission.zip")
    receipt, remarks = convert(args.predictions, out, list_path=args.list, num_classes=args.classes)
    for remark in remarks:
        print(remark, file=sys.stderr)
    print(f"{out}: {receipt.rows} rows in predictions.txt, sha256 {receipt.sha256}")


def check(args):
    from webvision.challenges.codalab.check import check_submission

    found = check_submission(args.predictions, list_path=args.list, num_classes=args.classes)
    for remark in found.remarks:
        print(remark, file=sys.stderr)
    print(f"{args.predictions}: {found.rows} rows, no fault found")
