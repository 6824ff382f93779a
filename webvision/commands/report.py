"""Write one self-contained HTML page about a prediction file: what the model gets wrong, and where to look."""

import os
import sys

from webvision.commands import flags


def make_parser():
    parser = flags.CommandParser(description=__doc__)
    parser.add_argument(
        "predictions",
        nargs="+",
        metavar="PREDICTIONS",
        help="what --eval wrote; then runs over the same images to compare with, or predictions over the training "
        "list to look for wrong labels in",
    )
    parser.add_argument(
        "--data", metavar="DIR", help="the data folder: thumbnails, class names, training images of each class"
    )
    parser.add_argument(
        "--run", metavar="DIR", help="the training run, for its curves (default: the checkpoint's folder)"
    )
    parser.add_argument(
        "--names",
        metavar="FILE",
        help="readable names: a line for each class, a word or `n02165456 ladybug, ladybeetle`",
    )
    parser.add_argument("--out", metavar="HTML", help="where to write (default: report.html beside the predictions)")
    return parser


def parse_args(argv=None):
    return make_parser().parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    from webvision.files import atomic_write, remove_abandoned
    from webvision.scoring.report.report import Sources, build_report

    out = args.out or os.path.join(os.path.dirname(args.predictions[0]), "report.html")
    page, remarks = build_report(args.predictions, Sources(args.data, args.run, args.names))
    remove_abandoned(out)  # by reports that were killed
    with atomic_write(out) as file:
        file.write(page)
    for remark in remarks:
        print(remark, file=sys.stderr)
    print(f"{out}: {os.path.getsize(out) / 1e6:.1f} MB")
