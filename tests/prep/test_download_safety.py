"""What an archive holds is data: nothing of it is run, by this command or the next, wherever it is unpacked."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.prep.test_unpack import content, unpack_bytes
from tests.support.prep_fixtures import ROOT
from tests.support.prep_server import Site, make_tar
from webvision.environment import import_only_code
from webvision.errors import DataError, UsageError
from webvision.prep.download import target
from webvision.prep.download.catalogue import Archive

# Modules that our commands import, of the standard library and of others, as files and as packages.
PLANTED = [
    f"{name}.py" for name in ("argparse", "json", "tempfile", "subprocess", "http", "urllib3", "contextlib", "shlex")
]
PLANTED += [
    "numpy/__init__.py",
    "cv2/__init__.py",
    "importlib/__init__.py",
    "ctypes/__init__.py",
    "logging/__init__.py",
]


def plant(folder, mark):
    """Lay modules into `folder` that say, in the file `mark`, that they were run."""
    for name in PLANTED:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"open({str(mark)!r}, 'a').write(__name__ + ' ')\nraise SystemExit(77)\n")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the code, which may be spoilt."""
    copy = tmp_path_factory.mktemp("checkout") / "webvision"
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    for name in listed.stdout.splitlines():
        if not name.startswith(("tests/", "docs/", "benchmarks/")) and os.path.isfile(os.path.join(ROOT, name)):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(os.path.join(ROOT, name), copy / name)
    return copy


def given_in(folder, command, **environment):
    path = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
    return subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env={**os.environ, "PATH": path, "no_proxy": "*", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


FOLDERS = "utils", "classification", "objectnet"  # whose scripts are commands
SCRIPTS = [
    f"{folder}/{name}" for folder in FOLDERS for name in sorted(os.listdir(f"{ROOT}/{folder}")) if name.endswith(".py")
]
COMMANDS = [["python3", name, "--help"] for name in (*SCRIPTS, "imagenet-resnet.py", "sotabench.py")]
COMMANDS += [["bash", "utils/download.sh", "--list"]]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[1])
def test_no_command_imports_from_its_own_or_the_current_folder(checkout, tmp_path, command):
    for folder in (*(checkout / folder for folder in FOLDERS), tmp_path / "here"):
        plant(folder, tmp_path / "ran")
    program, script, *flags = command
    done = given_in(tmp_path / "here", [program, checkout / script, *flags], PYTHONPATH=os.pathsep)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "ran").exists(), (tmp_path / "ran").read_text()


def test_the_front_door_imports_nothing_from_the_current_folder(checkout, tmp_path):
    """-P: without it Python itself imports from there, before any of our lines."""
    plant(tmp_path / "here", tmp_path / "ran")
    for command in (["--help"], ["check", "--help"], ["train", "--help"], ["download", "--list"]):
        done = given_in(tmp_path / "here", ["python3", "-P", "-m", "webvision", *command], PYTHONPATH=str(checkout))
        assert done.returncode == 0 and not (tmp_path / "ran").exists(), (command, done.stderr)


def test_a_loader_worker_imports_nothing_from_the_current_folder(tmp_path, tiny_data):
    plant(tmp_path / "here", tmp_path / "ran")
    script = [
        sys.executable,
        f"{ROOT}/utils/speed.py",
        "--data",
        tiny_data,
        "--batch",
        "4",
        "--workers",
        "1",
        "--size",
        "32",
    ]
    done = given_in(tmp_path / "here", script, PYTHONPATH=os.pathsep)
    assert done.returncode == 0 and not (tmp_path / "ran").exists(), done.stderr


def test_the_cards_command_unpacks_into_data_and_runs_nothing(checkout, tmp_path):
    catalogue = tmp_path / "sets.json"
    catalogue.write_text(json.dumps({"evil": {"mirrors": ["http://127.0.0.1:9/"], "parts": {"all": ["x.tar"]}}}))
    bad = f"open({str(tmp_path / 'ran')!r}, 'w')"
    planted = dict.fromkeys((*PLANTED, "webvision/prep/arrange/arrange.py", "data.py"), bad.encode())
    members = {**planted, "google/q00001/a.jpg": b"a picture"}
    with Site({"x.tar": make_tar(members)}) as site:
        command = ["bash", "download.sh", "--archives", catalogue, "--set", "evil", "--mirror", site.url]
        done = given_in(checkout / "utils", command)
        again = given_in(checkout / "utils", command)
    assert done.returncode == again.returncode == 0, done.stderr + again.stderr
    assert f"into {checkout}/data/evil" in done.stdout and "left out argparse.py and others" in done.stderr
    assert not (tmp_path / "ran").exists()
    assert {name for name in content(checkout / "data/evil") if not name.startswith("archives/")} == {
        "google/q00001/a.jpg"
    }


