"""Arranging loses nothing, overwrites nothing, can be killed and run again, and writes the lists upstream would."""

import json
import os
import random
import shutil
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.prep_fixtures import ROOT, ROWS, SYNSETS, count_lines, make_raw, picture_of, run_and_die, write_file
from webvision.data.lists.text import read_classes
from webvision.errors import DataError, IncompleteError, ResourceError, UsageError
from webvision.prep.arrange import arrange as module
from webvision.prep.arrange import placing
from webvision.prep.arrange.arrange import arrange
from webvision.prep.arrange.rawlist import RawList, parse_line


def quiet(raw, data=None, **settings):
    return arrange(str(raw), str(data or raw), remark=lambda text: None, **settings)


def lists_of(data):
    return {name: (data / "meta" / f"{name}.txt").read_bytes() for name in ("synsets", "train", "val", "test")}


def upstream_rule(raw):
    """The published script's lists, re-stated: first word of each synset line; class/base name label of each existing
    file."""
    synsets = [line.split()[0] for line in (raw / "info/synsets.txt").open()]
    train = []
    for line in (raw / "info/train_filelist_all.txt").open():
        source, label = line.split()
        if (raw / source).exists():
            train.append(f"{synsets[int(label)]}/{source.split('/')[-1]} {label}\n")
    return {
        "synsets": "".join(f"{s}\n" for s in synsets).encode(),
        "train": "".join(train).encode(),
        "val": (raw / "info/val_filelist.txt").read_bytes(),
        "test": (raw / "info/test_filelist.txt").read_bytes(),
    }


def test_lists_equal_upstreams_and_every_file_is_where_its_row_says(tmp_path):
    raw = make_raw(tmp_path / "raw")
    expected = upstream_rule(raw)
    quiet(raw)
    assert lists_of(raw) == expected
    rows = zip(ROWS, expected["train"].decode().splitlines(), strict=True)
    assert all((raw / "train" / line.rsplit(" ", 1)[0]).read_text() == name for (name, _), line in rows)
    assert not (raw / "google").exists() and not (raw / "val_images_resized").exists()


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["google/q1", "google/q2", "flickr/q1"]),
            st.sampled_from("abcdefgh"),
            st.integers(0, 4),
            st.sampled_from(["there", "there", "there", "gone"]),
        ),
        min_size=1,
        max_size=25,
        unique_by=lambda row: row[:2],
    )
)
def test_whatever_the_list_nothing_is_lost_and_upstreams_bytes_come_where_upstream_works(tmp_path_factory, drawn):
    raw = make_raw(
        tmp_path_factory.mktemp("any"),
        rows=[(f"{folder}/{name}.jpg", label) for folder, name, label, _ in drawn],
        val=1,
        test=1,
    )
    there = [f"{folder}/{name}.jpg" for folder, name, _, state in drawn if state == "there"]
    for folder, name, _, state in drawn:
        if state == "gone":
            (raw / f"{folder}/{name}.jpg").unlink()
    expected = upstream_rule(raw)
    quiet(raw, max_missing=1)
    lines = (raw / "meta/train.txt").read_text().splitlines()
    assert [(raw / "train" / line.rsplit(" ", 1)[0]).read_text() for line in lines] == there
    places = [(name, label) for _, name, label, _ in drawn]
    if len(set(places)) == len(places):  # no two pictures of a class share a base name
        assert lists_of(raw) == expected


@pytest.mark.parametrize(
    "line", ["google/q00001/x.jpg 3   ", "  google/q00001/x.jpg 3", "google/q00001/x.jpg\t3", "google/q00001/x.jpg 3\r"]
)
def test_lists_equal_upstreams_where_it_forgives_blanks(tmp_path, line):
    raw = make_raw(tmp_path / "raw")
    write_file(raw / "info/train_filelist_all.txt", line + "\n")
    write_file(raw / "google/q00001/x.jpg", "x")
    expected = upstream_rule(raw)
    quiet(raw)
    assert lists_of(raw) == expected


