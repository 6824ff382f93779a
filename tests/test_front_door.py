"""`webvision COMMAND`: the list, each command's own flags, wrong words, completion, and the package put elsewhere."""

import os
import subprocess
import sys
import tomllib

import pytest

from tests.support.data_set import ROOT
from webvision import __main__ as door
from webvision.commands import card, completion

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
