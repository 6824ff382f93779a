"""The index of archives' members: whole, of these archives, or made anew; and the compiled walk like the Python one."""

import os
import signal
import subprocess
import sys
import tarfile

import numpy as np
import pytest

from tests.support.archive_fixtures import write_tar
from tests.support.data_set import ROOT
from webvision.data.archives import building, members, walk
from webvision.data.archives.building import open_members
from webvision.data.archives.members import Members, StaleMembers
from webvision.data.native import library
from webvision.errors import DataError, ResourceError

FILES = {f"google/q{number:05d}/{number}.jpg": bytes([number]) * (100 * number) for number in range(50)}


@pytest.fixture
def folder(tmp_path):
    """A split's folder with two archives of 25 members each."""
    names = sorted(FILES)
    for number in range(2):
        write_tar(tmp_path / "train" / f"{number}.tar", {name: FILES[name] for name in names[number::2]})
    (tmp_path / "meta").mkdir()
    return tmp_path / "train"


def opened(folder, **options):
    return open_members(str(folder), beside=str(folder.parent / "meta"), **options)


def bytes_of(folder, found, record):
    with open(folder / found.archives[record["archive"]].facts.name, "rb") as file:
        file.seek(int(record["block"]) * 512)
        return file.read(int(record["size"]))


def assert_finds_all(folder, index, files=FILES):
    found, records = index.find([name.encode() for name in files])
    assert found.all() and len(index) == len(files)
    for record, data in zip(records, files.values(), strict=True):
        assert bytes_of(folder, index, record) == data


def test_every_member_is_found_where_it_lies_by_the_compiled_code_and_without(folder, monkeypatch):
    index = opened(folder)
    assert_finds_all(folder, index)
    monkeypatch.setattr(library, "_library", False)
    assert_finds_all(folder, index)
    found, _ = index.find([b"google/q00001/2.jpg", b""])
    assert not found.any()


def odd_archive(path):
    """What writers write: GNU's and pax's long names, folders, a prefix, labels, names that are no UTF-8."""
    folder = tarfile.TarInfo("a")
    folder.type = tarfile.DIRTYPE
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        files = [
            (folder, b""),
            (f"{form}/plain.jpg", b"1" * 600),
            (f"{form}/" + "long/" * 12 + "x" * 120 + ".jpg", b"2" * 512),
            ("./" + f"{form}/dotted.jpg", b""),
            (f"{form}/\udce9.jpg", b"4"),
            (f"{form}/plain.cls", b"7"),
            (f"{form}/" + "y" * 60 + "/" + "z" * 60 + ".jpg", b"5" * 1000),
        ]
        yield write_tar(path.with_suffix(f".{form}.tar"), files, form)


