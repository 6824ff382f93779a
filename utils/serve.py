#!/usr/bin/env python3
"""`webvision serve` as a script: a page on this machine that says what is on a picture."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from webvision.__main__ import run

run("serve")
