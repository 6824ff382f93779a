"""The fenced blocks of the documentation, and the folder that its commands are typed in."""

import os
import re

from tests.support.data_set import ROOT

PAGES = ["README.md", "CONTRIBUTING.md"] + sorted(
    os.path.relpath(os.path.join(folder, name), ROOT)
    for folder, _, names in os.walk(os.path.join(ROOT, "docs"))
    for name in names
    if name.endswith(".md")
)


def text_of(page):
    with open(os.path.join(ROOT, page), encoding="utf-8") as file:
        return file.read()


def blocks(page, *classes):
    """The fenced blocks of a page that have all of `classes`: ```bash has 'bash', ``` {.bash .run} 'bash' and 'run'."""
    found = re.findall(r"^( *)```[ {.]*([\w .]*)\}?\n(.*?)^\1```$", text_of(page), re.MULTILINE | re.DOTALL)
    return [
        "\n".join(line[len(indent) :] for line in body.splitlines())
        for indent, names, body in found
        if set(classes) <= set(re.findall(r"\w+", names))
    ]


def commands(page):
    """Each command of the bash blocks and of the indented lines of a page, as its words; comments are left out."""
    lines = [line for block in blocks(page, "bash") for line in block.splitlines()]
    lines += re.findall(r"^    ((?:make|python3|bash|cd|\./).*)$", text_of(page), re.MULTILINE)
    for line in lines:
        for part in line.partition(" #")[0].split(" && "):
            words = part.split()
            while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                words = words[1:]
            if words:
                yield words


def checkout(folder):
    """Make `folder` look like the checkout to who types commands in it, without writing into the checkout."""
    for name in ("utils", "webvision", "classification", "imagenet-resnet.py", "imagenet5k.py", "resnet_model.py"):
        os.symlink(os.path.join(ROOT, name), os.path.join(folder, name))
    return folder
