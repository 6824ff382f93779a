"""`webvision COMMAND`: the list, each command's own flags, wrong words, completion, and the package put elsewhere."""

import argparse
import ast
import importlib
import os
import re
import subprocess
import sys
import tomllib

import pytest

from tests.support.data_set import ROOT
from webvision import __main__ as door
from webvision.commands import card, completion, train, train_pictures
from webvision.environment import DOOR
from webvision.errors import WebvisionError

FRONT_DOOR = "-m", "webvision"


def test_without_a_command_all_are_listed_in_the_order_of_the_road(run):
    for words in ([], ["--help"]):
        done = run(*FRONT_DOOR, *words)
        listed = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")]
        assert done.returncode == 0 and listed == list(door.ROAD)
        assert max(map(len, done.stdout.splitlines())) <= 100


def test_the_version_is_the_packages(run):
    with open(os.path.join(ROOT, "pyproject.toml"), "rb") as file:
        assert run(*FRONT_DOOR, "--version").stdout == f"webvision {tomllib.load(file)['project']['version']}\n"


@pytest.mark.parametrize("name", door.COMMANDS)
def test_every_commands_help_is_its_own_and_loads_no_tensorflow(run, tmp_path, name):
    done = run("-X", "importtime", *FRONT_DOOR, name, "--help", cwd=tmp_path, env={"PYTHONPATH": ROOT})
    assert done.returncode == 0 and done.stdout.startswith(f"usage: webvision {name} "), done.stderr[-500:]
    loaded = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert not loaded & {"tensorflow", "tensorpack", "cv2", "numpy"}, "slow to load before --help"


def test_a_word_that_is_no_command_is_told_the_nearest(run):
    done = run(*FRONT_DOOR, "chekc")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "did you mean `webvision check`?" in done.stderr


def test_a_flag_that_there_is_none_of_is_one_line_with_the_nearest(run, tiny_data):
    done = run(*FRONT_DOOR, "train", "--data", tiny_data, "--bacth", "5")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "did you mean --batch?" in done.stderr


@pytest.mark.parametrize(
    "words, flag, home",
    [
        (["--split", "test"], "--split", "--eval"),
        (["--scores=all"], "--scores", "--eval"),
        (["--eval", "--load", "x", "--lr", "1"], "--lr", "training"),
        (["--eval", "--load", "x", "--balance", "none"], "--balance", "training"),
        (["--fake", "--epochs", "3"], "--epochs", "training"),
    ],
)
def test_a_flag_of_another_mode_is_refused_by_the_cards_command(capsys, tiny_data, words, flag, home):
    with pytest.raises(SystemExit) as end:
        card.main(["--data", str(tiny_data), *words] if "--fake" not in words else words)
    assert end.value.code == 2 and f"{flag} belongs to {home}" in capsys.readouterr().err


def parser_of(name):
    """The parser of the command called `name`."""
    return importlib.import_module(f"webvision.commands.{door.COMMANDS[name].module}").make_parser()


@pytest.mark.parametrize("name", door.COMMANDS)
def test_every_flag_is_told_with_its_default(name):
    for action in parser_of(name)._actions:
        told = action.help and action.help is not argparse.SUPPRESS
        assert told, f"{action.option_strings or action.dest}: no help"
        assert not re.search(r"\[[^\]]*\]$", action.help), action.help
        takes_none = not action.option_strings or action.nargs == 0 or action.required
        unsaid = takes_none or action.default in (None, [], argparse.SUPPRESS)
        ignored = "taken and left alone" in action.help  # --model-def-path
        assert unsaid or ignored or "default" in action.help, f"{action.option_strings}: {action.default!r} is not said"


@pytest.mark.parametrize(
    "words, part",
    [
        (["train"], "--data DIR is needed (--help"),
        (["eval", "--data", "/nowhere", "--load", "x"], "--data /nowhere: no such folder (--help"),
        (["check", "--dta", "x"], "are required: --data; did you mean --data?"),
        (["check", "--nosuch"], "there is no --nosuch"),
        (["plan", "--pictures", "many", "--gpus", "8"], "'many' is no number of things; write 16e6"),
        (["plan", "--pictures", "9", "--gpus", "8", "--rate", "fast"], "'fast' is not a positive number"),
        (["serve", "snapshot", "--port", "65536"], "'65536' is no port"),
        (["pack", "--data", "a", "--out", "b", "--per-shard", "0"], "argument --per-shard: 0 is below 1"),
        (["export", "run", "m.onnx", "--opset", "99"], "argument --opset: invalid choice"),
        (["train", "PICTURES", "--recipe", "web"], "--recipe is of training from lists"),
        (["train", "--gpu", "-1", "--data", "x", "PICTURES"], "--data is of training from lists"),
    ],
)
def test_a_wrong_word_is_one_line_that_says_which(capsys, words, part):
    command = importlib.import_module(f"webvision.commands.{door.COMMANDS[words[0]].module}")
    with pytest.raises(SystemExit) as end:
        command.main(words[1:])
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.count("\n") == 1 and part in said, said


