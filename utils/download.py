#!/usr/bin/env python3
"""The program behind download.sh, which finds a Python to run it with."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from webvision.environment import use_project_environment

use_project_environment("numpy", "urllib3")

from webvision.errors import run_command  # noqa: E402
from webvision.prep.download.command import main  # noqa: E402

if __name__ == "__main__":
    sys.argv[0] = "download.sh"
    run_command(main)
