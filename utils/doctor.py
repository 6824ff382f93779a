#!/usr/bin/env python3
"""`webvision doctor` as a script: is this machine ready?"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from webvision.__main__ import run

run("doctor")
