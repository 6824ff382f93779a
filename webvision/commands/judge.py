"""How good is a model? Top-K, precision, recall, F1 and the confusion matrix: of a snapshot over a folder of class
folders, or of predictions that are there already.

    %(prog)s --snapshot snapshots/2026-11-25 --data-dir PICTURES
    %(prog)s --preds PREDICTIONS --gts truth.json
"""

import argparse

from webvision.commands import flags


def make_parser():
    parser = flags.CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = flags.adder_of_twins(parser)
    add("--snapshot", metavar="PATH", help="a run's folder, a checkpoint or an ONNX file")
    add("--data-dir", metavar="DIR", help="DIR/<class>/*, or DIR/val/<class>/*")
    add("--preds", metavar="DIR", help="a JSON for each picture, as `webvision predict --per-file` writes them")
    add("--gts", metavar="FILE", help='{"a.jpg": label, ...}')
    add(
        "--class_id_path",
        metavar="FILE",
        help="class names, where labels are numbers in one place and names in another",
    )
    add("--results", default="eval_results.txt", metavar="FILE", help="(default: %(default)s)")
    add("--json", action="store_true", help="print JSON")
    flags.add_snapshot_flags(add)
    return parser


def parse_args(argv=None):
    parser = make_parser()
    args = parser.parse_args(argv)
    if bool(args.preds) != bool(args.gts):
        parser.error("--preds and --gts belong together")
    if bool(args.preds) == bool(args.data_dir):
        parser.error("either --data-dir with --snapshot, or --preds with --gts")
    if args.data_dir and not args.snapshot:
        parser.error("--data-dir needs the model to judge: --snapshot snapshots/<date>")
    return args


def main(argv=None):
    args = parse_args(argv)
    if args.preds:
        from webvision.challenges.kneron.folder import score_folder

        result, lines = score_folder(args.preds, args.gts, args.class_id_path, None, args.results)
    else:
        result, lines = _judge(args)
    if args.json:
        import json

        print(json.dumps(result, indent=2))
    else:
        print(*lines, sep="\n")


def _judge(args):
    from webvision.commands.own_pictures.judging import judge_folder
    from webvision.devices import Devices, choose_gpus, cpu_cores
    from webvision.inference.snapshot import open_snapshot

    snapshot = open_snapshot(args.snapshot, backbone=args.backbone)
    gpus = choose_gpus(args.gpu)
    flags.show_only(gpus)
    cores = cpu_cores()
    with snapshot.open(Devices(bool(gpus), max(1, len(gpus)))) as model:
        return judge_folder(
            snapshot,
            model,
            args.data_dir,
            args.results,
            batch=args.batch_size,
            workers=cores if args.workers is None else args.workers,
            jobs=cores,
        )
