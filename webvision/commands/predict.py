"""What is on these pictures? Class names and probabilities of a picture, a folder or a list, by a snapshot or an ONNX
file.

    %(prog)s NEW --snapshot snapshots/2026-11-25
    %(prog)s NEW --onnx model.onnx --gpu -1
    find NEW -name '*.jpg' | %(prog)s - --snapshot snapshots/2026-11-25
"""

import argparse
import os

from webvision.commands import flags
from webvision.environment import DOOR

OWN_MAP = "./eval_utils/class_id.json"


def make_parser():
    parser = flags.CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = flags.adder_of_twins(parser)
    parser.add_argument(
        "pictures", nargs="?", metavar="PICTURES", help="a picture, a folder, a list, or - for standard input"
    )
    add("--img-path", metavar="PATH", help="PICTURES, as Kneron's text gives them")
    add("--snapshot", metavar="PATH", help="a run's folder (its best weights), a checkpoint, or an ONNX file")
    add(
        "--onnx",
        nargs="?",
        const=True,
        metavar="FILE",
        help="compute an ONNX file, without TensorFlow: FILE, or --snapshot if FILE is left out",
    )
    add("--save-path", default="inference_result.json", metavar="FILE", help="(default: %(default)s)")
    add("--per-file", metavar="DIR", help="also a JSON for each picture, as `webvision judge --preds` reads them")
    add("--csv", metavar="FILE", help="also a table")
    add("--top", type=flags.at_least(1), default=5, metavar="K", help="classes of each picture (default: 5)")
    add("--label-ids", action="store_true", help="class numbers in place of names")
    add(
        "--class_id_path",
        metavar="FILE",
        help=f"class names, compared with the snapshot's own (default: those, or {OWN_MAP} if it has none)",
    )
    flags.add_snapshot_flags(add)
    return parser


def parse_args(argv=None):
    parser = make_parser()
    args = parser.parse_args(argv)
    args.img_path = args.img_path or args.pictures
    if not args.img_path:
        parser.error("which pictures? a picture, a folder, a list, or - for standard input")
    if args.onnx is True and not args.snapshot:
        parser.error("--onnx needs its file: --onnx FILE")
    if not args.snapshot and not args.onnx:
        parser.error(f"--snapshot PATH or --onnx FILE is needed: `{DOOR} train FOLDER` writes snapshots/<date>")
    return args


def main(argv=None):
    args = parse_args(argv)
    from webvision.commands.answering import Wanted, answer_pictures
    from webvision.devices import choose_gpus, cpu_cores

    is_onnx = bool(args.onnx)
    gpus = () if is_onnx else tuple(choose_gpus(args.gpu))
    if not is_onnx and (gpus or args.gpu is not None):
        flags.show_only(gpus)
    cores = cpu_cores()
    lines = answer_pictures(
        Wanted(
            pictures=args.img_path,
            snapshot=args.onnx if isinstance(args.onnx, str) else args.snapshot,
            out=args.save_path,
            per_file=args.per_file,
            csv=args.csv,
            top=args.top,
            label_ids=args.label_ids,
            batch=args.batch_size,
            workers=cores if args.workers is None else args.workers,
            jobs=cores,
            gpus=gpus,
            backbone=args.backbone,
            class_map=args.class_id_path,
            class_map_otherwise=OWN_MAP if os.path.exists(OWN_MAP) else None,
        )
    )
    print(*lines, sep="\n")
