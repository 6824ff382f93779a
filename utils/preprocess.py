#!/usr/bin/env python3
"""`webvision prepare` under the name that its text gives it: arrange an unpacked set for training."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from webvision.__main__ import run

run("prepare")
