"""Every command that README and the pages show exists and has the flags that it is shown with."""

import functools
import os
import re
import subprocess
import sys

import pytest

from tests.support.data_set import ROOT
from tests.support.documents import PAGES, commands
from webvision.__main__ import COMMANDS

PLACES = ("", "utils", "objectnet", "classification")  # where pages have gone by `cd`


@functools.cache
def help_of(script):
    if script.startswith("examples/"):  # it has no help where its framework is not installed
        with open(os.path.join(ROOT, script), encoding="utf-8") as file:
            return file.read()
    if script in COMMANDS:
        command = [sys.executable, "-m", "webvision", script]
    else:
        command = [*([sys.executable] if script.endswith(".py") else ["bash"]), os.path.join(ROOT, script)]
    done = subprocess.run(
        [*command, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == 0, f"{script} --help: {done.stderr}"
    return done.stdout


@functools.cache
def targets():
    with open(os.path.join(ROOT, "Makefile"), encoding="utf-8") as file:
        return set(re.findall(r"^([a-z][a-z-]*):(?!=)", file.read(), re.MULTILINE))


def found(script):
    script = script.removeprefix("./")
    places = [os.path.join(place, script) for place in PLACES]
    return next((place for place in places if os.path.isfile(os.path.join(ROOT, place))), None)


def fault(words):
    """What is wrong with a command, or None."""
    program, *arguments = words
    if program == "make":
        wrong = [word for word in arguments if "=" not in word and not word.startswith("-") and word not in targets()]
        return f"no target {wrong}" if wrong else None
    if program == "cd":
        return None if os.path.isdir(os.path.join(ROOT, arguments[0])) else f"no folder {arguments[0]}"
    if program == "python3" and arguments[:2] == ["-m", "webvision"]:
        if len(arguments) == 2:
            return None
        script, *arguments = arguments[2:]
        return wrong_flags(script, arguments) if script in COMMANDS else f"no command {script}"
    if program in ("python3", "bash"):
        program, *arguments = arguments
    elif not program.startswith("./"):
        return f"{program} is no command of ours"
    script = found(program)
    if not script:
        return f"{program} is not there"
    return wrong_flags(script, arguments)


def wrong_flags(script, arguments):
    flags = [word.partition("=")[0] for word in arguments if re.match(r"--?[a-z]", word)]
    wrong = [flag for flag in flags if not re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", help_of(script))]
    return f"{script} has no {wrong}" if wrong else None


@pytest.mark.parametrize("page", PAGES)
def test_commands_exist_with_their_flags(page):
    faults = [f"{' '.join(words)}: {problem}" for words in commands(page) if (problem := fault(words))]
    assert not faults, "\n".join(faults)


def test_wrong_commands_are_noticed():
    for text in (
        "make nothing",
        "python3 utils/none.py",
        "python3 utils/check.py --date x",
        "cd nowhere",
        "rm -rf x",
        "python3 -m webvision nine",
    ):
        assert fault(text.split()), text
    for text in ("python3 -m webvision check --date x",):
        assert fault(text.split()), text
    assert sum(len(list(commands(page))) for page in PAGES) > 40
