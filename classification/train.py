#!/usr/bin/env python3
"""`webvision train PICTURES` under the name that Kneron's text gives it: from a folder of pictures to a model."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from webvision.__main__ import run

run("train-pictures")
