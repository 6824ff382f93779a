"""Export a trained model to ONNX, TFLite or a SavedModel, proven to answer as the model does.

The file is run against the model over the run's own val list (or --data's) before it is put in its place: in float32 no
logit may differ by more than 1e-4 of their range, nor any best class; int8 may cost --max-loss.
"""

import argparse

from webvision.commands import flags

EPILOG = """examples:
  webvision export snapshots/2026-11-25 model.onnx                  float, normalised pictures, one at a time
  webvision export snapshots/2026-11-25 model.onnx --preprocess     takes uint8 RGB pixels, any number
  webvision export snapshots/2026-11-25 small.tflite --int8         a quarter of the size; says what it costs
  webvision export snapshots/2026-11-25 model.onnx --four-d --check kl520
  webvision export resnet50.pth model.onnx --backbone resnet50      another maker's weights
"""


def make_parser():
    parser = flags.CommandParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("snapshot", metavar="SNAPSHOT", help="a run's folder, a checkpoint, or another maker's weights")
    parser.add_argument("save_path", metavar="OUT", help="NAME.onnx, NAME.tflite, or a folder for a SavedModel")
    add_export_flags(parser.add_argument)
    return parser


def add_export_flags(add):
    """What export and pytorch2onnx.py share; `add` as a parser's add_argument."""
    add("--backbone", metavar="NAME", help="of another maker's weights; a run of ours knows its own")
    add("--num_classes", type=flags.at_least(1), metavar="N", help="compared with the model's")
    add("--data", metavar="DIR", help="a data set whose val list the export is tried on (default: the run's own)")
    add("--opset", type=int, choices=range(11, 19), default=13, metavar="N", help="of ONNX, 11 to 18 (default: 13)")
    add("--batch", type=flags.at_least(0), default=1, metavar="N", help="pictures at a time; 0: any (default: 1)")
    add("--four-d", action="store_true", help="logits as [n, classes, 1, 1], for chips that have convolutions only")
    add("--preprocess", action="store_true", help="take uint8 RGB pixels: what is done with them goes into the file")
    add("--int8", action="store_true", help="a quarter of the size, with a scale for each channel")
    add("--max-loss", type=flags.share, default=0.01, metavar="SHARE", help="that int8 may cost (default: 1%%)")
    add("--check", action="append", default=[], metavar="CHIP", help="kl520 or kl720: what does it not run?")


def main(argv=None):
    run(make_parser().parse_args(argv))


def run(args):
    """Export as parsed `args` say."""
    flags.show_only(())  # compared on the CPU, where sums have one order
    from webvision.commands.exporting import Wanted, export

    export(
        Wanted(
            args.snapshot,
            args.save_path,
            backbone=args.backbone,
            num_classes=args.num_classes,
            data=args.data,
            opset=args.opset,
            batch=args.batch or None,
            four_d=args.four_d,
            preprocess=args.preprocess,
            int8=args.int8,
            max_loss=args.max_loss,
            chips=tuple(args.check),
        )
    )