@pytest.mark.parametrize(
    "change, told",
    [
        (lambda line: line + b"\r", "a Windows line end (CR LF)"),
        (lambda line: b"\xef\xbb\xbf" + line, "a byte order mark"),
        (lambda line: b"\xef\xbb\xbf \t" + b"\t ".join(line.rsplit(b" ", 1)) + b" \r", "a byte order mark"),
        (lambda line: b"\t".join(line.rsplit(b" ", 1)), "a tab for a blank"),
        (lambda line: b"   ".join(line.rsplit(b" ", 1)), "more blanks than one before the label"),
        (lambda line: line + b" \t", "blanks around the line"),
    ],
)
def test_raw_lists_with_what_upstream_overlooks_make_the_same_set_and_are_told_once(tmp_path, capsys, change, told):
    raw, odd = make_raw(tmp_path / "raw"), make_raw(tmp_path / "odd")
    quiet(raw)
    capsys.readouterr()
    lists = []
    for path in odd.rglob("*filelist*.txt"):
        plain = path.read_bytes().splitlines()
        if plain != (changed := [*map(change, plain)]):  # a tab before the label: not in the test list, which has none
            write_file(path, b"\n".join(changed) + b"\n")
            lists.append(path)
    quiet(odd)
    assert lists_of(odd) == lists_of(raw)
    said = capsys.readouterr().err
    assert said.count("read as upstream reads it") == len(lists) >= 2
    assert all(f"{path}:1: {told}, and " in said for path in lists)


def test_raw_synsets_with_what_upstream_overlooks_give_the_same_classes(tmp_path, capsys):
    raw, odd = make_raw(tmp_path / "raw"), make_raw(tmp_path / "odd")
    synsets = odd / "info/synsets.txt"
    write_file(synsets, b"\xef\xbb\xbf" + b"".join(b" %s\r\n" % line for line in synsets.read_bytes().splitlines()))
    quiet(raw)
    assert quiet(odd)["train"]["kept"] == len(ROWS) and lists_of(odd) == lists_of(raw)
    assert sorted(os.listdir(odd / "train")) == sorted(os.listdir(raw / "train"))
    assert read_classes(odd / "meta/synsets.txt") == read_classes(raw / "meta/synsets.txt")
    said = capsys.readouterr().err
    assert said.count("read as upstream reads it") == 1 and f"{synsets}:1: a byte order mark, and 4 more lines" in said


@pytest.mark.parametrize("method", ["move", "link", "copy"])
def test_three_methods_make_the_same_set(tmp_path, method):
    raw = make_raw(tmp_path / "raw")
    before = picture_of(raw)
    quiet(make_raw(tmp_path / "other"))
    quiet(raw, tmp_path / "data", method=method)
    expected = {name: value for name, value in picture_of(tmp_path / "other").items() if not name.startswith("info")}
    assert picture_of(tmp_path / "data") == expected
    if method == "move":
        assert set(picture_of(raw)) == {"info/"} | {f"info/{n}" for n in os.listdir(raw / "info")}
    else:
        assert picture_of(raw) == before
        assert os.stat(raw / ROWS[0][0]).st_nlink == (2 if method == "link" else 1)


@pytest.mark.parametrize("method", ["move", "link", "copy"])
def test_a_slow_file_system_is_used_by_threads_to_the_same_end(tmp_path, monkeypatch, method):
    quiet(make_raw(tmp_path / "one"), tmp_path / "one/data", method=method)
    monkeypatch.setattr(module, "SLOW_SECONDS", 0)
    monkeypatch.setattr(module, "CHUNK", 2)
    quiet(make_raw(tmp_path / "many"), tmp_path / "many/data", method=method)
    assert picture_of(tmp_path / "many") == picture_of(tmp_path / "one")
    raw = make_raw(tmp_path / "raw")
    write_file(raw / "train/n00000003/f1003.jpg", "somebody's own")
    with pytest.raises(DataError, match="neither was touched"):
        quiet(raw)


