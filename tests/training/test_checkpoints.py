"""C1-C3, T8: which checkpoints count, which stay, and what happens when the disk takes none."""

import errno
import functools
import json
import os
import resource
import shutil
import subprocess

import pytest

from tests.support.training_fixtures import STEPS, at
from webvision.errors import CheckpointError, ResourceError
from webvision.training import callbacks, job
from webvision.training.state.checkpoints import CheckpointFolder, State


def checkpoint(folder, step, content=b"weights"):
    """A finished checkpoint of `step`, as TensorFlow's saver and `seal` leave it."""
    folder.begin(step)
    prefix = folder.prefix(step)
    for suffix, text in ((".index", b"index of %d" % step), (".data-00000-of-00001", content)):
        with open(prefix + suffix, "wb") as file:
            file.write(text)
    folder.seal(State(step, seed=0, epoch=0, position=6 * step, list_hash="abc"))


def steps_of(path):
    return sorted({int(name.split("-")[1].split(".")[0]) for name in os.listdir(path) if name.startswith("model-")})


def test_the_last_the_best_and_every_kth_stay(tmp_path):
    folder = CheckpointFolder(tmp_path, keep=2, keep_every=10)
    for step in range(1, 26):
        checkpoint(folder, step)
        if step == 7:
            folder.note_error(7, 0.25)
        folder.note_error(step, 0.5)
    assert steps_of(tmp_path) == folder.steps() == [7, 10, 20, 24, 25]
    assert folder.best() == {"step": 7, "error": 0.25}
    assert (tmp_path / "checkpoint").read_text().startswith('model_checkpoint_path: "model-25"')


def test_sweeping_removes_what_is_marked_unfinished_and_no_manifest_vouches_for(tmp_path):
    folder = CheckpointFolder(tmp_path, keep=2)
    checkpoint(folder, 3)
    whole = sorted(os.listdir(tmp_path))
    assert "model-3.unfinished" not in whole
    for name in (
        "model-4.unfinished",
        "model-4.index",
        "model-4.data-00000-of-00001",
        "model-5.unfinished",
        "model-5.data-00000-of-00001.tempstate123",
        "model-3.unfinished",  # killed between the manifest and the mark's end
        ".model-4.json.abcdefgh.tmp",
    ):
        (tmp_path / name).write_text("half")
    for name in ("notes.txt", ".mine.tmp"):
        (tmp_path / name).write_text("mine")
    folder.sweep()
    folder.refuse_unknown()
    assert sorted(os.listdir(tmp_path)) == sorted([*whole, "notes.txt", ".mine.tmp"])


def test_weights_without_a_manifest_are_an_error_and_stay(tmp_path):
    folder = CheckpointFolder(tmp_path, keep=5)
    for step in (4, 5, 6):
        checkpoint(folder, step)
    (tmp_path / "model-6.json").unlink()
    (tmp_path / "model-4.json").unlink()
    before = sorted(os.listdir(tmp_path))
    folder.sweep()
    with pytest.raises(CheckpointError, match="2 checkpoints have no manifest .model-4, model-6 .*--load .*model-6"):
        folder.refuse_unknown()
    assert sorted(os.listdir(tmp_path)) == before
    checkpoint(folder, 7)
    folder.refuse_unknown()  # the run goes on from a later one, and writes over neither
    folder.prune(1)
    assert set(before) - set(os.listdir(tmp_path)) == {
        f"model-5.{end}" for end in ("json", "index", DATA.split(".")[1])
    }


@pytest.mark.parametrize("point", ["save-data", "save-manifest", "save-pointer", "prune"])
def test_a_checkpoint_written_again_counts_as_before_only_once_it_is_whole(tmp_path, monkeypatch, point):
    folder = CheckpointFolder(tmp_path, keep=1)
    checkpoint(folder, 4)

    def end(here):
        if here == point:
            raise KeyboardInterrupt

    monkeypatch.setattr("webvision.faults.point", end)
    with pytest.raises(KeyboardInterrupt):
        checkpoint(folder, 5 if point == "prune" else 4, b"newer")
    folder.sweep()
    folder.refuse_unknown()
    assert folder.steps() == {"save-data": [], "prune": [5]}.get(point, [4])
    assert not folder.steps() or folder.newest_whole().step == folder.steps()[-1]
    assert not [name for name in os.listdir(tmp_path) if name.endswith((".unfinished", ".tmp"))]


