#!/usr/bin/env python3
"""The card's command: train a ResNet, or evaluate one with --eval. See webvision/commands/card.py, or --help."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from webvision.__main__ import run

if __name__ == "__main__":
    run("card")
