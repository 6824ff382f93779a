"""utils/validate_objectnet.py against the challenge's own validator.

tests/data/objectnet_verdicts.json holds what the public validator (Python 3.11, UTF-8) printed and returned for each
file; `csv` and `answers` are zlib + base85, null means that the file did not exist.
"""

import base64
import json
import math
import os
import random
import subprocess
import sys
import zlib

import pytest

from tests.support.data_set import ROOT
from webvision.challenges.objectnet import validate

SCRIPT = os.path.join(ROOT, "utils", "validate_objectnet.py")
with open(os.path.join(ROOT, "tests", "data", "objectnet_verdicts.json"), encoding="utf-8") as _file:
    GOLDEN = json.load(_file)
ANSWERS = {f"{i:015x}.png": 7 * i for i in range(1, 9)}


def run(args, cwd, **kwargs):
    return subprocess.run(
        [sys.executable, SCRIPT, *args], cwd=cwd, capture_output=True, text=True, encoding="utf-8", timeout=60, **kwargs
    )


def lay_out(case, folder):
    (folder / "folder").mkdir()
    for key, name in (("csv", "p.csv"), ("answers", "answers.json")):
        if case[key] is not None:
            (folder / name).write_bytes(zlib.decompress(base64.b85decode(case[key])))


def parsed(args):
    """The arguments of a golden case as validate() takes them, or None if the command line itself is the case."""
    values, range_check = {}, True
    rest = list(args)
    while rest:
        flag = rest.pop(0)
        if flag in ("-n", "--no-range-check"):
            range_check = False
        elif flag in ("-a", "--answers", "-f", "--filename") and rest:
            values["a" if "a" == flag.strip("-")[0] else "f"] = rest.pop(0)
        else:
            return None
    return (values["a"], values["f"], range_check) if len(values) == 2 else None


LIBRARY = [case for case in GOLDEN if parsed(case["args"])]
COMMAND = [case for case in GOLDEN if not parsed(case["args"])] + LIBRARY[::24]  # each process costs 30 ms


def test_the_golden_file_covers_every_rule():
    messages = {
        text.split("<")[0].split(":")[0]
        for case in GOLDEN
        if case["exit"]
        for text in json.loads(case["stdout"])["prediction_file_errors"]
    }
    assert len(GOLDEN) >= 100 and len(messages) == 9


@pytest.mark.parametrize("case", LIBRARY, ids=lambda case: case["case"])
def test_verdict_is_the_official_one_to_the_byte(case, tmp_path, monkeypatch):
    lay_out(case, tmp_path)
    monkeypatch.chdir(tmp_path)
    answers, filename, range_check = parsed(case["args"])
    verdict = validate.validate(answers, filename, range_check=range_check)
    assert (verdict.text() + "\n", verdict.exit_code) == (case["stdout"], case["exit"])


@pytest.mark.parametrize("case", COMMAND, ids=lambda case: case["case"])
def test_command_prints_the_official_bytes_and_returns_the_official_code(case, tmp_path):
    lay_out(case, tmp_path)
    done = run(case["args"], tmp_path)
    assert (done.stdout, done.returncode) == (case["stdout"], case["exit"])
    assert "Traceback" not in done.stderr


def row(name, ids=(1, 2, 3, 4, 5), confidences=(0.9, 0.05, 0.03, 0.01, 0.005)):
    return ",".join([name, *(f"{i},{c}" for i, c in zip(ids, confidences))]) + "\r\n"


def remarks_on(text, tmp_path, answers=ANSWERS):
    (tmp_path / "a.json").write_text(json.dumps(answers), encoding="utf-8")
    (tmp_path / "p.csv").write_bytes(text.encode())
    return validate.validate(tmp_path / "a.json", tmp_path / "p.csv")


def test_a_good_file_gets_no_remark(tmp_path):
    verdict = remarks_on("".join(map(row, ANSWERS)), tmp_path)
    assert verdict.exit_code == 0 and verdict.remarks == []


NAMES = list(ANSWERS)
REST = "".join(map(row, NAMES[1:]))


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "holds no rows"),
        (row(NAMES[0]), "7 of 8 images have no row"),
        (row(NAMES[0], confidences=["nan"] * 5) + REST, "NaN"),
        (row(NAMES[0], confidences=["inf", 1, 1, 1, 1]) + REST, "infinite"),
        (row(NAMES[0], confidences=["high"] * 5) + REST, "not a number"),
        (row(NAMES[0], confidences=[0.1, 0.2, 0.3, 0.4, 0.5]) + REST, "do not descend"),
        (row(NAMES[0], ids=[7, 7, 3, 4, 5]) + REST, "occurs twice"),
        (row(NAMES[0], ids=[-1] * 5) + REST, "no prediction at all"),
        (row(NAMES[0], ids=["", 1, 2, 3, 4]) + REST, "empty id"),
        (f"{NAMES[0]},7,0.5\r\n" + REST, "not 11 columns"),
        (f"{NAMES[0]},7,1,2,3,4,5,4,3,2,1\r\n" + REST, "five ids and then five confidences"),
    ],
    ids=lambda value: value if len(value) < 40 else "",
)
def test_what_the_official_validator_accepts_in_silence_is_remarked(text, words, tmp_path):
    verdict = remarks_on(text, tmp_path)
    assert verdict.exit_code == 0 and len(verdict.remarks) == 1 and words in verdict.remarks[0]


