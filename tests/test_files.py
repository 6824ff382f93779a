"""Whole files or none, one process a folder, and errors as exit codes."""

import errno
import os
import resource
import stat
import subprocess
import sys

import pytest

from tests.support.data_set import ROOT
from webvision import errors, faults, files


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(RuntimeError):
        with files.atomic_write(path) as file:
            file.write("half")
            raise RuntimeError
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.json"]
    with files.atomic_write(path) as file:
        file.write("name \udcff\n")
    assert path.read_bytes() == b"name \xff\n" and os.listdir(tmp_path) == ["a.json"]


def test_a_file_that_grows_too_large_is_named_and_leaves_nothing(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    try:
        with pytest.raises(OSError) as end:
            files.write_json(tmp_path / "a.json", "x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert end.value.errno == errno.EFBIG and end.value.filename == str(tmp_path / "a.json")
    assert not os.listdir(tmp_path)


def test_a_written_file_obeys_the_umask(tmp_path):
    for mask, mode in ((0o022, 0o644), (0o077, 0o600)):
        old = os.umask(mask)
        try:
            files.write_json(tmp_path / "a", {})
        finally:
            os.umask(old)
        assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode


def test_z8_under_any_umask_nobody_else_can_touch_a_file_before_it_is_whole(tmp_path):
    """World-writable only once it is done, if that is what the umask says; its temporary name can't be foreseen or
    planted."""
    old = os.umask(0)
    try:
        with files.atomic_write(tmp_path / "a") as file:
            (temporary,) = os.listdir(tmp_path)
            assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600
            assert stat.S_IMODE((tmp_path / temporary).stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666
    finally:
        os.umask(old)


def test_z8_links_planted_in_a_shared_folder_lead_nowhere(tmp_path, monkeypatch):
    victim, shared = tmp_path / "victim", tmp_path / "shared"
    shared.mkdir()
    victim.write_text("precious")
    (shared / "out.json").symlink_to(victim)  # the name itself
    files.write_json(shared / "out.json", {})
    assert not (shared / "out.json").is_symlink() and victim.read_text() == "precious"

    names = iter(["aaaaaaaa", "bbbbbbbb"])  # the temporary's name, guessed right
    monkeypatch.setattr(files.tempfile, "_get_candidate_names", lambda: names)
    (shared / ".b.json.aaaaaaaa.tmp").symlink_to(victim)
    files.write_json(shared / "b.json", {})
    assert victim.read_text() == "precious" and (shared / "b.json").read_text() == "{}\n"

    (shared / ".lock").symlink_to(victim)
    with pytest.raises(errors.LockedError, match="is a link"):
        with files.directory_lock(shared):
            pass
    assert victim.read_text() == "precious"


def put_there(kind, path, victim):
    if kind == "symbolic":
        os.symlink(victim, path)
    elif kind == "hard":
        os.link(victim, path)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        os.mkdir(path)


@pytest.mark.parametrize("kind", ["symbolic", "hard", "pipe", "folder"])
def test_logs_locks_and_partial_files_are_never_another_file(tmp_path, kind):
    """A folder that somebody else has prepared: whatever has the name, nothing is written to, and nobody waits."""
    from webvision.challenges.objectnet.predictions_csv import PredictionsCsv
    from webvision.training.watching import run_log

    victim = tmp_path / "victim"
    victim.write_text("precious")
    for name in ("log.log", "hang.log", ".lock", "out.csv.partial"):
        put_there(kind, tmp_path / name, victim)
    for attempt in (
        lambda: run_log.log_to(str(tmp_path)).__enter__(),
        lambda: files.directory_lock(str(tmp_path)).__enter__(),
        lambda: PredictionsCsv(str(tmp_path / "out.csv")).__enter__(),
        lambda: files.append_own(str(tmp_path / "hang.log")),
    ):
        with pytest.raises((files.NotOwnError, errors.LockedError), match="is a link|is no regular file"):
            attempt()
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("folder_mode, lock_mode", [(0o755, 0o600), (0o775, 0o660), (0o1777, 0o666), (0o700, 0o600)])
def test_only_who_may_write_into_a_folder_can_hold_its_lock(tmp_path, folder_mode, lock_mode):
    """To read a file is enough to lock it, and so to stop every run of its owner."""
    folder, old = tmp_path / "f", os.umask(0o022)
    try:
        folder.mkdir()
        os.chmod(folder, folder_mode)
        (folder / ".lock").write_text("")
        os.chmod(folder / ".lock", 0o644)  # as earlier versions left it
        for _ in range(2):
            with files.directory_lock(folder):
                assert stat.S_IMODE(os.stat(folder / ".lock").st_mode) == lock_mode
            os.unlink(folder / ".lock")
    finally:
        os.umask(old)


def test_a_folder_is_held_by_one_process_and_freed_by_its_death(tmp_path):
    hold = (
        f"import sys; sys.path.insert(0, {ROOT!r})\nfrom webvision.files import directory_lock\n"
        f"with directory_lock({str(tmp_path)!r}): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(errors.LockedError, match=f"pid {holder.pid} on"):
            with files.directory_lock(tmp_path):
                pass
        holder.kill()
        holder.wait()
        with files.directory_lock(tmp_path):
            pass


@pytest.mark.parametrize(
    "raised, code, words",
    [
        ("errors.DataError('list:3: bad label')", 3, "error: list:3: bad label\n"),
        ("errors.Interrupted('saved', 143)", 143, "error: saved\n"),
        ("KeyboardInterrupt", 130, "error: interrupted\n"),
        ("OSError(28, 'No space left on device', 'x')", 7, "No space left on device"),
        ("MemoryError", 7, "out of memory"),
        ("errors.DataError('a\\x1b[31m\\udcff')", 3, "a\\x1b[31m\\xff"),
        ("ZeroDivisionError", 1, "Traceback"),
    ],
)
def test_every_end_has_its_code_and_its_line(raised, code, words):
    script = (
        f"import sys; sys.path.insert(0, {ROOT!r})\nfrom webvision import errors\n"
        f"def main(): raise {raised}\nerrors.run_command(main)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == code and words in done.stderr
    assert ("Traceback" in done.stderr) == (code == 1)


def end(main, *args, cwd=None):
    """The finished command whose main() has this body, run with `args`."""
    script = (
        f"import os, sys; sys.path.insert(0, {ROOT!r})\nfrom webvision import errors, files\n"
        f"def main():\n  {main}\nerrors.run_command(main)"
    )
    return subprocess.run([sys.executable, "-c", script, *args], capture_output=True, text=True, cwd=cwd)


@pytest.mark.parametrize(
    "raised, words",
    [
        ("OSError(errno.{}, os.strerror(errno.{}), 'a', None, 'b')", "a -> b: "),
        ("OSError(errno.{}, os.strerror(errno.{}))", "error: "),
    ],
)
@pytest.mark.parametrize(
    "name",
    [
        "ENOSPC",
        "EDQUOT",
        "EFBIG",
        "EROFS",
        "EACCES",
        "EPERM",
        "EMFILE",
        "ENFILE",
        "ENOMEM",
        "EAGAIN",
        "EIO",
        "ESTALE",
        "ETIMEDOUT",
    ],
)
def test_what_the_machine_is_to_blame_for_is_one_line_with_advice(name, raised, words):
    done = end(f"import errno; raise {raised.replace('{}', name)}")
    assert done.returncode == 7 and words + os.strerror(getattr(errno, name)) + "; " in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "main, words",
    [
        ('import threading; raise RuntimeError("can\'t start new thread")', "no more threads"),
        ("raise ImportError('libx.so: failed to map segment from shared object')", "out of memory"),
    ],
)
def test_too_little_for_threads_or_libraries_is_one_line_too(main, words):
    done = end(main)
    assert done.returncode == 7 and words in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "main, words",
    [
        ("open('none/a/b')", "none: no such file or folder"),
        ("files.write_json('none/a', {})", "none: no such file or folder"),
        ("open('file/a')", "file: a file, where a folder"),
        ("os.makedirs('file')", "file: exists already"),
        ("open('folder')", "folder: a folder, where a file"),
        ("files.write_json('folder', {})", "folder: a folder, where a file"),
        ("open('loop')", "loop: a symbolic link"),
        ("files.write_json('x' * 250, {})", "xxx: too long a name"),
    ],
)
def test_a_path_that_leads_nowhere_is_a_wrong_command_if_it_was_given_and_wrong_data_if_not(tmp_path, main, words):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    path = words.partition(":")[0] if "long" not in words else "x" * 250
    for args, code in (
        ((), 3),
        (("--data", "."), 3),
        (("--out", path), 2),
        ((f"--out={path}",), 2),
        ((f"{path}/below",), 2),
    ):
        done = end(main, *args, cwd=tmp_path)
        assert done.returncode == code and words in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_a_full_disk_names_the_file_that_was_written(tmp_path):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); "
    done = end(limit + "files.write_json('big.json', 'x' * 100_000)", cwd=tmp_path)
    assert done.returncode == 7 and done.stderr.startswith("-c: error: big.json: File too large; ")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "bug",
    [
        "open(99)",
        "os.listdir(99)",
        "raise FileNotFoundError(2, 'x')",
        "raise OSError('no number')",
        "import none",
        "raise RuntimeError('dictionary changed size')",
        "os.rmdir('..')",
    ],
)
def test_a_bug_of_ours_keeps_its_traceback(bug, tmp_path):
    done = end(bug, cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" in done.stderr


def test_a_reader_that_leaves_is_no_crash():
    script = (
        f"import sys; sys.path.insert(0, {ROOT!r})\nfrom webvision import errors\n"
        "def main():\n  for i in range(1000000): print(i)\nerrors.run_command(main)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout.readline() == "0\n"
        writer.stdout.close()
        assert writer.stderr.read() == "" and writer.wait() == 141


def test_faults_strike_at_the_nth_passing_only(monkeypatch):
    monkeypatch.setattr(faults, "_passed", faults.Counter())
    monkeypatch.setenv(faults.VARIABLE, "save:2:full")
    faults.point("save")
    faults.point("step")
    for _ in range(2):  # a full disk stays full
        with pytest.raises(OSError) as full:
            faults.point("save")
        assert full.value.errno == errno.ENOSPC


@pytest.mark.parametrize(
    "data, words",
    [
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b"[" * 200_000, "nested too deeply"),
        (b"9" * 10_000, "not valid JSON"),
        (b'"\xff"', "not valid JSON"),
        (b"[" + b" " * 1000 + b"]", "1002 bytes, over 1000"),
        ("folder", "a folder, pipe or device"),
        ("pipe", "a folder, pipe or device"),
        (None, "no such file"),
    ],
)
def test_json_of_strangers_is_strict_and_refused_by_name(tmp_path, data, words):
    path = tmp_path / "a\x1b.json"
    if data == "folder":
        path.mkdir()
    elif data == "pipe":
        os.mkfifo(path)
    elif data is not None:
        path.write_bytes(data)
    limit = 1000 if words.startswith("1002") else 1 << 20
    with pytest.raises(errors.DataError, match=words) as caught:
        files.read_untrusted_json(path, max_bytes=limit)
    assert str(caught.value).startswith(f"{tmp_path}/a\\x1b.json: ")


def test_json_of_strangers_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": [1, 2.5, null]}')
    assert files.read_untrusted_json(tmp_path / "a.json") == {"a": [1, 2.5, None]}
