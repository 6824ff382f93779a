#!/usr/bin/env python3
"""The program behind download.sh, which finds a Python to run it with."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from webvision.__main__ import run

run("download", program="download.sh")
