"""The submission's container without a Docker engine: Dockerfile and .dockerignore read by rules of our own, every COPY
and every command carried out in a clean directory, and build_submission.sh against a `docker` that writes down its
arguments.
"""

import csv
import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.support.data_set import ROOT
from tests.support.model_fixtures import numpy_model

INSTRUCTIONS = {"ARG", "FROM", "LABEL", "ENV", "WORKDIR", "COPY", "RUN", "USER", "ENTRYPOINT"}


def instructions(text):
    """[(INSTRUCTION, rest)] of a Dockerfile, continuation lines joined, comments dropped."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


STEPS = instructions(read("Dockerfile"))


def ignored(path, patterns):
    """Whether .dockerignore leaves `path` out: the last pattern that matches it or a folder above it decides."""
    parts = path.split("/")
    out = False
    for pattern in patterns:
        plain = pattern.lstrip("!")
        forms = [plain, plain[3:]] if plain.startswith("**/") else [plain]
        if any(
            len(form.split("/")) == len(prefix)
            and all(map(fnmatch.fnmatchcase, prefix, form.split("/")))
            or pattern.startswith("**/")
            and fnmatch.fnmatchcase(prefix[-1], form)
            for form in forms
            for prefix in (parts[:n] for n in range(1, len(parts) + 1))
        ):
            out = not pattern.startswith("!")
    return out


PATTERNS = [line for line in read(".dockerignore").splitlines() if line and not line.startswith("#")]


@pytest.fixture
def project(tmp_path):
    """A copy of what the build stands on, so that nothing here touches the checkout, and a model to submit."""
    folder = tmp_path / "project"
    shutil.copytree(
        os.path.join(ROOT, "webvision"), folder / "webvision", ignore=shutil.ignore_patterns("__pycache__", "*.so")
    )
    (folder / "utils").mkdir()
    for name in (
        "Dockerfile",
        ".dockerignore",
        "requirements.lock",
        "requirements-gpu.lock",
        "resnet_model.py",
        "utils/objectnet_eval.py",
        "utils/build_submission.sh",
    ):
        shutil.copy(os.path.join(ROOT, name), folder / name)
    (folder / ".git").mkdir()
    (folder / ".git" / "secret").write_text("x")
    (tmp_path / "my model.py").write_text(numpy_model("objectnet"))
    np.savez(tmp_path / "weights.npz", w=np.random.default_rng(0).standard_normal((3, 1000)).astype(np.float32))
    (tmp_path / "map.json").write_text(json.dumps({str(i): i % 313 for i in range(500)}))
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "docker").write_text(f'#!/bin/sh\nfor a in "$@"; do printf "%s\\n" "$a"; done > {tmp_path}/docker.args\n')
    (fake / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (fake / "ldconfig").write_text("#!/bin/sh\n")
    for name in ("docker", "python3", "ldconfig"):
        (fake / name).chmod(0o755)
    return tmp_path


def build(tmp_path, *args, cwd=None):
    env = {**os.environ, "PATH": f"{tmp_path}/bin:/usr/bin:/bin"}
    return subprocess.run(
        [str(tmp_path / "project" / "utils" / "build_submission.sh"), *map(str, args)],
        cwd=cwd or tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )


FLAGS = ("-n", "my model.py", "-c", "weights.npz", "-m", "map.json", "-i", "me/objectnet")


# ---- lint


def test_dockerfile_has_known_instructions_only_and_one_pinned_official_base():
    assert {name for name, _ in STEPS} <= INSTRUCTIONS
    assert [rest for name, rest in STEPS if name == "FROM"] == ["tensorflow/tensorflow:${TENSORFLOW_VERSION}"]
    pinned = re.search(r'"tensorflow==([\d.]+)"', read("pyproject.toml"))[1]
    assert STEPS[0] == ("ARG", f"TENSORFLOW_VERSION={pinned}")
    assert f'version="{pinned}"' in read("utils/build_submission.sh")
    assert f"tensorflow=={pinned} " in read("requirements.lock")


def test_both_locks_pin_the_same_versions_by_hash():
    def pins(name):
        blocks = re.split(r"\n(?=[a-z])", read(name))[1:]
        assert all("--hash=sha256:" in block for block in blocks)
        return {re.match(r"[\w.-]+==[^\s;]+", block)[0] for block in blocks}

    plain, gpu = pins("requirements.lock"), pins("requirements-gpu.lock")
    assert len(gpu) > 30 and {pin for pin in gpu if not pin.startswith("nvidia-")} <= plain
    cuda = {pin.split("==")[0] for pin in gpu - plain}
    assert {"nvidia-cudnn-cu12", "nvidia-cusolver-cu12"} <= cuda and not any(pin.startswith("pytest") for pin in gpu)


def test_container_runs_as_nobody_and_starts_in_exec_form():
    kinds = [name for name, _ in STEPS]
    user = next(rest for name, rest in STEPS if name == "USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user) and kinds.index("USER") > max(
        i for i, k in enumerate(kinds) if k == "RUN"
    )
    assert kinds[-1] == "ENTRYPOINT" and kinds.count("ENTRYPOINT") == 1
    entry = json.loads(STEPS[-1][1])
    assert (
        entry[:2] == ["/bin/sh", "-c"] and "/input /output/predictions.csv" in entry[2] and entry[2].startswith("exec ")
    )


def test_installs_are_by_hash_without_cache_and_nothing_is_fetched_by_hand():
    runs = " ; ".join(rest for name, rest in STEPS if name == "RUN")
    assert "--require-hashes" in runs and "--no-cache-dir" in runs
    assert not re.search(r"curl|wget|sudo|apt-get|http", runs)


def test_every_argument_is_declared_before_its_use():
    declared = set()
    for name, rest in STEPS:
        if name == "ARG":
            declared.add(rest.split("=")[0])
        elif name in ("FROM", "ENV"):
            assert set(re.findall(r"\$\{?(\w+)", rest)) <= declared, rest


def copied_sources():
    return [
        source.replace("${LOCK}", lock)
        for name, rest in STEPS
        if name == "COPY"
        for source in rest.split()[:-1]
        for lock in (["requirements.lock", "requirements-gpu.lock"] if "${LOCK}" in source else [""])
    ]


def test_every_copied_file_exists_and_reaches_the_context(project):
    assert build(project, *FLAGS).returncode == 0
    for source in copied_sources():
        assert (project / "project" / source).exists(), source
        assert not ignored(source, PATTERNS), source
        assert (
            source.startswith("build/") or subprocess.run(["git", "-C", ROOT, "check-ignore", "-q", source]).returncode
        )


def test_the_context_holds_nothing_else(project):
    build(project, *FLAGS)
    folder = project / "project"
    for path in (
        "webvision/data/native/_decode_window.so",
        "webvision/__pycache__/x.pyc",
        "train_log/run/model-1.index",
        "demo/train/a.jpg",
        ".venv/bin/python",
        "utils/download.sh",
        "build/other",
    ):
        assert ignored(path, PATTERNS), path
    kept = [os.path.relpath(os.path.join(base, name), folder) for base, _, names in os.walk(folder) for name in names]
    kept = [path for path in kept if not ignored(path, PATTERNS)]
    assert ".git/secret" not in kept and "build/submission/weights.npz" in kept and "webvision/errors.py" in kept
    assert all(any(path == source or path.startswith(source + "/") for source in copied_sources()) for path in kept)


# ---- the build and the run, carried out


def carry_out(tmp_path):
    """COPY and RUN the Dockerfile's steps in tmp_path/workspace; returns (environment, entry point) of the image."""
    folder, workspace = tmp_path / "project", tmp_path / "workspace"
    arguments = (tmp_path / "docker.args").read_text().splitlines()
    values = dict(arguments[i + 1].split("=", 1) for i, flag in enumerate(arguments) if flag == "--build-arg")
    env = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin"}
    for name, rest in STEPS:
        if name == "WORKDIR":
            assert rest == "/workspace"
            workspace.mkdir()
        elif name == "ARG":
            key, _, default = rest.partition("=")
            values.setdefault(key, default)
        elif name == "ENV":
            env.update(
                pair.split("=", 1)
                for pair in shlex.split(re.sub(r"\$\{(\w+)\}", lambda match: shlex.quote(values[match[1]]), rest))
            )
        elif name == "COPY":
            *sources, target = rest.replace("${LOCK}", values.get("LOCK", "")).split()
            for source in sources:
                place = (
                    workspace / target if not target.endswith("/") else workspace / target / os.path.basename(source)
                )
                os.makedirs(tmp_path / "etc", exist_ok=True)
                os.makedirs(place.parent, exist_ok=True)
                if (folder / source).is_dir():
                    shutil.copytree(folder / source, place)
                else:
                    shutil.copy(folder / source, place)
        elif name == "RUN":
            # Nothing is installed by a test: pip only says whether the lock is met, offline, as it is in this
            # environment.
            command = rest.replace("/workspace", str(workspace)).replace(
                "pip install", "pip install --dry-run --no-index"
            )
            command = command.replace("/etc/ld.so.conf.d", str(tmp_path / "etc"))
            done = subprocess.run(
                ["/bin/sh", "-c", command], cwd=workspace, env=env, capture_output=True, text=True, timeout=100
            )
            assert done.returncode == 0, done.stderr
    return env, json.loads(STEPS[-1][1])


