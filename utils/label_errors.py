#!/usr/bin/env python3
"""`webvision label-errors` as a script: training labels that are probably wrong."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from webvision.__main__ import run

run("label-errors")
