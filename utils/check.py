#!/usr/bin/env python3
"""`webvision check` as a script: is my data right?"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from webvision.__main__ import run

run("check")
