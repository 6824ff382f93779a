#!/usr/bin/env python3
"""`webvision demo-data` as a script: draw the demo's data set."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from webvision.__main__ import run

run("demo-data")
