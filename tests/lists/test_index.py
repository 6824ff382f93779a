"""The side file of a list: made once, never trusted when torn, shared by all processes."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.support.data_set import ROOT
from tests.support.index_fixtures import OLD_NS, a_list, check, side_file
from webvision.data.lists import index, index_file
from webvision.data.lists.index import open_index
from webvision.errors import ResourceError


def test_the_second_start_reads_the_side_file(tmp_path, builds):
    path = a_list(tmp_path)
    first, second = open_index(path, 7), open_index(path, 7)
    check(first)
    check(second)
    assert first.hash == second.hash == hashlib.sha256(open(path, "rb").read()).hexdigest()
    assert len(builds) == 1 and sorted(os.listdir(tmp_path)) == [".train.txt.index", "train.txt"]


@pytest.mark.parametrize("damage", ["header", "body", "truncate", "extend", "empty", "zero page", "directory", "fifo"])
def test_a_torn_side_file_is_never_trusted(tmp_path, builds, damage):
    path = a_list(tmp_path, rows=20_000)
    open_index(path, 7)
    side = side_file(path)
    whole = open(side, "rb").read()
    rng = random.Random(1)
    broken = []
    if damage == "header":
        broken = [whole[:i] + bytes([whole[i] ^ 1 << rng.randrange(8)]) + whole[i + 1 :] for i in range(192)]
    elif damage == "body":
        places = [192, len(whole) - 65] + [rng.randrange(192, len(whole) - 64) for _ in range(60)]
        broken = [whole[:i] + bytes([whole[i] ^ 1 << rng.randrange(8)]) + whole[i + 1 :] for i in places]
    elif damage == "truncate":
        broken = [
            whole[:n] for n in [1, 8, 191, 192, 193, len(whole) - 1] + [rng.randrange(len(whole)) for _ in range(20)]
        ]
    elif damage == "extend":
        broken = [whole + b"\0"]
    elif damage == "empty":
        broken = [b""]
    elif damage == "zero page":
        broken = [whole[:8192] + bytes(4096) + whole[12288:]]
    for data in broken:
        with open(side, "wb") as file:
            file.write(data)
        before = len(builds)
        opened = open_index(path, 7)
        assert len(builds) == before + 1, "a torn side file was trusted"
        assert np.array_equal(opened.labels, np.arange(20_000) % 7)
        assert open(side, "rb").read() == whole
    if damage == "fifo":
        os.unlink(side)
        os.mkfifo(side)
        check(open_index(path, 7), rows=20_000)
        assert os.path.isfile(side)


def test_a_side_file_that_is_a_folder_moves_the_index_to_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "meta").mkdir()
    path = a_list(tmp_path / "meta")
    os.mkdir(side_file(path))
    check(open_index(path, 7))
    assert len(os.listdir(tmp_path / "cache" / "webvision")) == 1


def test_the_side_file_of_another_list_is_not_taken(tmp_path, builds):
    """Tables of two lists of the same size, mixed by copying files about."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    one, two = a_list(tmp_path / "a", mtime_ns=OLD_NS), a_list(tmp_path / "b", mtime_ns=OLD_NS + 1)
    open_index(one, 7)
    os.link(side_file(one), side_file(two))
    check(open_index(two, 7))
    assert len(builds) == 2


def read_only(tmp_path, monkeypatch, *folders):
    """Refuse new files below these folders, as a read-only mount does (permission bits do not stop root)."""
    real = index_file.atomic_write

    def guarded(path, mode="w"):
        if any(str(path).startswith(str(folder)) for folder in folders):
            raise OSError(30, "Read-only file system", path)
        return real(path, mode)

    monkeypatch.setattr(index_file, "atomic_write", guarded)


def test_a_read_only_data_set_is_indexed_in_the_cache_folder(tmp_path, monkeypatch, builds):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "meta").mkdir()
    path = a_list(tmp_path / "meta")
    read_only(tmp_path, monkeypatch, tmp_path / "meta")
    check(open_index(path, 7))
    check(open_index(path, 7))
    assert len(builds) == 1 and os.listdir(tmp_path / "meta") == ["train.txt"]
    assert os.stat(tmp_path / "cache" / "webvision").st_mode & 0o777 == 0o700