def test_a_run_whose_manifests_are_gone_keeps_its_weights_and_says_so(train):
    train()
    for step in train.steps():
        (train.folder / f"model-{step}.json").unlink()
    before = {path.name: path.read_bytes() for path in train.folder.glob("model-*")}
    with pytest.raises(CheckpointError, match="2 checkpoints have no manifest") as end:
        train()
    assert end.value.exit_code == 5
    assert {path.name: path.read_bytes() for path in train.folder.glob("model-*")} == before
    train("--fresh", "--load", train.folder / f"model-{STEPS}")


DATA, INDEX = "model-5.data-00000-of-00001", "model-5.index"


@pytest.mark.parametrize(
    "damage",
    [
        lambda f: (f / DATA).write_bytes(b"weight"),
        lambda f: (f / DATA).write_bytes(b"weighus"),
        lambda f: (f / DATA).write_bytes(b""),
        lambda f: (f / INDEX).write_bytes(b""),
        lambda f: (f / INDEX).unlink(),
        lambda f: (f / INDEX).write_bytes((f / "model-4.index").read_bytes()),
        lambda f: (f / "model-5.json").write_text(""),
        lambda f: (f / "model-5.json").write_text("[]"),
        lambda f: (f / "model-5.json").write_text('{"state": {"step": 5}, "files": {}}'),
        lambda f: (f / "model-5.json").write_text((f / "model-4.json").read_text()),
    ],
    ids=[
        "cut",
        "flipped",
        "empty data",
        "empty index",
        "no index",
        "other index",
        "empty manifest",
        "no manifest",
        "other state",
        "other manifest",
    ],
)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path, damage):
    folder = CheckpointFolder(tmp_path, keep=5)
    checkpoint(folder, 4)
    checkpoint(folder, 5)
    damage(tmp_path)
    (tmp_path / "checkpoint").write_text("garbage that nobody here reads")
    assert folder.newest_whole().step == 4
    (tmp_path / "model-4.index").write_bytes(b"")
    with pytest.raises(CheckpointError, match="all 2 checkpoints are damaged"):
        folder.newest_whole()


