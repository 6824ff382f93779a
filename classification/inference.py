#!/usr/bin/env python3
"""`webvision predict` under the name that Kneron's text gives it: what is on these pictures?"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from webvision.__main__ import run

run("predict")