# P1


@pytest.mark.parametrize("method", ["move", "link", "copy"])
def test_p1_run_twice_changes_nothing(tmp_path, method):
    raw = make_raw(tmp_path / "raw")
    quiet(raw, tmp_path / "data", method=method)
    once = picture_of(tmp_path)
    quiet(raw, tmp_path / "data", method=method)
    assert picture_of(tmp_path) == once


@pytest.mark.parametrize("method", ["move", "link", "copy"])
def test_p1_killed_anywhere_and_run_again_ends_the_same(tmp_path, method, kills=12):
    clash = [*ROWS, ("flickr/q00001/g1000.jpg", 3), ("google/q00009/gone.jpg", 0)]

    def fresh(name):
        raw = make_raw(tmp_path / name, rows=clash)
        (raw / "google/q00009/gone.jpg").unlink()
        return raw

    def work(raw):
        return lambda: quiet(raw, raw / "data", method=method, max_missing=0.5)

    lines = count_lines(work(fresh("undisturbed")))
    expected = picture_of(tmp_path / "undisturbed")
    generator = random.Random(method)
    for trial in range(kills):
        raw = fresh(f"trial{trial}")
        for _ in range(generator.randint(1, 3)):
            run_and_die(work(raw), generator.randint(1, lines))
        work(raw)()
        assert picture_of(raw) == expected, f"trial {trial}"


# P2


def test_p2_equal_base_names_all_survive(tmp_path):
    names = [
        "google/q00001/x.jpg",
        "flickr/q00001/x.jpg",
        "google/q00002/x.jpg",
        "flickr/q00001/y.jpg",
        "google/q00001/flickr_q00001_x.jpg",
    ]  # the name that the second one's prefix would make
    raw = make_raw(tmp_path / "raw", rows=[(name, 0) for name in names] + [("google/q00003/x.jpg", 1)])
    report = quiet(raw)
    lines = (raw / "meta/train.txt").read_text().splitlines()
    assert [(raw / "train" / line.rsplit(" ", 1)[0]).read_text() for line in lines] == [*names, "google/q00003/x.jpg"]
    assert len(set(lines)) == 6 and lines[3:] == ["n00000000/y.jpg 0", lines[4], "n00000001/x.jpg 1"]
    assert report["train"]["renamed"]["count"] >= 3


def test_p2_a_file_already_at_the_place_is_never_overwritten(tmp_path):
    raw = make_raw(tmp_path / "raw")
    mine = write_file(raw / "train/n00000003/g1000.jpg", "somebody's own")
    with pytest.raises(DataError, match="g1000.jpg.*neither was touched"):
        quiet(raw)
    assert mine.read_text() == "somebody's own" and (raw / "google/q00001/g1000.jpg").exists()


def test_p2_unpacked_again_after_arranging_is_the_same_set(tmp_path):
    raw = make_raw(tmp_path / "raw")
    quiet(raw)
    once = picture_of(raw)
    make_raw(raw)
    quiet(raw)
    assert picture_of(raw) == once


# P3