@pytest.mark.parametrize(
    "words, pictures",
    [
        (["PICTURES"], True),
        (["--gpu", "-1", "PICTURES"], True),
        (["--epochs=3", "PICTURES"], True),
        (["--data", "DIR"], False),
        (["--data", "DIR", "--runs", "R"], False),
        (["--data", "DIR", "--fresh"], False),
        (["--data", "DIR", "--bacth", "5"], False),
        (["--help"], False),
        ([], False),
    ],
)
def test_train_sees_a_folder_of_pictures_before_and_behind_the_flags(words, pictures):
    assert train_pictures.are_named(words, instead_of=train.make_parser()) is pictures


@pytest.mark.parametrize(
    "command, words, part",
    [
        ("shrink", ["--data", "/nowhere/set", "--out", "b"], "/nowhere/set: no such folder"),
        ("check", ["--data", "."], "a plain folder of class folders is trained by"),
        ("predict", [".", "--onnx", "/nowhere.onnx"], "/nowhere.onnx: no such file; `"),
        ("score", ["/nowhere.json"], f"`{DOOR} eval --load CHECKPOINT --data DIR` writes it"),
    ],
)
def test_a_path_that_leads_nowhere_is_told_with_what_would_make_it(tmp_path, monkeypatch, command, words, part):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WebvisionError, match=re.escape(part)):
        importlib.import_module(f"webvision.commands.{command}").main(words)


def hints():
    """(file, words) of every hint in the code that begins with the door: as it is printed, values left out."""
    for folder, _, names in os.walk(os.path.join(ROOT, "webvision")):
        for path in (os.path.join(folder, name) for name in names if name.endswith(".py")):
            with open(path, encoding="utf-8") as file:
                tree = ast.parse(file.read())
            for node in (node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)):
                text = "".join(
                    part.value if isinstance(part, ast.Constant) else f"<{ast.unparse(part.value)}>"
                    for part in node.values
                )
                for hint in text.split("<DOOR> ")[1:]:
                    yield os.path.relpath(path, ROOT), re.split(r"[`;:,)(]|\. |\n", hint)[0].split()


def test_every_hint_is_a_command_that_there_is_with_flags_that_it_has():
    found = list(hints())
    assert len(found) > 20
    for path, (name, *words) in found:
        assert name in door.COMMANDS, f"{path}: {name}"
        known = set(parser_of(name)._option_string_actions) | set(
            parser_of("train-pictures")._option_string_actions if name == "train" else ()
        )
        flags = {word.rstrip(".").split("=")[0] for word in words if word.startswith("-")}
        assert flags <= known, f"{path}: {name} {words}"


def test_the_page_of_commands_has_every_command(monkeypatch):
    monkeypatch.syspath_prepend(os.path.join(ROOT, "docs"))
    import hooks

    assert hooks.help_of("plan").startswith("usage: webvision plan ")
    monkeypatch.setattr(hooks, "help_of", lambda name: f"help of {name}")  # the others' are tested above
    page = hooks.with_commands("# Commands\n")
    for name, command in door.COMMANDS.items():
        assert f"| [`{name}`](#{name}) | {command.about} |" in page and f"help of {name}\n" in page


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_completion_knows_every_command_and_flag(run, tmp_path, shell):
    script = run(*FRONT_DOOR, "completion", shell).stdout
    assert all(name in script for name in door.ROAD) and "--stop-at" in script and "--short-side" in script
    (tmp_path / "script").write_text(script)
    if shell == "bash":
        completed = subprocess.run(
            ["bash", "-c", f"source {tmp_path}/script; COMP_WORDS=(webvision ch); COMP_CWORD=1; _shtab_webvision; "
             'echo "${COMPREPLY[@]}"'], capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert completed.stdout.split() == ["check"]


def test_it_installs_into_an_empty_environment_and_works_outside_the_checkout(tmp_path, tiny_data):
    """The packages that it needs come from this environment; of ours, only what was installed is found."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    (site,) = (tmp_path / "env" / "lib").glob("python3*/site-packages")
    source = tmp_path / "source"
    subprocess.run(["git", "-C", ROOT, "checkout-index", "-a", f"--prefix={source}/"], check=True)
    (theirs,) = {path for path in sys.path if path.endswith("site-packages")}
    (site / "needs.pth").write_text(theirs + "\n")
    python = tmp_path / "env" / "bin" / "python"
    pip = [sys.executable, "-I", "-m", "pip", "--python", python, "install", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, source], check=True, capture_output=True)

    def given(*words):
        return subprocess.run([*words], cwd=tmp_path, capture_output=True, text=True, check=False)

    checked = given(tmp_path / "env" / "bin" / "webvision", "check", "--data", tiny_data, "--out", tmp_path / "out")
    assert checked.returncode == 0, checked.stderr
    where = "import webvision, imagenet5k, sotabencheval; print(webvision.__file__)"
    assert given(python, "-c", where).stdout.startswith(str(site))
    borrowed = "from sotabencheval.image_classification import ImageNetEvaluator as it; print(it.__module__)"
    assert given(python, "-c", borrowed).stdout == "webvision.challenges.sotabench.evaluator\n"
    (site / "sotabencheval").mkdir()  # the public package, which comes as a folder of that name
    (site / "sotabencheval" / "__init__.py").write_text("public = True\n")
    assert given(python, "-c", "import sotabencheval; print(sotabencheval.public)").stdout == "True\n"
    if os.path.exists(os.path.join(ROOT, "webvision", "data", "native", "_decode_window.so")):
        fast = "from webvision.data.pictures import decode; print(decode.fast_path())"
        assert given(python, "-c", fast).stdout == "True\n"
