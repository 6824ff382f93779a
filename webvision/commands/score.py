"""Score predictions: top-1 and top-5 errors, plain and class-balanced, with intervals, F1 and calibration."""

import argparse
import json
import sys

from webvision.commands import flags

EPILOG = """examples:
  %(prog)s                                        train_log/predictions.json
  %(prog)s top5_5k.json label_5k.json             upstream's pair of lists
  %(prog)s --compare A.json B.json                are two runs different?
  %(prog)s --preds DIR --gts truth.json           Kneron's per-image files
  %(prog)s --average A.json B.json --out E.json   an ensemble, or crops of one model (files of --scores all)
"""


def make_parser():
    parser = flags.CommandParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "predictions", nargs="*", metavar="PREDICTIONS", help="prediction files (default: train_log/predictions.json)"
    )
    parser.add_argument("--labels", metavar="FILE", help="upstream's list of labels, for its list of ids")
    parser.add_argument(
        "--classes", type=positive, metavar="N", help="class count, for upstream's lists, which do not say"
    )
    parser.add_argument("--compare", action="store_true", help="compare two files image by image")
    parser.add_argument("--average", action="store_true", help="average the probabilities of several files, then score")
    parser.add_argument(
        "--fuse",
        choices=("mean", "geometric", "rank"),
        help="what --average takes the mean of: probabilities (default), their logarithms, or 1 / rank",
    )
    parser.add_argument(
        "--fit-weights",
        action="store_true",
        help="with --average: weigh the files as every other row wants it; errors on the rows between are told",
    )
    parser.add_argument("--merge", action="store_true", help="join the shards of one list to one file, then score it")
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="where --average or --merge keeps its result (default: averaged.json, merged.json beside the first file)",
    )
    parser.add_argument("--k", type=positives, metavar="K[,K]", help="which top-k errors (default: 1,5)")
    parser.add_argument(
        "--tie-rule",
        default="lowest",
        choices=("lowest", "highest", "optimistic", "pessimistic"),
        help="which of equal scores comes first: lowest id (ours, TensorFlow's top_k), highest (sotabench, "
        "scikit-learn), optimistic (in_top_k), pessimistic; needs the scores of all classes (default: lowest)",
    )
    parser.add_argument("--per-class", action="store_true", help="also a line for each class")
    parser.add_argument("--json", action="store_true", help="print JSON")
    folder = parser.add_argument_group("a folder with a JSON file for each image (Kneron's end-to-end evaluation)")
    folder.add_argument(
        "--preds", metavar="DIR", help='{"img_path": "a.jpg", "0_0": [[score, label], ...]} in each file'
    )
    folder.add_argument("--gts", metavar="FILE", help='{"a.jpg": label, ...}')
    folder.add_argument(
        "--class-map", metavar="FILE", help="ids to names, or names to ids, where labels are of both kinds"
    )
    folder.add_argument("--results", metavar="FILE", help="where the figures are written (default: eval_results.txt)")
    return parser


def parse_args(argv=None):
    parser = make_parser()
    args = parser.parse_args(argv)
    check(parser, args)
    return args


def check(parser, args):
    """End with a usage error when flags contradict each other."""
    if bool(args.preds) != bool(args.gts):
        parser.error("--preds and --gts belong together")
    if args.preds and (args.predictions or args.compare or args.average or args.merge or args.tie_rule != "lowest"):
        parser.error("--preds is an evaluation of its own: --k, --per-class and --json go with it")
    if (args.class_map or args.results) and not args.preds:
        parser.error("--class-map and --results belong to --preds")
    if args.compare + args.average + args.merge > 1:
        parser.error("--compare, --average and --merge exclude each other")
    if args.compare and len(args.predictions) != 2:
        parser.error("--compare takes two prediction files")
    if args.average and len(args.predictions) < 2:
        parser.error("--average takes two or more prediction files")
    if (args.fuse or args.fit_weights) and not args.average:
        parser.error("--fuse and --fit-weights belong to --average")
    if args.merge and not args.predictions:
        parser.error("--merge takes the shards")
    if args.out and not (args.average or args.merge):
        parser.error("--out belongs to --average and --merge")


def positive(text):
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 up")
    return int(text)


def positives(text):
    return tuple(dict.fromkeys(positive(part) for part in text.split(",")))


def main(argv=None):
    args = parse_args(argv)
    from webvision.challenges.kneron.folder import score_folder
    from webvision.scoring import evaluation

    if args.preds:
        result, lines = score_folder(args.preds, args.gts, args.class_map, args.k, args.results or "eval_results.txt")
    elif args.compare:
        result, lines = evaluation.compare_files(*args.predictions, args.k or (1, 5), args.tie_rule)
    else:
        files = [evaluation.merge_files(args.predictions, args.out)] if args.merge else args.predictions
        runs = evaluation.load_files(files, args.labels, args.classes)
        if args.average:
            method = args.fuse or "mean"
            weights, told = evaluation.fitted_weights(runs, method) if args.fit_weights else (None, [])
            print(*told, sep="\n", end="\n" * bool(told), file=sys.stderr)
            runs = [evaluation.average_files(runs, args.out, method=method, weights=weights)]
        result, lines = evaluation.score_runs(runs, args.k or (1, 5), args.tie_rule, args.per_class)
    if args.json:
        print(json.dumps(result, indent=2))
    else:
        print("\n".join(lines))