def test_p3_class_folders_exist_and_half_the_files_are_moved(tmp_path):
    quiet(make_raw(tmp_path / "whole"))
    raw = make_raw(tmp_path / "raw")
    for name, label in ROWS[::2]:
        target = raw / "train" / SYNSETS[label] / os.path.basename(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(raw / name, target)
    quiet(raw)
    assert picture_of(raw) == picture_of(tmp_path / "whole")


# P4


def test_p4_census_names_missing_empty_extra_and_odd(tmp_path):
    raw = make_raw(tmp_path / "raw")
    (raw / ROWS[0][0]).unlink()
    write_file(raw / ROWS[1][0], b"")
    write_file(raw / "google/q00001/unlisted.jpg", "x")
    os.mkfifo(raw / "google/q00001/pipe")
    os.symlink("/etc/passwd", raw / "flickr/link.jpg")
    report = quiet(raw, max_missing=0.2)
    train = report["train"]
    assert (train["listed"], train["kept"]) == (len(ROWS), len(ROWS) - 1)
    assert train["missing"] == {"count": 1, "names": [ROWS[0][0]]} and train["empty"] == {
        "count": 1,
        "names": [ROWS[1][0]],
    }
    assert train["extra"] == {"count": 1, "names": ["source/google/q00001/unlisted.jpg"]}
    assert train["not_regular"]["names"] == ["flickr/link.jpg", "google/q00001/pipe"]
    assert json.loads((raw / "meta/arrange.json").read_text()) == report
    assert (raw / "google/q00001/unlisted.jpg").exists()
    assert len((raw / "meta/train.txt").read_text().splitlines()) == len(ROWS) - 1


def test_p4_too_much_missing_stops_before_anything_moves(tmp_path):
    raw = make_raw(tmp_path / "raw")
    (raw / ROWS[3][0]).unlink()
    with pytest.raises(IncompleteError, match=r"train_filelist_all.txt:4; nothing was moved.*--max-missing 4.17%"):
        quiet(raw)
    assert (raw / ROWS[0][0]).exists() and not (raw / "meta/train.txt").exists()
    assert json.loads((raw / "meta/arrange.json").read_text())["complete"] is False
    quiet(raw, max_missing=0.0417)


def test_p4_an_evaluation_row_is_never_dropped(tmp_path):
    raw = make_raw(tmp_path / "raw")
    (raw / "val_images_resized/val000002.jpg").unlink()
    assert quiet(raw, max_missing=0.5)["val"]["missing"]["names"] == ["val000002.jpg"]
    assert len((raw / "meta/val.txt").read_text().splitlines()) == 3


def test_duplicate_rows_count_once_and_conflicts_are_named(tmp_path):
    raw = make_raw(tmp_path / "raw", rows=[*ROWS, ROWS[0], (ROWS[1][0], 4)])
    report = quiet(raw)["train"]
    assert report["duplicate_rows"]["names"] == [ROWS[0][0]] and report["conflicting_rows"]["names"] == [ROWS[1][0]]
    assert len((raw / "meta/train.txt").read_text().splitlines()) == len(ROWS)


# P5


@pytest.mark.parametrize(
    "text, line, reason",
    [
        ("n1 a\n\nn2 b\n", 2, "blank line"),
        ("n1 a\nn2 b\nn1 c\n", 3, "already on line 1"),
        ("n1 a\n../x b\n", 2, "can't name a folder"),
        ("/etc b\n", 1, "can't name a folder"),
        ("n1 a\n\ufeff \r\n", 2, "blank line"),
        ("n1\x1b[31m a\n", 1, "can't name a folder"),
    ],
)
def test_p5_wrong_synsets_are_refused_with_their_line(tmp_path, text, line, reason):
    raw = make_raw(tmp_path / "raw")
    write_file(raw / "info/synsets.txt", text)
    with pytest.raises(DataError, match=rf"synsets\.txt:{line}: .*{reason}") as caught:
        quiet(raw)
    assert "\x1b" not in str(caught.value) and (raw / ROWS[0][0]).exists()


def test_p5_more_labels_than_synsets_is_an_error_and_fewer_a_remark(tmp_path):
    raw = make_raw(tmp_path / "raw", synsets=SYNSETS[:3])
    with pytest.raises(DataError, match=r"train_filelist_all\.txt:1: label 3 is outside 0\.\.2"):
        quiet(raw)
    more = make_raw(tmp_path / "more", synsets=[*SYNSETS, "n99999999"])
    assert quiet(more)["train"]["classes_without_a_picture"] == ["n00000000", "n00000002", "n99999999"]
    assert os.listdir(more / "train/n99999999") == []


@pytest.mark.parametrize(
    "line, reason",
    [
        (b"a/b.jpg", "no label"),
        (b"a/b.jpg -1", "not a whole number"),
        (b"a/b.jpg 1e3", "not a whole number"),
        (b"a/b.jpg 0.5", "not a whole"),
        (b"a/b.jpg n01440764", "not a whole number"),
        (b"a/b.jpg 5", "outside 0..4"),
        (b"a/b.jpg 99999999999", "not a whole number"),
        (b"a/b.jpg 1 2", "two labels"),
        (b"", "blank line"),
        (b"../b.jpg 1", "leads out"),
        (b"a/../../b.jpg 1", "leads out"),
        (b"/etc/passwd 1", "below the set"),
        (b"a//b.jpg 1", "below the set"),
        (b"a\0b.jpg 1", "NUL"),
        (b"\xef\xbb\xbf/etc/passwd 1", "below the set"),
        (b"a\tb/c.jpg 1", "tab or carriage return"),
        (b"a\rb/c.jpg 1", "tab or carriage return"),
        (b"a/" + b"x" * 5000 + b" 1", "bytes"),
        (b"# comment", "whole number"),
    ],
)
def test_wrong_list_lines_are_refused_with_their_line(tmp_path, line, reason):
    raw = make_raw(tmp_path / "raw")
    good = b"google/q00001/g1000.jpg 3\n"
    write_file(
        raw / "info/train_filelist_all.txt", line + b"\n" if reason == "no label" else good + line + b"\n" + good
    )
    with pytest.raises(DataError, match=rf"train_filelist_all\.txt:[12]: .*{reason}"):
        quiet(raw)


def test_names_with_blanks_and_wild_bytes_survive(tmp_path):
    names = [
        b"google/q1/my holiday photo.jpg",
        b"google/q1/\xff\xfe.jpg",
        "google/q1/\u00e9.jpg".encode(),
        b"google/q1/[a]*?.jpg",
    ]
    raw = make_raw(tmp_path / "raw")
    write_file(raw / "info/train_filelist_all.txt", b"".join(name + b" 2\n" for name in names))
    for name in names:
        write_file(raw / os.fsdecode(name), name)
    quiet(raw)
    lines = (raw / "meta/train.txt").read_bytes().splitlines()
    assert lines == [b"n00000002/" + name.rpartition(b"/")[2] + b" 2" for name in names]
    assert all((raw / "train" / os.fsdecode(line[:-2])).exists() for line in lines)


def test_slow_and_fast_road_read_a_line_alike():
    for line in (b"google/q00001/a-b_c.d.jpg 17", b"x 0", b"a/b/c 1"):
        assert parse_line(line, 20) == parse_line(line + b" ", 20)


@settings(max_examples=500, deadline=None, database=None, derandomize=True)
@given(
    st.one_of(
        st.binary(max_size=60),
        st.from_regex(rb"[ga/._ \t-]{0,8}[a-z/. ]{1,8}\.jpg[ \t]?[-0-9 e.]{0,5}", fullmatch=True),
    )
)
def test_fuzz_any_line_is_read_as_upstream_reads_it_or_refused(line):
    """Nothing but ValueError; a name that is taken stays below its folder; where upstream's split works, the same
    parts."""
    line = line.replace(b"\n", b"")
    try:
        name, label = parse_line(line, 50)
    except ValueError:
        return
    assert name and not name.startswith(b"/") and b"\0" not in name and not {b"", b".", b".."} & set(name.split(b"/"))
    words = line.split()
    if len(words) == 2 and label >= 0:
        assert (name, label) == (words[0], int(words[1]))


def test_a_full_disk_in_copying_says_what_to_do(tmp_path):
    raw = make_raw(tmp_path / "raw")
    for name, _ in ROWS:
        write_file(raw / name, os.urandom(100_000))
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], capture_output=True).returncode:
        pytest.skip("not allowed to mount")
    try:
        with pytest.raises(ResourceError, match="free some space and run the same command again"):
            quiet(raw, small, method="copy")
        subprocess.run(["mount", "-o", "remount,size=8m", small], check=True)
        quiet(raw, small, method="copy")
        quiet(raw, tmp_path / "other", method="copy")
        assert picture_of(small) == picture_of(tmp_path / "other")
    finally:
        subprocess.run(["umount", small], check=True)