def test_without_a_home_the_temporary_folder_serves_and_a_strangers_folder_does_not(tmp_path, monkeypatch):
    for name in ("meta", "tmp"):
        (tmp_path / name).mkdir()
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "none"))
    monkeypatch.setattr(index.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    path = a_list(tmp_path / "meta")
    read_only(tmp_path, monkeypatch, tmp_path / "meta", tmp_path / "none")
    check(open_index(path, 7))
    (folder,) = os.listdir(tmp_path / "tmp")
    os.unlink(os.path.join(tmp_path, "tmp", folder, os.listdir(tmp_path / "tmp" / folder)[0]))
    os.chmod(tmp_path / "tmp" / folder, 0o777)  # anyone could plant an index here
    with pytest.raises(ResourceError, match="set XDG_CACHE_HOME"):
        open_index(path, 7)


def test_a_given_cache_folder_is_used(tmp_path):
    (tmp_path / "meta").mkdir()
    (tmp_path / "mine").mkdir()
    path = a_list(tmp_path / "meta")
    check(open_index(path, 7, cache_dir=str(tmp_path / "mine")))
    assert len(os.listdir(tmp_path / "mine")) == 1 and os.listdir(tmp_path / "meta") == ["train.txt"]


def test_rows_outside_are_refused(tmp_path):
    opened = open_index(a_list(tmp_path), 7)
    for row in (-1, 1000):
        with pytest.raises(IndexError):
            opened.names([row])
    assert opened.names([]) == []


def test_neighbouring_rows_are_read_at_once_and_are_the_same(tmp_path):
    path = a_list(tmp_path)
    os.truncate(path, os.path.getsize(path) - 1)  # the last line without its newline
    opened = open_index(path, 7)
    assert opened.names(range(990, 1000)) == [opened.name(i) for i in range(990, 1000)]
    assert opened.names([5, 4]) == ["n5/5.jpg", "n4/4.jpg"] and opened.names(range(1000))[999] == opened.name(999)


def test_entries_of_a_part(tmp_path):
    opened = open_index(a_list(tmp_path, rows=40_000), 7)
    part = list(opened.entries(16_380, 32_780))
    assert part[0] == opened.entry(16_380) and part[-1] == opened.entry(32_779) and len(part) == 16_400


def test_many_classes_need_wider_labels(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text("".join(f"{i}.jpg {i}\n" for i in range(0, 70_000, 7)))
    opened = open_index(path, 70_000)
    assert opened.labels[-1] == 69_993 and opened.counts.sum() == 10_000 and opened.rows_by_class[-1] == 9_999


BUILD = """
import os, sys
sys.path.insert(0, {root!r})
from webvision.data.lists.index import open_index
print("start", flush=True)
open_index({path!r}, 7)
"""


def test_a_killed_build_leaves_nothing_that_the_next_one_does_not_clear(tmp_path):
    path = a_list(tmp_path, rows=400_000)
    rng = random.Random(3)
    for _ in range(12):
        process = subprocess.Popen([sys.executable, "-c", BUILD.format(root=ROOT, path=path)], stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(rng.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        if os.path.exists(side_file(path)):
            os.unlink(side_file(path))
    (tmp_path / "..train.txt.index.zzzz0000.tmp").write_bytes(b"half")
    check(open_index(path, 7), rows=400_000)
    assert sorted(os.listdir(tmp_path)) == [".train.txt.index", "train.txt"]


def test_processes_that_start_together_build_once_and_agree(tmp_path):
    path = a_list(tmp_path, rows=300_000)
    code = BUILD.format(root=ROOT, path=path) + f"print(open_index({path!r}, 7).hash)"
    started = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    outputs = {process.communicate()[0] for process in started}
    assert len(outputs) == 1 and all(process.returncode == 0 for process in started)
    check(open_index(path, 7), rows=300_000)
    assert sorted(os.listdir(tmp_path)) == [".train.txt.index", "train.txt"]
