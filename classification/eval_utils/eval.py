#!/usr/bin/env python3
"""`webvision judge` under the name that Kneron's text gives it: how good is a model?"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
from webvision.__main__ import run

run("judge")