# P6


def test_p6_one_row_one_class(tmp_path):
    raw = make_raw(tmp_path / "raw", rows=[("google/q1/a.jpg", 0)], synsets=["n1"], val=0, test=0)
    assert quiet(raw)["train"]["kept"] == 1 and (raw / "meta/train.txt").read_text() == "n1/a.jpg 0\n"


@pytest.mark.parametrize("name", ["synsets.txt", "train_filelist_all.txt", "val_filelist.txt"])
def test_p6_no_rows_is_a_clear_error(tmp_path, name):
    raw = make_raw(tmp_path / "raw")
    write_file(raw / "info" / name, "")
    with pytest.raises(DataError, match=f"{name}: is empty"):
        quiet(raw)


# P7


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="needs a second file system")
def test_p7_other_file_system_needs_copy(tmp_path):
    import tempfile

    with tempfile.TemporaryDirectory(dir="/dev/shm") as shm:
        if os.stat(shm).st_dev == os.stat(tmp_path).st_dev:
            pytest.skip("one file system only")
        raw = make_raw(tmp_path / "raw")
        before = picture_of(raw)
        for method in ("move", "link"):
            with pytest.raises(ResourceError, match="different file systems.*--copy"):
                quiet(raw, os.path.join(shm, "data"), method=method)
        assert picture_of(raw) == before
        assert quiet(raw, os.path.join(shm, "data"), method="copy")["complete"]