@pytest.mark.parametrize(
    "name",
    [
        ".git/config",
        "a/.hg/hgrc",
        ".bashrc",
        "Makefile",
        "x/GNUmakefile",
        "HEAD",
        "json.py",
        "a/b.cpython-311.so",
        "c.pth",
    ],
)
def test_members_that_programs_act_on_are_left_out(tmp_path, name):
    assert unpack_bytes(tmp_path, make_tar({name: b"x", "a.jpg": b"a"})) == [name]
    assert content(tmp_path / "target") == {"a.jpg": b"a"}


@pytest.mark.parametrize("name", ["a.py.jpg", "overhead", "makefile.txt", "a.sock", "so.jpg", "a..jpg", "n1/a b.JPEG"])
def test_pictures_of_like_names_are_kept(tmp_path, name):
    assert unpack_bytes(tmp_path, make_tar({name: b"x"})) == [] and content(tmp_path / "target") == {name: b"x"}


@pytest.mark.parametrize("folder", ["", "utils", "webvision/new", "numpy", ".git", "data/../utils", "demo"])
def test_a_target_in_the_checkout_is_refused(folder):
    with pytest.raises(UsageError, match="holds programs"):
        target.check_target(os.path.join(ROOT, folder))


def test_a_target_around_code_or_behind_a_link_to_it_is_refused(tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(os.path.join(ROOT, "utils"))
    with pytest.raises(UsageError, match="holds programs"):
        target.check_target(tmp_path / "link")
    with pytest.raises(UsageError, match="programs are run from"):
        target.check_target(os.path.dirname(ROOT))
    monkeypatch.syspath_prepend(tmp_path / "mine")
    with pytest.raises(UsageError, match="a folder of its own"):
        target.check_target(tmp_path)
    target.check_target(tmp_path / "other")
    target.check_target(os.path.join(ROOT, "data", "new"))


def test_the_command_says_so_before_anything_is_made(checkout):
    done = given_in(checkout / "utils", ["bash", "download.sh", "."])
    assert done.returncode == 2 and "holds programs" in done.stderr and not (checkout / "utils/archives").exists()


# marks


@pytest.mark.parametrize("name", ["archives/y.tar.done.json", "./archives/y.tar", "Archives/manifest.json", "archives"])
def test_no_member_can_lie_among_the_marks(tmp_path, name):
    with pytest.raises(DataError, match="where the downloads' own marks are"):
        unpack_bytes(tmp_path, make_tar({"a.jpg": b"a", name: b"{}"}))
    assert content(tmp_path / "target") == {}


def test_an_archive_cannot_say_that_another_is_here(checkout, tmp_path):
    catalogue = tmp_path / "sets.json"
    parts = {"all": ["x.tar", "y.tar"]}
    catalogue.write_text(json.dumps({"two": {"mirrors": ["http://127.0.0.1:9/"], "parts": parts}}))
    forged = json.dumps({"size": 1, "sha256": "0" * 64}).encode()
    with Site({"x.tar": make_tar({"archives/y.tar.done.json": forged}), "y.tar": make_tar({"y.jpg": b"y"})}) as site:
        flags = ["--archives", catalogue, "--set", "two", "--mirror", site.url, "--parallel", "1"]
        done = given_in(tmp_path, ["bash", checkout / "utils/download.sh", tmp_path / "t", *flags])
        assert done.returncode == 3 and "1 of 2 archives are here" in done.stdout and site.gets("y.tar")
    assert (tmp_path / "t/y.jpg").read_bytes() == b"y"


def test_marks_are_known_by_their_folder_whatever_its_name_is(tmp_path):
    """On a file system that takes two names for one, the member's folder is the marks' own."""
    from webvision.prep.download import unpack

    path, folder = tmp_path / "x.tar", tmp_path / "t"
    path.write_bytes(make_tar({"marks/y.tar.done.json": b"{}"}))
    (folder / "marks").mkdir(parents=True)
    with pytest.raises(DataError, match="where the downloads' own marks are"):
        unpack.unpack(Archive("x.tar", ()), str(path), str(folder), state=str(folder / "marks"))


def test_the_module_path_keeps_what_was_installed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "scripts" / "x.py")])
    monkeypatch.setattr(
        sys, "path", ["", str(tmp_path), str(tmp_path / "scripts"), "/opt/mine", os.path.dirname(os.__file__)]
    )
    import_only_code()
    assert sys.path == [ROOT, "/opt/mine", os.path.dirname(os.__file__)]
