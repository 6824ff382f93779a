#!/usr/bin/env python3
"""`webvision report` as a script: one HTML page about a prediction file."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from webvision.__main__ import run

run("report")