def test_p7_read_only_source(tmp_path):
    raw = make_raw(tmp_path / "raw")

    def run(*flags):
        script = (
            f"mount --bind {raw} {raw} && mount -o remount,ro,bind {raw} && "
            f"{sys.executable} {ROOT}/utils/preprocess.py --raw {raw} " + " ".join(flags)
        )
        return subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True)

    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("not allowed to make a mount namespace")
    result = run()
    assert result.returncode == 7 and "Traceback" not in result.stderr and "--data" in result.stderr
    result = run("--data", str(tmp_path / "data"))
    assert result.returncode == 7 and "--copy" in result.stderr
    result = run("--data", str(tmp_path / "data"), "--copy")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "data/meta/train.txt").exists()


def test_a_file_system_without_the_no_replace_flag(tmp_path, monkeypatch):
    class Libc:
        @staticmethod
        def renameat2(*arguments):
            import ctypes

            ctypes.set_errno(22)
            return -1

    monkeypatch.setattr(placing, "_libc", Libc)
    one, other = os.fsencode(write_file(tmp_path / "a", "1")), os.fsencode(write_file(tmp_path / "b", "2"))
    with pytest.raises(FileExistsError):
        placing.move(one, other)
    placing.move(one, other + b"2")
    assert sorted(os.listdir(tmp_path)) == ["b", "b2"]


# P8


def test_p8_the_test_set_is_unlabelled(tmp_path):
    raw = make_raw(tmp_path / "raw")
    assert quiet(raw)["test"]["labelled"] is False
    assert (raw / "meta/test.txt").read_text() == "test000001.jpg\ntest000002.jpg\n"
    padded = make_raw(tmp_path / "padded")  # upstream's script appends ' 0' to every line
    write_file(padded / "info/test_filelist.txt", "test000001.jpg 0\ntest000002.jpg 0\n")
    quiet(padded)
    assert (padded / "meta/test.txt").read_bytes() == (raw / "meta/test.txt").read_bytes()


