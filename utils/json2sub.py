#!/usr/bin/env python3
"""`webvision submit` under the name that its text gives it: a prediction file becomes a CodaLab submission."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from webvision.__main__ import run

run("submit")
