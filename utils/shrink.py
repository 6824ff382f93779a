#!/usr/bin/env python3
"""`webvision shrink` as a script: a data set's pictures at short side 256."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from webvision.__main__ import run

run("shrink")
