#!/usr/bin/env python3
"""`webvision demo` as a script: the main job, end to end, on a small set that it draws."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from webvision.__main__ import run

run("demo")
