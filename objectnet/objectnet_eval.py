#!/usr/bin/env python3
"""ObjectNet's command under its own name, in a folder as its template has it."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from webvision.__main__ import run

run("objectnet-eval")
