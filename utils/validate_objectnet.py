#!/usr/bin/env python3
"""ObjectNet's verdict on a predictions.csv."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from webvision.__main__ import run

run("objectnet-validate")
