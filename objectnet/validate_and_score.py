#!/usr/bin/env python3
"""ObjectNet's validator under its own name: see utils/validate_objectnet.py."""

import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
from webvision.environment import import_only_code  # noqa: E402

import_only_code()

import runpy  # noqa: E402

runpy.run_path(os.path.join(ROOT, "utils", "validate_objectnet.py"), run_name="__main__")
