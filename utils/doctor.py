#!/usr/bin/env python3
"""Is this machine ready? Each line good or not, with what to do; --json for bug reports. Needs no GPU."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from webvision.environment import use_project_environment

use_project_environment("numpy", "cv2")

from webvision.doctor.command import main  # noqa: E402

if __name__ == "__main__":
    from webvision.errors import run_command

    run_command(main)
