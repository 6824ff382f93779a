#!/usr/bin/env python3
"""`webvision speed` as a script: why is my GPU idle?"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from webvision.__main__ import run

run("speed")