def test_unmapped_ids_and_whole_confidences_are_no_mistake(tmp_path):
    text = "".join(row(name, ids=[75, -1, -1, -1, 3], confidences=[1, 0, 0, 0, 0]) for name in NAMES)
    assert remarks_on(text, tmp_path).remarks == []


def test_all_errors_are_listed_with_their_lines_although_the_verdict_names_the_first(tmp_path):
    text = (
        row(NAMES[0], ids=[400, 1, 2, 3, 4])
        + row(NAMES[1], ids=["x", 1, 2, 3, 4])
        + row(NAMES[2])
        + row(NAMES[2])
        + "\r\n"
        + row("other.png")
        + f"{NAMES[3]}\r\n"
    )
    verdict = remarks_on(text, tmp_path)
    assert verdict.report["prediction_file_errors"] == ["Prediction index <400> out of range [-1, 312]"]
    found = "\n".join(verdict.remarks)
    for line, words in (
        (1, "400"),
        (2, "integer"),
        (4, "stands in line 3"),
        (5, "blank line"),
        (6, "other.png"),
        (7, "no prediction"),
    ):
        assert f"line {line}" in found and words in found


def test_many_bad_lines_give_few_lines_of_remarks(tmp_path):
    verdict = remarks_on("".join(row(f"x{i}.png") for i in range(3000)), tmp_path)
    assert len(verdict.remarks) == 1 and "3000 rows" in verdict.remarks[0] and len(verdict.remarks[0]) < 600


def test_Z7_control_characters_of_a_name_do_not_reach_the_terminal(tmp_path):
    (tmp_path / "answers.json").write_text(json.dumps(ANSWERS))
    (tmp_path / "p.csv").write_text(row("\x1b]0;owned\x07.png") + row("=cmd()|x.png"))
    done = run(["-a", "answers.json", "-f", "p.csv"], tmp_path)
    assert "\x1b" not in done.stderr + done.stdout and "\\x1b]0;owned" in done.stderr


@pytest.mark.parametrize("text", ["{}", "[]"])
def test_no_answers_at_all_is_a_verdict_and_not_a_traceback(text, tmp_path):
    (tmp_path / "answers.json").write_text(text)
    (tmp_path / "p.csv").write_text("")
    done = run(["-a", "answers.json", "-f", "p.csv"], tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert json.loads(done.stdout)["prediction_file_errors"] == ["ObjectNet answer file not available"]


def test_help_is_help(tmp_path):
    done = run(["--help"], tmp_path)
    assert done.returncode == 0 and "--answers" in done.stdout


def test_overlap_and_all_in_one_call(tmp_path):
    (tmp_path / "all.json").write_text(json.dumps(ANSWERS))
    (tmp_path / "overlap.json").write_text(json.dumps({name: ANSWERS[name] for name in NAMES[:4]} | {"missing.png": 3}))
    (tmp_path / "p.csv").write_text(
        "".join(
            row(name, ids=[ANSWERS[name] if i % 2 else 300, ANSWERS[name], 1, 2, 3]) for i, name in enumerate(NAMES)
        )
    )
    alone = run(["-a", "all.json", "-f", "p.csv"], tmp_path)
    both = run(["-a", "all.json", "-f", "p.csv", "--subset", "overlap.json"], tmp_path)
    assert both.returncode == 0 and both.stdout == alone.stdout
    assert both.stderr == alone.stderr + "overlap.json: accuracy 40.00, top5_accuracy 80.00 on 5 images\n"
    for text in ("", "[]", "{}"):
        (tmp_path / "overlap.json").write_text(text)
        assert run(["-a", "all.json", "-f", "p.csv", "--subset", "overlap.json"], tmp_path).returncode == 3


def test_full_challenge_size_is_scored_exactly(tmp_path):
    draw = random.Random(1)
    answers = {f"{i:015x}.png": draw.randrange(313) for i in range(50273)}
    guesses = {name: draw.sample(range(-1, 313), 5) for name in answers}
    verdict = remarks_on("".join(row(name, guesses[name]) for name in answers), tmp_path, answers)
    top1 = sum(guesses[name][0] == label for name, label in answers.items())
    top5 = sum(label in guesses[name] for name, label in answers.items())
    assert math.isclose(verdict.report["accuracy"], 100 * top1 / 50273)
    assert math.isclose(verdict.report["top5_accuracy"], 100 * top5 / 50273)
    assert verdict.report["images_scored"] == verdict.report["total_images"] == 50273
