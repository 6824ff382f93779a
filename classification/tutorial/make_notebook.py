#!/usr/bin/env python3
"""Make tutorial.ipynb of README.md, both beside this file: text as it is, and a cell for each ```bash block, which
runs it. Equal text gives equal bytes."""

import json
import os
import re

FOLDER = os.path.dirname(os.path.abspath(__file__))
_BLOCK = re.compile(r"^```bash\n(.*?)^```\n", re.MULTILINE | re.DOTALL)


def cells(text):
    """[('markdown' or 'code', source)] of a README."""
    parts = _BLOCK.split(text)
    found = [("code" if number % 2 else "markdown", part.strip("\n")) for number, part in enumerate(parts)]
    return [(kind, source) for kind, source in found if source]


def notebook(text):
    """The notebook (nbformat 4.5) of a README; shell variables hold from cell to cell, as in one terminal."""
    made = [_cell("code", "%cd ..", 0)]  # where the commands are given
    for number, (kind, source) in enumerate(cells(text), 1):
        made.append(_cell(kind, source if kind == "markdown" else _in_python(source), number))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def _in_python(source):
    """A bash block as lines of a notebook: a variable is set in the environment, everything else is a command."""
    lines = []
    for line in source.split("\n"):
        match = re.fullmatch(r"(\w+)=\$\{\1:-\$HOME/(.+)\}", line)
        if match:
            lines.append("import os")
            lines.append(f'os.environ.setdefault("{match[1]}", os.path.expanduser("~/{match[2]}"))')
        else:
            lines.append(f"!{line}")
    return "\n".join(lines)


def _cell(kind, source, number):
    lines = source.splitlines(keepends=True)
    cell = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}, "source": lines}
    return {**cell, "execution_count": None, "outputs": []} if kind == "code" else cell


def main():
    with open(os.path.join(FOLDER, "README.md"), encoding="utf-8") as file:
        made = notebook(file.read())
    with open(os.path.join(FOLDER, "tutorial.ipynb"), "w", encoding="utf-8") as file:
        json.dump(made, file, indent=1, ensure_ascii=False)
        file.write("\n")


if __name__ == "__main__":
    main()