def test_the_state_holds_the_four_numbers_of_the_datas_position(train):
    train()
    manifest = json.loads((train.folder / "model-8.json").read_text())
    state = manifest["state"]
    assert (state["step"], state["seed"], state["epoch"], state["position"]) == (8, 0, 48 // 36, 48 % 36)
    run = json.loads((train.folder / "run.json").read_text())
    assert state["list_hash"] == run["list_sha256"] and len(state["list_hash"]) == 64


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MB; what is done to it ends with the test."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = (
        shutil.which("mount")
        and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", path], capture_output=True).returncode
        == 0
    )
    if not mounted:
        pytest.skip("a small file system can be mounted by root only")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def fill(disk):
    with open(disk / "filler", "wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 4096):
                pass
        except OSError:
            pass


@pytest.fixture
def impatient(monkeypatch):
    """Trainings that give up on a disk at once, or after `seconds`."""

    def after(seconds):
        monkeypatch.setattr(job, "Keeping", functools.partial(job.Keeping, patience=seconds))
        monkeypatch.setattr(callbacks, "RETRY_SECONDS", 0.01)

    return after


def test_a_disk_that_is_full_for_a_while_costs_no_training(train, undisturbed, small_disk, impatient):  # C2
    train.out, train.folder = small_disk, small_disk / "run"
    impatient(60)

    def full_from_step_2_to_6(here, seen=[0]):
        seen[0] += here == "step"
        if here == "step" and seen[0] == 2:
            fill(small_disk)
        if here == "step" and seen[0] == 6:
            (small_disk / "filler").unlink()

    train("--save-every", "0.000001", fault=full_from_step_2_to_6)
    assert train.weights() == undisturbed.weights()
    assert not [name for name in os.listdir(train.folder) if "temp" in name or name.endswith(".tmp")]


@pytest.mark.parametrize("when, saved", [(2, []), (6, [4])])
def test_a_disk_that_stays_full_ends_the_run_and_the_same_command_continues(
    train, undisturbed, small_disk, impatient, when, saved
):
    train.out, train.folder = small_disk, small_disk / "run"
    impatient(0)
    with pytest.raises(ResourceError, match="cannot be saved.*free space or permissions.*same command again") as end:
        train(fault=at("step", when, lambda: fill(small_disk)))
    assert end.value.exit_code == 7 and train.steps() == saved
    (small_disk / "filler").unlink()
    train()
    assert train.weights() == undisturbed.weights() and train.epochs() == [(1, 4), (2, STEPS)]


def test_a_disk_that_becomes_read_only_ends_the_run_with_what_was_saved(train, undisturbed, small_disk, impatient):
    train.out, train.folder = small_disk, small_disk / "run"
    impatient(0)

    def remount(how):
        subprocess.run(["mount", "-o", f"remount,{how}", small_disk], capture_output=True)

    # The open log keeps Linux from a plain remount; what the saver and the manifest meet is the same.
    def read_only(here, seen=[0]):
        seen[0] += here == "save"
        if here == "save" and seen[0] >= 2:
            raise OSError(30, "Read-only file system")

    with pytest.raises(ResourceError, match="step 8 cannot be saved: .*Read-only file system"):
        train(fault=read_only)
    remount("ro")
    with pytest.raises(OSError, match="Read-only file system"):  # errors.py makes it exit code 7
        train()
    remount("rw")
    train()
    assert train.weights() == undisturbed.weights()


def test_a_run_folder_that_vanishes_is_made_again_for_the_next_checkpoint(train, undisturbed):
    train(fault=at("step", 3, lambda: shutil.rmtree(train.folder)))
    assert train.weights() == undisturbed.weights() and train.steps() == [4, STEPS]


def test_figures_that_cannot_be_written_only_warn(train, undisturbed, monkeypatch):
    from webvision.training.watching import reports

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(reports, "write_json", refuse)
    monkeypatch.setattr("tensorflow.io.TFRecordWriter.write", refuse)
    train()
    assert train.weights() == undisturbed.weights()
    assert "stats.json cannot be written" in train.log() and train.log().count("event file cannot be written") == 1


@pytest.fixture
def largest_file():
    """Call it with the bytes that a file may have from here on, as `ulimit -f` says; the test's end lifts it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_an_event_file_over_the_limit_of_files_costs_no_training(train, undisturbed, largest_file):
    """TensorFlow's own writer raises an IndexError for it, and its thread a traceback."""
    largest_file(8192)  # more than any other file of this run has
    train()
    assert train.weights() == undisturbed.weights() and train.epochs() == [(1, 4), (2, STEPS)]
    assert train.log().count("event file cannot be written") == 1 and "File too large" in train.log()


@pytest.mark.parametrize("size", [8, 24, 64, 120])
def test_a_disk_that_fills_in_training_is_exit_code_7_whatever_met_it_first(
    train, undisturbed, small_disk, impatient, size
):
    subprocess.run(["mount", "-o", f"remount,size={size}k", small_disk], check=True)
    train.out, train.folder = small_disk, small_disk / "run"
    impatient(0)
    with pytest.raises((ResourceError, OSError), match="No space left on device") as end:
        train("--save-every", "0.000001")
    assert isinstance(end.value, ResourceError) or end.value.errno == errno.ENOSPC  # errors.py makes both exit code 7
    subprocess.run(["mount", "-o", "remount,size=2m", small_disk], check=True)
    train()
    assert train.weights() == undisturbed.weights()
