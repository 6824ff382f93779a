#!/usr/bin/env python3
"""What sotabench's server runs, without arguments: edit these for your model. `--help` shows the flags."""

import os
import sys

ROOT = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, ROOT)
from webvision.__main__ import run  # noqa: E402

MODEL = "resnet50"  # a network of this project, or a Python file with logits(images) and PRESET
CHECKPOINT = os.path.join(ROOT, "train_log", "sotabench")  # or a run's folder; sotabench_setup.sh can fetch it
MODEL_NAME = "ResNet-50"
PAPER_ARXIV_ID = "1512.03385"

MINE = ["--model", MODEL, "--checkpoint", CHECKPOINT, "--model-name", MODEL_NAME, "--paper-arxiv-id", PAPER_ARXIV_ID]
run("sotabench", [*MINE, *sys.argv[1:]])
