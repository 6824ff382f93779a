#!/usr/bin/env python3
"""ObjectNet's command under its own name, in a folder as its template has it: see utils/objectnet_eval.py."""

import os
import runpy

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
runpy.run_path(os.path.join(ROOT, "utils", "objectnet_eval.py"), run_name="__main__")
