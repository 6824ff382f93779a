"""`make help` names every target; every file that a target starts exists; the versions that are written twice agree."""

import os
import re
import subprocess
import tomllib

from tests.support.data_set import ROOT


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


def make(*args):
    # By this environment: what a dry run would install is of no interest.
    done = subprocess.run(["make", *args, "-o", "setup"], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


def targets():
    return re.findall(r"^([a-z][a-z-]*):(?!=)", read("Makefile"), re.MULTILINE)


def test_help_has_a_line_for_every_target():
    listed = re.findall(r"^  ([a-z-]+) +\S", make("help"), re.MULTILINE)
    assert sorted(listed) == sorted(targets())
    phony = re.search(r"^\.PHONY: ((?:.*\\\n)*.*)", read("Makefile"), re.MULTILINE)[1].replace("\\\n", " ").split()
    assert sorted(phony) == sorted(targets())


def test_every_target_starts_what_is_there():
    for target in set(targets()) - {"setup", "clean"}:
        commands = make("--dry-run", target)
        for path in re.findall(r"(?<=[ =])((?:tests|benchmarks|utils|docs|webvision)/[\w./*-]+)", commands):
            assert os.path.exists(os.path.join(ROOT, path.replace("/*.py", ""))), f"make {target}: {path}"


def test_one_room_can_be_tested():
    assert "-m pytest tests/lists\n" in make("--dry-run", "test", "T=tests/lists")


def test_continuous_integration_lints_before_it_tests():
    lines = read(".ci/run").splitlines()
    assert lines.index("make lint") < lines.index("make test")
    assert "ruff format --check" in make("--dry-run", "lint") and "mypy" in make("--dry-run", "types")


def test_versions_and_pins_agree():
    project = tomllib.loads(read("pyproject.toml"))["project"]
    version = project["version"]
    assert f"\nversion: {version}\n" in read("CITATION.cff") and f"\n## {version} - " in read("CHANGELOG.md")
    for extra, lock in (("dev", "requirements.lock"), ("docs", "requirements-docs.lock")):
        for pin in project["optional-dependencies"][extra]:
            assert f"\n{pin} \\" in read(lock), f"{lock} lacks {pin}; make lock"
    assert read("LICENSE").lstrip().startswith("Apache License") and project["license"] == "Apache-2.0"
