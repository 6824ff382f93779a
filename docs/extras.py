"""Print the pins of an extra of pyproject.toml and the pins of ours that it needs beside it: `extras.py torch`."""

import os
import sys
import tomllib

BESIDE = {"torch": ("numpy", "opencv-python-headless", "simplejpeg", "pytest")}  # torch runs without TensorFlow


def pins(project, extra):
    """The requirement lines of `extra`, and of BESIDE."""
    optional = project["optional-dependencies"]
    others = [*project["dependencies"], *optional["dev"]]
    return [*optional[extra], *(line for line in others if line.split("==")[0] in BESIDE.get(extra, ()))]


if __name__ == "__main__":
    path = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "pyproject.toml")
    with open(path, "rb") as file:
        print(*pins(tomllib.load(file)["project"], sys.argv[1]), sep="\n")