def start(tmp_path, env, entry, *more):
    """Run the image's entry point with tmp_path's input and output folders."""
    script = entry[2].replace("/input", f"'{tmp_path}/input'").replace("/output/", f"'{tmp_path}/output'/")
    return subprocess.run(
        [*entry[:2], script, *entry[3:], *more],
        cwd=tmp_path / "workspace",
        env=env,
        capture_output=True,
        text=True,
        timeout=100,
    )


def tree(folder):
    return sorted(os.path.join(base, name) for base, _, names in os.walk(folder) for name in names)


def test_the_image_predicts_input_into_output(project):
    assert build(project, *FLAGS, "-t", "v1", "--cpu").returncode == 0
    env, entry = carry_out(project)
    os.makedirs(project / "input" / "deep")
    os.makedirs(project / "output")
    for number in range(3):
        Image.new("RGBA", (300, 240), (80 * number, 20, 200, 255)).save(
            project / "input" / "deep" / f"{number:015x}.png"
        )
    before = tree(project / "workspace")
    done = start(project, env, entry, "--workers", "1", "--batch_size", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("Done. Number of predictions:  3\n") and os.listdir(project / "output") == [
        "predictions.csv"
    ]
    with open(project / "output" / "predictions.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert [row[0] for row in rows] == [f"{number:015x}.png" for number in range(3)]
    assert all(len(row) == 11 and all(-1 <= int(i) < 313 for i in row[1::2]) for row in rows)
    assert tree(project / "workspace") == before  # a read-only image and any --user will do
    again = start(project, env, entry)
    assert again.returncode == 2 and "exists already" in again.stderr


def test_a_model_with_objectnet_ids_needs_no_mapping(project):
    flags = list(FLAGS)
    flags[flags.index("map.json")] = "none"
    assert build(project, *flags, "--cpu").returncode == 0
    env, entry = carry_out(project)
    assert env["CONVERT_OUTPUTS_MODE"] == "0"
    os.makedirs(project / "input")
    os.makedirs(project / "output")
    Image.new("RGB", (300, 240)).save(project / "input" / "a.png")
    assert start(project, env, entry, "--workers", "1").returncode == 0


# ---- build_submission.sh


def docker_arguments(tmp_path):
    return (tmp_path / "docker.args").read_text().splitlines()


def test_the_base_image_is_kept_by_its_digest_and_built_from_again(project):
    digest = "sha256:" + "ab12" * 16
    docker = project / "bin" / "docker"
    docker.write_text(
        '#!/bin/sh\n[ "$1" != image ] || { echo tensorflow/tensorflow@' + digest + "; exit; }\n"
        f'for a in "$@"; do printf "%s\\n" "$a"; done > {project}/docker.args\n'
    )
    assert build(project, *FLAGS).returncode == 0
    assert f"TENSORFLOW_VERSION=2.21.0@{digest}" in docker_arguments(project)
    lock = project / "project" / "base-images.lock"
    assert lock.read_text() == f"2.21.0@{digest}\n"
    docker.write_text(docker.read_text().replace("ab12", "cd34"))  # the tag was moved
    done = build(project, *FLAGS)
    assert f"TENSORFLOW_VERSION=2.21.0@{digest}" in docker_arguments(project) and not done.stderr
    assert f"2.21.0@{digest}" in build(project, *FLAGS, "--dry-run").stdout
    assert lock.read_text() == f"2.21.0@{digest}\n"


def test_flags_of_the_template_reach_docker(project):
    done = build(
        project,
        "--model-class-name=my model.py",
        "--model-checkpoint=weights.npz",
        "--mappings=map.json",
        "--image=me/x",
        "--tag=v2",
        "--tensorflow-version=2.20.0",
        "--no-cache",
        "--cpu",
    )
    assert done.returncode == 0, done.stderr
    args = docker_arguments(project)
    assert args[:2] == ["build", "--no-cache"] and args[-1] == str(project / "project")
    for expected in (
        "TENSORFLOW_VERSION=2.20.0",
        "LOCK=requirements.lock",
        "MODEL_CLASS_NAME=submission/my model.py",
        "me/x:v2",
        "MODEL_CHECKPOINT=submission/weights.npz",
        "CONVERT_OUTPUTS_MODE=1",
    ):
        assert expected in args
    declared = {rest.split("=")[0] for name, rest in STEPS if name == "ARG"}
    assert {args[i + 1].split("=")[0] for i, flag in enumerate(args) if flag == "--build-arg"} == declared


def test_tag_is_latest_and_no_cache_has_its_short_form(project):
    assert build(project, *FLAGS, "-nc").returncode == 0
    assert "me/objectnet:latest" in docker_arguments(project) and "--no-cache" in docker_arguments(project)
    assert "LOCK=requirements-gpu.lock" in docker_arguments(project)
    digest = "2.21.0@sha256:" + "0" * 64
    assert build(project, *FLAGS, "-v", digest).returncode == 0
    assert f"TENSORFLOW_VERSION={digest}" in docker_arguments(project)


def test_a_built_in_network_and_a_tensorflow_checkpoint_are_laid_out_whole(project):
    (project / "run").mkdir()
    for name in ("model-9.index", "model-9.data-00000-of-00001", "model-10.index", "checkpoint"):
        (project / "run" / name).write_text(name)
    folder = project / "mappings"
    folder.mkdir()
    for name in ("folder_to_objectnet_label.json", "imagenet_to_label_2012_v2", "notes.pdf"):
        (folder / name).write_text("")
    for checkpoint in ("run/model-9", "run/model-9.index"):
        done = build(project, "-n", "resnet50", "-c", checkpoint, "-m", folder, "-i", "x")
        assert done.returncode == 0, done.stderr
        context = project / "project" / "build" / "submission"
        assert tree(context) == sorted(
            str(context / name)
            for name in (
                "model-9.index",
                "model-9.data-00000-of-00001",
                "mappings/folder_to_objectnet_label.json",
                "mappings/imagenet_to_label_2012_v2",
            )
        )
        assert {"MODEL_CLASS_NAME=resnet50", "MODEL_CHECKPOINT=submission/model-9"} <= set(docker_arguments(project))


def test_a_checkpoint_of_before_the_card_takes_its_run_along(project):
    (project / "run").mkdir()
    for name in ("model-9.index", "model-9.data-00000-of-00001", "run.json", "stats.json"):
        (project / "run" / name).write_text(name)
    assert build(project, "-n", "resnet50", "-c", "run/model-9", "-m", "none", "-i", "x").returncode == 0
    laid_out = os.listdir(project / "project" / "build" / "submission")
    assert "run.json" in laid_out and "stats.json" not in laid_out


def test_dry_run_prints_the_command_and_starts_nothing(project):
    done = build(project, *FLAGS, "--dry-run", cwd=project)
    assert done.returncode == 0 and shlex.split(done.stdout)[:2] == ["docker", "build"]
    assert (
        not (project / "docker.args").exists()
        and (project / "project" / "build" / "submission" / "my model.py").exists()
    )


@pytest.mark.parametrize(
    "change, words",
    [
        ({"-n": None}, "no model"),
        ({"-c": None}, "no checkpoint"),
        ({"-i": None}, "no image name"),
        ({"-m": None}, "no mappings"),
        ({"-n": "none.py"}, "none.py: no such model file"),
        ({"-n": "resnet51"}, "resnet51: neither a PyTorch class, a Python file nor a network of this project"),
        ({"-n": "vgg16"}, "vgg16: neither a PyTorch class, a Python file nor a network of this project"),
        ({"-c": "none.npz"}, "none.npz: no such checkpoint"),
        ({"-c": "bin"}, "bin: a folder"),
        ({"-m": "nowhere"}, "nowhere: no such mappings"),
        ({"-m": "bin"}, "no mapping file"),
        ({"-v": "latest"}, "-v latest: a release"),
        ({"--frobnicate": "1"}, "unknown flag --frobnicate"),
        ({"-t": ""}, "an empty tag"),
    ],
)
def test_wrong_flags_are_one_line(change, words, project):
    flags = dict(zip(FLAGS[::2], FLAGS[1::2]))
    flags.update(change)
    done = build(project, *(part for flag, value in flags.items() if value is not None for part in (flag, value)))
    assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1
    assert not (project / "docker.args").exists()


def test_help_and_a_missing_docker_are_told(project):
    done = build(project, "--help")
    assert done.returncode == 0 and "--model-checkpoint=CHECKPOINT" in done.stdout
    for flag in ("--model-class-name", "--model-checkpoint", "--image", "--tag", "--no-cache", "--tensorflow-version"):
        assert flag in done.stdout
    os.unlink(project / "bin" / "docker")
    env = {**os.environ, "PATH": f"{project}/bin:/usr/bin:/bin"}
    if shutil.which("docker", path=env["PATH"]) is None:
        done = build(project, *FLAGS)
        assert done.returncode == 2 and "docker is not installed here" in done.stderr
