#!/usr/bin/env python3
"""ObjectNet's validator under its own name: see utils/validate_objectnet.py."""

import os
import runpy

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
runpy.run_path(os.path.join(ROOT, "utils", "validate_objectnet.py"), run_name="__main__")
