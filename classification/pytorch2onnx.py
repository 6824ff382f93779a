#!/usr/bin/env python3
"""From a trained model to ONNX (or TFLite, or a SavedModel), proven to answer as the model does.

    python3 pytorch2onnx.py --snapshot snapshots/2026-11-25 --save-path model.onnx
    python3 pytorch2onnx.py --snapshot snapshots/2026-11-25 --save-path model.tflite --int8

Named as its documentation names it; there is no PyTorch in it. `webvision export` is the same.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from webvision.environment import use_project_environment

use_project_environment("tensorflow", "tensorpack", "cv2")

from webvision.commands import export, flags  # noqa: E402
from webvision.errors import run_command  # noqa: E402


def parse_args(argv=None):
    import argparse

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = flags.adder_of_twins(parser)
    add("--snapshot", metavar="PATH", required=True, help="a run's folder, a checkpoint, or another maker's weights")
    add("--save-path", metavar="FILE", default="model.onnx", help="NAME.onnx, NAME.tflite, or a folder (%(default)s)")
    add("--model-def-path", default="./models/", metavar="DIR", help="left alone: code is never loaded from it")
    export.add_export_flags(add)
    return parser.parse_args(argv)


if __name__ == "__main__":
    run_command(lambda: export.run(parse_args()))