def test_p8_labels_on_some_lines_only(tmp_path):
    raw = make_raw(tmp_path / "raw")
    write_file(raw / "info/test_filelist.txt", "test000001.jpg\ntest000002.jpg 1\n")
    with pytest.raises(DataError, match="test_filelist.txt:2: this line has a label, the lines above have none"):
        quiet(raw)


# the rest of the layout


def test_eval_lists_beside_the_folders_as_the_original_script_leaves_them(tmp_path):
    raw = make_raw(tmp_path / "raw", lists_at=".")
    quiet(raw)
    assert (raw / "meta/val.txt").read_bytes() == (raw / "val_filelist.txt").read_bytes()
    write_file(raw / "info/val_filelist.txt", "val000001.jpg 0\n")
    with pytest.raises(DataError, match="differ; remove"):
        quiet(raw)


def test_a_set_without_evaluation_pictures_says_so(tmp_path):
    raw, remarks = make_raw(tmp_path / "raw", val=0), []
    shutil.rmtree(raw / "test_images_resized")
    arrange(str(raw), str(raw), remark=remarks.append)
    assert len(remarks) == 2 and "no val_filelist.txt" in remarks[0] and "a list, but no pictures" in remarks[1]
    assert sorted(os.listdir(raw / "meta")) == ["arrange.json", "synsets.txt", "train.txt"]


def test_class_folder_that_is_a_link_is_refused(tmp_path):
    raw = make_raw(tmp_path / "raw")
    (raw / "train").mkdir()
    (tmp_path / "elsewhere").mkdir()
    os.symlink(tmp_path / "elsewhere", raw / "train" / SYNSETS[3])
    with pytest.raises(DataError, match="is not a folder"):
        quiet(raw)
    assert os.listdir(tmp_path / "elsewhere") == []


def test_not_a_raw_set(tmp_path):
    with pytest.raises(UsageError, match="no such folder"):
        quiet(tmp_path / "nowhere")
    with pytest.raises(DataError, match="synsets.txt: not found; .*download.sh"):
        quiet(tmp_path)
    assert os.listdir(tmp_path) == []


def test_command_without_arguments_works_where_upstream_did(tmp_path):
    raw = make_raw(tmp_path / "raw", lists_at=".")
    command = [sys.executable, os.path.join(ROOT, "utils/preprocess.py")]
    result = subprocess.run(command, cwd=raw, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "train: 24 pictures" in result.stdout and "test: 2 pictures, unlabelled" in result.stdout
    missing = subprocess.run([*command, "--raw", "nowhere"], cwd=raw, capture_output=True, text=True)
    assert missing.returncode == 2 and missing.stderr.count("\n") == 1
    assert subprocess.run([*command, "--max-missing", "7"], cwd=raw, capture_output=True).returncode == 2


def test_second_preparation_in_one_folder_is_refused(tmp_path):
    from webvision.errors import LockedError
    from webvision.files import directory_lock

    raw = make_raw(tmp_path / "raw")
    with directory_lock(raw, "test"), pytest.raises(LockedError, match=str(os.getpid())):
        quiet(raw)


def test_memory_is_an_index_not_the_rows(tmp_path):
    """A row costs 14 bytes beside the mapped file; 200,000 rows in under 2 s even on a busy machine."""
    path = write_file(
        tmp_path / "list", "".join(f"google/q{i // 640:05d}/{i:014d}.jpg {i % 5000}\n" for i in range(200_000))
    )
    start = time.process_time()
    rows = RawList(path, 5000)
    assert time.process_time() - start < 2
    held = sum(len(part) * part.itemsize for part in (rows._starts, rows._lengths)) + rows.labels.nbytes
    assert held == 14 * 200_000 and rows.name(199_999) == b"google/q00312/00000000199999.jpg"
