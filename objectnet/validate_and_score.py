#!/usr/bin/env python3
"""ObjectNet's validator under its own name."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from webvision.__main__ import run

run("objectnet-validate")