def test_the_compiled_walk_sees_what_python_sees_in_odd_and_in_broken_archives(tmp_path, monkeypatch):
    paths = list(odd_archive(tmp_path / "odd"))
    draw = np.random.Generator(np.random.Philox(key=11))
    whole = [open(path, "rb").read() for path in paths]
    for number in range(300):
        data = bytearray(whole[number % 2])
        for _ in range(draw.integers(0, 4)):
            data[int(draw.integers(0, len(data)))] = draw.integers(0, 256)
        path = tmp_path / f"{number}.tar"
        path.write_bytes(data[: int(draw.integers(1, len(data)))] if draw.random() < 0.3 else data)
        paths.append(path)
    fast = [outcome(path) for path in paths]
    monkeypatch.setattr(library, "_library", False)
    assert fast == [outcome(path) for path in paths]
    assert all(len(records) // 28 == 5 and damage is None for records, damage in fast[:2])
    assert sum(bool(damage) for _, damage in fast) > 100


def outcome(path):
    try:
        records, damage = walk.walk(str(path), 3)
        return records.tobytes(), damage
    except DataError as error:
        return str(error)


@pytest.mark.parametrize(
    "name, kind, reason",
    [
        ("../up.jpg", tarfile.REGTYPE, "leads out of its folder"),
        ("../up/", tarfile.DIRTYPE, "leads out of its folder"),
        ("/abs.jpg", tarfile.REGTYPE, "is absolute"),
        ("link.jpg", tarfile.SYMTYPE, "is a symbolic link"),
        ("hard.jpg", tarfile.LNKTYPE, "is a hard link"),
        ("fifo.jpg", tarfile.FIFOTYPE, "is a FIFO"),
    ],
)
def test_members_that_unpacking_refuses_are_refused(folder, name, kind, reason):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    write_tar(folder / "2.tar", [("fine.jpg", b"1"), (info, b"")])
    with pytest.raises(DataError, match=rf"2\.tar: member '{name}' {reason}"):
        opened(folder)


def test_an_archive_that_is_cut_off_keeps_its_members_and_says_where(folder):
    path = folder / "1.tar"
    os.truncate(path, 30000)
    index = opened(folder)
    whole, cut = index.archives
    assert whole.damage is None and whole.members == 25
    assert 0 < cut.members < 25 and "1.tar: ends at byte 30,000 in the bytes of member" in cut.damage
    assert len(index) == 25 + cut.members


def test_only_what_changed_is_walked_again(folder, monkeypatch):
    opened(folder)
    walked = []
    monkeypatch.setattr(building, "walk", lambda path, number: walked.append(path) or walk.walk(path, number))
    opened(folder)
    assert walked == []
    write_tar(folder / "00.tar", {"new.jpg": b"new"})  # the others get new numbers
    os.utime(folder / "1.tar")
    (folder / "0.tar").rename(folder / "gone")
    index = opened(folder)
    assert sorted(map(os.path.basename, walked)) == ["00.tar", "1.tar"]
    left = {name: FILES[name] for name in sorted(FILES)[1::2]} | {"new.jpg": b"new"}
    assert_finds_all(folder, index, left)
    (folder / "gone").rename(folder / "2.tar")
    again = opened(folder)
    assert_finds_all(folder, again, FILES | {"new.jpg": b"new"})
    fresh = open_members(str(folder), beside=str(folder))
    assert open(fresh.path, "rb").read() == open(again.path, "rb").read(), "taken over or walked: the same bytes"


def test_processes_walk_as_one_does(folder, monkeypatch):
    alone = open(opened(folder, jobs=1).path, "rb").read()
    monkeypatch.setattr(building, "_IN_PROCESS", 1)
    monkeypatch.setattr(building, "LOT_BYTES", 1)
    (folder.parent / "meta" / ".train.members").unlink()
    assert open(opened(folder, jobs=2).path, "rb").read() == alone
    write_tar(folder / "2.tar", {"../x.jpg": b""})
    write_tar(folder / "3.tar", {"y.jpg": b""})
    with pytest.raises(DataError, match="leads out of its folder"):
        opened(folder, jobs=2)


def test_many_parts_are_merged_into_one_order(folder, monkeypatch):
    monkeypatch.setattr(members, "_PER_BUCKET", 2)
    whole = open(opened(folder).path, "rb").read()
    for merged in (1, 7):
        monkeypatch.setattr(members, "_MERGED", merged)
        other = folder.parent / f"meta {merged}"
        other.mkdir()
        assert open(open_members(str(folder), beside=str(other)).path, "rb").read() == whole


def test_a_name_twice_is_fine_with_the_same_bytes_and_refused_with_others(folder):
    name = sorted(FILES)[0]
    write_tar(folder / "2.tar", {name: FILES[name]})
    assert_finds_all(folder, opened(folder))
    write_tar(folder / "3.tar", {name: b"another"})
    with pytest.raises(DataError, match=r"3\.tar at byte 512: two members of one name, with different content"):
        opened(folder)


def test_an_index_is_made_anew_unless_it_is_whole_and_ones_own(folder):
    index = opened(folder)
    path, right = index.path, open(index.path, "rb").read()
    for damage in (right[:-1], right[:100], right[:20] + b"\xff" + right[21:], b"", right[:-9] + b"\xff" + right[-8:]):
        with open(path, "wb") as file:
            file.write(damage)
        os.chmod(path, 0o600)
        if damage[:-9] != right[:-9]:
            with pytest.raises(StaleMembers):
                Members(path)
            assert_finds_all(folder, opened(folder))
            assert open(path, "rb").read() == right
    with open(path, "wb") as file:
        file.write(right)
    os.chmod(path, 0o622)
    with pytest.raises(StaleMembers):
        Members(path)
    os.unlink(path)
    os.symlink(__file__, path)
    with pytest.raises(StaleMembers):
        Members(path)
    assert_finds_all(folder, opened(folder))


def test_an_index_that_is_cut_off_in_use_is_an_error_and_no_bus_error(folder):
    index = opened(folder)
    os.truncate(index.path, 200)
    for compiled in (library.loaded(), False):
        library._library, kept = compiled, library._library
        try:
            with pytest.raises(DataError, match="index of the archives is damaged"):
                index.find([name.encode() for name in FILES])
        finally:
            library._library = kept


def test_an_archive_that_is_written_meanwhile_is_not_indexed(folder, monkeypatch):
    def grows(path, number):
        found = walk.walk(path, number)
        os.utime(path)
        return found

    monkeypatch.setattr(building, "walk", grows)
    with pytest.raises(DataError, match="changed while it was indexed"):
        opened(folder)


def test_without_a_place_for_the_index_the_error_names_them(folder, monkeypatch, tmp_path):
    (folder.parent / "meta").rmdir()
    monkeypatch.setattr(building, "cache_folders", lambda: iter([str(tmp_path / "none" / "such")]))
    monkeypatch.setattr(building, "remove_leftovers", lambda *place: os.listdir(place[0]))
    with pytest.raises(ResourceError, match="no room for the index of the archives.*XDG_CACHE_HOME"):
        opened(folder)


def test_killed_at_any_moment_the_next_run_ends_in_the_same_bytes(folder):
    """Each start is killed at another of its system calls that make or finish files; the last one runs through."""
    right = open(opened(folder).path, "rb").read()
    os.unlink(folder.parent / "meta" / ".train.members")
    code = (
        "import os, sys, signal\n"
        "from webvision.data.archives import building\n"
        "building.LOT_BYTES = 1\n"
        "left = int(sys.argv[1])\n"
        "def counted(call):\n"
        "    def wrapped(*arguments, **options):\n"
        "        global left\n"
        "        left -= 1\n"
        "        if left < 0: os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return call(*arguments, **options)\n"
        "    return wrapped\n"
        "for name in ('replace', 'fsync', 'open', 'makedirs', 'chmod'): setattr(os, name, counted(getattr(os, name)))\n"
        "building.open_members(sys.argv[2], beside=sys.argv[3])\n"
    )
    for left in range(0, 60, 3):
        done = subprocess.run(
            [sys.executable, "-c", code, str(left), str(folder), str(folder.parent / "meta")], cwd=ROOT, timeout=60
        )
        assert done.returncode in (0, -signal.SIGKILL)
        if done.returncode == 0:
            break
    else:
        raise AssertionError("never ended")
    assert left > 6
    assert open(folder.parent / "meta" / ".train.members", "rb").read() == right
    assert sorted(os.listdir(folder.parent / "meta")) == [".train.members"]


def test_what_a_builder_killed_at_its_end_leaves_is_cleared_away(folder):
    index = opened(folder)
    (folder.parent / "meta" / ".train.members.lots").mkdir()
    (folder.parent / "meta" / ".train.members.lots" / "0123").write_bytes(b"x")
    assert opened(folder).stamp == index.stamp
    assert os.listdir(folder.parent / "meta") == [".train.members"]


def test_the_bounds_of_a_record(tmp_path, monkeypatch):
    """512 x 2^32 bytes of an archive, sizes below 2^32: what is larger is refused, not wrapped around."""
    assert walk.MAX_ARCHIVE_BYTES == 1 << 41 and members.RECORD["size"].itemsize == 4
    path = tmp_path / "big.tar"
    with open(path, "wb") as file:
        file.truncate(walk.MAX_ARCHIVE_BYTES + 1)
    with pytest.raises(DataError, match="archives are read up to 2,199,023,255,552"):
        walk.walk(str(path), 0)
    os.truncate(path, walk.MAX_ARCHIVE_BYTES)
    header = tarfile.TarInfo("last.jpg")
    with open(path, "r+b") as file:  # a tar whose only plain member begins at the last block but two
        file.seek(walk.MAX_ARCHIVE_BYTES - 3 * 512)
        header.size = 0
        file.write(header.tobuf(tarfile.USTAR_FORMAT))

    class Late(walk.tarstream.Reader):
        def __init__(self, stream, **options):
            super().__init__(stream, **options)
            self.passed(walk.MAX_ARCHIVE_BYTES - 3 * 512, 0)

    monkeypatch.setattr(walk.tarstream, "Reader", Late)
    records, damage = walk.walk(str(path), 0)
    assert records["block"].tolist() == [(1 << 32) - 2] and damage is None
