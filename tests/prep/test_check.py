"""`utils/check.py`: every kind of problem is found and named, nothing is changed, and a killed check goes on."""

import csv
import dataclasses
import faulthandler
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from tests.support import check_fixtures
from tests.support.data_set import ROOT
from webvision.data.lists.index import open_index
from webvision.data.lists.text import read_list
from webvision.data.pictures.images import ImagePolicy
from webvision.errors import DataError, ResourceError
from webvision.prep.check import check as check_module
from webvision.prep.check import lists, same
from webvision.prep.check.check import CheckOptions, check
from webvision.prep.check.findings import Findings
from webvision.prep.check.pool import ScanPool
from webvision.prep.check.scan import RECORD, ScanOptions, look_of

COMMAND = [sys.executable, os.path.join(ROOT, "utils", "check.py")]
NEAR = CheckOptions(scan=ScanOptions("near"), jobs=2, fix=True)


def tree(folder):
    """{path: bytes} of every file but the lock."""
    files = {}
    for base, _, names in os.walk(folder):
        for name in names:
            if name != ".lock":
                with open(os.path.join(base, name), "rb") as file:
                    files[os.path.relpath(os.path.join(base, name), folder)] = file.read()
    return files


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """(data set, line of each name, report, rows of problems.csv) of one full check."""
    data = tmp_path_factory.mktemp("check") / "data"
    lines = check_fixtures.make(str(data))
    before = tree(data)
    report = check(str(data), str(data / "check"), NEAR)
    after = tree(data)
    changed = {
        path
        for path in after
        if after[path] != before.get(path) and not path.startswith("check/") and not path.endswith((".index", ".sound"))
    }
    assert not changed and before.keys() <= after.keys(), "a check changes nothing of the data set"
    with open(data / "check" / "problems.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return data, lines, report, rows


def found(rows, problem, split="train"):
    return {(row["name"], row["detail"]) for row in rows if row["problem"] == problem and row["split"] == split}


def test_every_reason_is_named(checked):  # I1, I2
    _, _, report, rows = checked
    assert found(rows, "unreadable") == {
        ("n0/empty.jpg", "empty"),
        ("n0/page.jpg", "format"),
        ("n1/cut.jpg", "truncated"),
        (r"n1/caf\xe9.jpg", "header"),
        ("n0/missing.jpg", "missing"),
        ("n0/folder.jpg", "not-a-file"),
        ("n2/linked out.jpg", "outside"),
    }
    assert report["splits"]["train"]["unreadable"] == {
        "empty": 1,
        "format": 1,
        "truncated": 1,
        "header": 1,
        "missing": 1,
        "not-a-file": 1,
        "outside": 1,
    }


def test_lines_are_those_of_the_list(checked):
    data, lines, _, rows = checked
    text = (data / "meta" / "train.txt").read_bytes().split(b"\n")
    for row in rows:
        if row["line"] and row["split"] == "train":
            name = text[int(row["line"]) - 1].rpartition(b" ")[0].decode("utf-8", "surrogateescape")
            assert row["name"] == name.replace("\udce9", r"\xe9")
    assert lines[b"n1/cut.jpg"] in {int(row["line"]) for row in rows if row["detail"] == "truncated"}


def test_duplicates_and_conflicts(checked):  # L3
    _, _, report, rows = checked
    assert found(rows, "duplicate") == {("n0/a 1.jpg", "named in train.txt:2")}
    assert found(rows, "conflict") == {("n0/a 2.jpg", "named in train.txt:3")}
    assert report["splits"]["train"]["problems"]["conflict"]["count"] == 1


def test_the_same_picture_in_train_and_val_by_bytes_and_by_look(checked):  # L3
    _, _, report, rows = checked
    assert {name for name, _ in found(rows, "same-picture")} == {"n3/leak.jpg", "n3/leak again.jpg"}
    assert {name for name, _ in found(rows, "same-picture", "val")} == {"v3.jpg"}
    assert found(rows, "near-picture") == {("n3/near.jpg", "looks like val.txt:5")}
    assert {name for name, _ in found(rows, "near-picture", "val")} == {"v4.jpg"}
    assert {name for name, _ in found(rows, "copy")} == {"n3/leak again.jpg", "n3/copy.jpg", "n0/a 1.jpg", "n0/a 2.jpg"}
    assert report["splits"]["train"]["copies_with_another_label"] == 2  # n3/copy.jpg, and the conflicting line


def test_links_out_of_the_set_are_followed_on_request(checked, tmp_path):  # L4
    policy = ImagePolicy(allow_outside=True)
    report = check(str(checked[0]), str(tmp_path), CheckOptions(scan=ScanOptions("decode", policy), allow_outside=True))
    assert "outside" not in report["splits"]["train"]["unreadable"]


def test_unlisted_files(checked):  # P4
    _, _, report, rows = checked
    assert found(rows, "unlisted") == {("n1/not listed.jpg", "in the folder, not in the list")}
    assert report["splits"]["val"]["unlisted"]["count"] == 0


def test_class_figures(checked):  # B1
    data, _, report, _ = checked
    counts = np.bincount([entry.label for entry in read_list(data / "meta" / "train.txt", 5)], minlength=5)
    per_class = report["splits"]["train"]["pictures_per_class"]
    assert (per_class["min"], per_class["median"], per_class["max"], per_class["empty"]) == (
        0,
        np.median(counts),
        counts.max(),
        ["n4"],
    )
    with open(data / "check" / "classes.csv", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [int(row["train"]) for row in table] == counts.tolist() and table[4]["class"] == "n4"
    assert int(table[0]["train_usable"]) == counts[0] - 4  # empty, page, missing, folder
    assert report["splits"]["test"]["labelled"] is False and "pictures_per_class" not in report["splits"]["test"]


def test_cleaned_lists_keep_what_is_right(checked):
    data, _, _, _ = checked
    fixed = [entry.name for entry in read_list(data / "check" / "fixed" / "train.txt", 5)]
    original = [entry.name for entry in read_list(data / "meta" / "train.txt", 5)]
    gone = {
        "n0/empty.jpg",
        "n0/page.jpg",
        "n1/cut.jpg",
        "n1/caf\udce9.jpg",
        "n0/missing.jpg",
        "n0/folder.jpg",
        "n3/leak.jpg",
        "n3/leak again.jpg",
        "n2/linked out.jpg",
    }
    assert fixed == [name for name in dict.fromkeys(original) if name not in gone]
    for split in ("val", "test"):
        assert (data / "check" / "fixed" / f"{split}.txt").read_bytes() == (data / "meta" / f"{split}.txt").read_bytes()


def test_pictures_of_the_set(checked):
    data, _, report, _ = checked
    for name in ("imbalance.png", "worst.png"):
        assert cv2.imdecode(np.frombuffer((data / "check" / name).read_bytes(), np.uint8), cv2.IMREAD_COLOR).std() > 1
    picture = report["splits"]["train"]["pictures_per_class"]["picture"]
    assert len(picture) == 8 and picture[-1].count("█") >= 2


def test_the_report_is_ascii_json_with_names_unchanged(checked):  # L5, Z7
    data, _, report, _ = checked
    raw = (data / "check" / "report.json").read_bytes()
    assert raw.isascii() and json.loads(raw) == report
    names = [example["name"] for example in report["splits"]["train"]["problems"]["unreadable"]["examples"]]
    assert b"n1/caf\xe9.jpg" in [name.encode("utf-8", "surrogateescape") for name in names]


def test_the_result_does_not_depend_on_the_number_of_workers(checked, tmp_path):
    data, _, _, _ = checked
    for jobs in (1, 3):
        check(str(data), str(tmp_path / str(jobs)), dataclasses.replace(NEAR, jobs=jobs))
        assert tree(tmp_path / str(jobs)) == tree(data / "check")


@pytest.mark.parametrize(
    "level, kinds",
    [
        ("names", {"empty", "missing", "not-a-file", "outside"}),
        ("content", {"empty", "missing", "not-a-file", "outside"}),
        ("decode", {"empty", "missing", "not-a-file", "outside", "format", "truncated", "header"}),
    ],
)
def test_levels_look_as_closely_as_they_say(checked, tmp_path, level, kinds):
    report = check(str(checked[0]), str(tmp_path), CheckOptions(scan=ScanOptions(level)))
    train = report["splits"]["train"]
    assert set(train["unreadable"]) == kinds
    assert ("same-picture" in train["problems"]) == (level != "names") and "near-picture" not in train["problems"]


def test_names_that_a_spreadsheet_or_terminal_would_obey_are_shown_harmless(tmp_path):  # Z7
    data = tmp_path / "data"
    check_fixtures.make(str(data), per_class=4)
    (data / "meta" / "val.txt").write_text("=cmd|calc.jpg 1\nx\x1b[31m.jpg 1\nv1.jpg 1\n")
    check(str(data), str(tmp_path / "out"), CheckOptions())
    text = (tmp_path / "out" / "problems.csv").read_text()
    assert "val,1,./=cmd|calc.jpg,1" in text and r"x\x1b[31m.jpg" in text and "\x1b" not in text


# --- wrong lists ---


def test_all_wrong_lines_are_reported_and_left_out(tmp_path, monkeypatch):  # L1, L2, L4
    data = tmp_path / "data"
    check_fixtures.make(str(data), per_class=4)
    good = (data / "meta" / "train.txt").read_bytes()
    lines = good.removesuffix(b"\n").split(b"\n")
    wrong = {1: b"", 3: b"n0/a 0.jpg 77", 4: b"../x.jpg 1", 7: b"n0/a\tb.jpg 1", 9: b"x" * 70_000}
    for number, line in sorted(wrong.items()):
        lines.insert(number - 1, line)
    (data / "meta" / "train.txt").write_bytes(b"\n".join(lines) + b"\n")
    report = check(str(data), str(tmp_path / "out"), CheckOptions(fix=True, scan=ScanOptions("names")))
    part = report["splits"]["train"]
    assert part["wrong_lines"]["count"] == 5 and [w["line"] for w in part["wrong_lines"]["examples"]] == sorted(wrong)
    assert "blank line" in part["wrong_lines"]["examples"][0]["reason"] and part["rows"] == len(lines) - 5
    with open(tmp_path / "out" / "problems.csv", encoding="utf-8") as file:
        missing = next(row for row in csv.DictReader(file) if row["name"] == "n0/missing.jpg")
    assert lines[int(missing["line"]) - 1] == b"n0/missing.jpg 0"  # line numbers are those of the wrong list
    monkeypatch.setattr(lists, "WRONG_KEPT", 2)
    assert (
        check(str(data), str(tmp_path / "few"), CheckOptions(scan=ScanOptions("names")))["splits"]["train"][
            "wrong_lines"
        ]["count"]
        == 5
    )
    assert "and 3 lines more" in (tmp_path / "few" / "problems.csv").read_text()
    cleaned = list(read_list(tmp_path / "out" / "fixed" / "train.txt", 5))
    assert cleaned and ".." not in str(cleaned)
    done = subprocess.run([*COMMAND, "--data", str(data), "--quick"], capture_output=True, text=True)
    assert (
        done.returncode == 3 and "wrong lines in train.txt" in done.stderr and "train.txt:3: label '77'" in done.stdout
    )


def test_a_list_without_any_right_line_is_an_error_with_its_first_reason(tmp_path):
    data = tmp_path / "data"
    check_fixtures.make(str(data), per_class=4)
    (data / "meta" / "val.txt").write_text("a.jpg 9\nb.jpg 9\n")
    with pytest.raises(DataError, match="val.txt:1: label '9' is outside 0..4"):
        check(str(data), str(tmp_path / "out"), CheckOptions())


def test_a_folder_without_lists_is_an_error(tmp_path):
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "synsets.txt").write_text("n0\n")
    with pytest.raises(DataError, match="is this the data set's folder"):
        check(str(tmp_path), str(tmp_path / "out"), CheckOptions())


def test_a_missing_split_folder_means_that_its_pictures_are_missing(tmp_path):
    data = tmp_path / "data"
    check_fixtures.make(str(data), per_class=4)
    shutil.rmtree(data / "val")
    assert check(str(data), str(tmp_path / "out"), CheckOptions())["splits"]["val"]["unreadable"] == {"missing": 12}


def test_a_val_set_in_class_folders_is_checked_there(tmp_path):
    data = tmp_path / "data"
    check_fixtures.make(str(data), per_class=4)
    for entry in list(read_list(data / "meta" / "val.txt", 5)):
        check_fixtures.put(str(data / "val" / f"n{entry.label}" / entry.name), (data / "val" / entry.name).read_bytes())
        os.unlink(data / "val" / entry.name)
    part = check(str(data), str(tmp_path / "out"), CheckOptions())["splits"]["val"]
    assert not part["unreadable"] and part["unlisted"]["count"] == 0


# --- the command ---


def test_exit_codes_and_words(tmp_path):
    data = tmp_path / "data"
    check_fixtures.make(str(data))
    done = subprocess.run([*COMMAND, "--data", str(data), "--decode"], capture_output=True, text=True)
    assert done.returncode == 4 and "missing or damaged" in done.stderr and "1 without a picture (n4)" in done.stdout
    done = subprocess.run(
        [*COMMAND, "--data", str(data), "--decode", "--max-bad", "50%", "--fix"], capture_output=True, text=True
    )
    assert done.returncode == 0 and "truncated 1" in done.stdout and "cp " in done.stdout, done.stderr
    for name in ("train", "val", "test"):
        shutil.copy(data / "check" / "fixed" / f"{name}.txt", data / "meta")
    done = subprocess.run([*COMMAND, "--data", str(data), "--decode", "--max-bad", "0"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    done = subprocess.run(
        [*COMMAND, "--data", str(data), "--out", str(tmp_path / "plain")], capture_output=True, text=True
    )
    assert (
        done.returncode == 0 and json.loads((tmp_path / "plain" / "report.json").read_text())["level"] == "content"
    ), done.stderr
    assert subprocess.run([*COMMAND, "--data", str(data), "--jobs", "0"], capture_output=True).returncode == 2
    assert subprocess.run([*COMMAND, "--data", str(tmp_path / "none")], capture_output=True).returncode == 3
    assert not (tmp_path / "none").exists()
    done = subprocess.run([*COMMAND, "--data", str(data), "--out", "/proc/check"], capture_output=True, text=True)
    assert done.returncode == 7 and "with --out" in done.stderr


def test_two_checks_into_one_folder_do_not_mix(checked, tmp_path):
    from webvision.files import directory_lock

    with directory_lock(tmp_path, "check"):
        done = subprocess.run(
            [*COMMAND, "--data", str(checked[0]), "--out", str(tmp_path)], capture_output=True, text=True
        )
    assert done.returncode == 8 and "another check is at work" in done.stderr


# --- crashes, hangs, kills ---


def test_a_picture_that_kills_or_stops_its_decoder_is_named_and_the_check_goes_on(tmp_path, monkeypatch):  # I6
    data = tmp_path / "data"
    check_fixtures.make(str(data))
    real = check_module.examine

    def deadly(root, path, options):
        if path == "n0/a 7.jpg":
            faulthandler.disable()  # pytest's would print this process's stack
            os.kill(os.getpid(), signal.SIGSEGV)
        if path == "n1/a 4.jpg":
            time.sleep(100)
        return real(root, path, options)

    monkeypatch.setattr(check_module, "examine", deadly)
    report = check(str(data), str(tmp_path / "out"), dataclasses.replace(NEAR, timeout_s=0.7))
    examples = {e["name"]: e["detail"] for e in report["splits"]["train"]["problems"]["unreadable"]["examples"]}
    assert examples.pop("n0/a 7.jpg") == "crash" and examples.pop("n1/a 4.jpg") == "time-out"
    assert len(examples) == 7, "all others are as before"


def test_a_worker_killed_by_chance_costs_no_picture(tmp_path, monkeypatch, checked):
    marker = tmp_path / "killed"
    real = check_module.examine

    def unlucky(root, path, options):
        if path == "n0/a 7.jpg" and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)  # once, as the kernel's memory killer does
        return real(root, path, options)

    monkeypatch.setattr(check_module, "examine", unlucky)
    check(str(checked[0]), str(tmp_path / "out"), NEAR)
    assert marker.exists() and tree(tmp_path / "out") == tree(checked[0] / "check")


def test_a_bug_in_a_worker_is_shown_not_blamed_on_a_picture(tmp_path, monkeypatch, checked):
    monkeypatch.setattr(check_module, "examine", lambda *a: 1 / 0)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        check(str(checked[0]), str(tmp_path / "out"), NEAR)


def test_lack_of_memory_in_a_worker_is_the_machines_not_the_lists(tmp_path, monkeypatch, checked):
    def examine(*_):
        raise ResourceError("no memory for a picture")

    monkeypatch.setattr(check_module, "examine", examine)
    with pytest.raises(ResourceError, match="no memory for a picture"):
        check(str(checked[0]), str(tmp_path / "out"), NEAR)


def test_workers_that_cannot_begin_end_the_scan():
    with pytest.raises(ResourceError, match="before they begin"):
        list(ScanPool(lambda *a: os._exit(3), jobs=2).run(range(5)))


def test_an_unfinished_check_goes_on_where_it_was(tmp_path, monkeypatch, checked):
    monkeypatch.setattr(check_module, "_BLOCK_ROWS", {"near": 8})
    real, seen = check_module.ScanPool, []

    class Watching(real):
        def run(self, blocks):
            seen.append(list(blocks))
            return super().run(blocks)

    class Dying(real):
        def run(self, blocks):
            for done, answer in enumerate(super().run(blocks)):
                yield answer
                if done == 3:
                    raise KeyboardInterrupt

    monkeypatch.setattr(check_module, "ScanPool", Dying)
    with pytest.raises(KeyboardInterrupt):
        check(str(checked[0]), str(tmp_path / "out"), NEAR)
    monkeypatch.setattr(check_module, "ScanPool", Watching)
    check(str(checked[0]), str(tmp_path / "out"), NEAR)
    blocks = -(-len(open_index(checked[0] / "meta" / "train.txt", 5)) // 8)
    assert len(seen[0]) == blocks - 4 and tree(tmp_path / "out") == tree(checked[0] / "check")


def test_findings_of_other_lists_or_torn_blocks_do_not_count(tmp_path):
    def opened(identity="a"):
        return Findings(tmp_path / "f", rows=10, block_rows=4, identity=identity)

    block = bytes(range(200))
    findings = opened()
    assert findings.missing_blocks() == [0, 1, 2] and findings.bounds(2) == (8, 10)
    findings.put(0, block)
    findings.put(2, block[:100])
    findings.close()
    again = opened()
    assert again.missing_blocks() == [1] and again.records()[9].tobytes() == block[50:100]
    data = bytearray((tmp_path / "f").read_bytes())
    data[-1] ^= 1  # a lost write of block 2
    (tmp_path / "f").write_bytes(data)
    assert opened().missing_blocks() == [1, 2]
    (tmp_path / "f").write_bytes(data[:-3])
    assert opened().missing_blocks() == [0, 1, 2]
    opened().put(0, block)
    assert opened("b").missing_blocks() == [0, 1, 2]
    with pytest.raises(ValueError):
        opened().put(0, b"short")


def test_no_worker_outlives_a_killed_check(tmp_path):
    data = tmp_path / "data"
    check_fixtures.make(str(data))
    code = (
        "import os, sys, time; sys.path[:0] = [%r]\nfrom webvision.prep.check.pool import ScanPool\n"
        "def work(block, begins, verdicts):\n    begins(block); os.write(1, b'%%d\\n' %% os.getpid()); time.sleep(60)\n"
        "list(ScanPool(work, jobs=2).run(range(4)))" % ROOT
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pids = [int(process.stdout.readline()) for _ in range(2)]
    process.kill()
    process.wait()
    process.stdout.close()
    time.sleep(0.3)
    assert not [
        pid
        for pid in pids
        if os.path.exists(f"/proc/{pid}/stat") and open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] != "Z"
    ]


# --- equal pictures, at random ---


def test_equal_content_against_every_pair_compared(monkeypatch):
    monkeypatch.setattr(same, "_ROWS", 16)
    rng = np.random.default_rng(1)
    long, short = np.zeros(90, RECORD), np.zeros(13, RECORD)
    for records in (long, short):
        records["content"] = rng.integers(0, 30, (len(records), 1))
        records["flags"] = rng.integers(0, 2, len(records)) * same.READ

    def by_hand(left, right, skip_itself=False):
        pairs = []
        for i, one in enumerate(left):
            first = next(
                (
                    j
                    for j, other in enumerate(right)
                    if one["flags"] and other["flags"] and (one["content"] == other["content"]).all()
                ),
                None,
            )
            if first is not None and not (skip_itself and first == i):
                pairs.append((i, first))
        return pairs

    def pairs_of(pairs):
        return list(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True))

    forward, backward = same.equal_both_ways(long, short)
    assert pairs_of(forward) == by_hand(long, short) and pairs_of(backward) == by_hand(short, long)
    assert pairs_of(same.copies(long)) == by_hand(long, long, skip_itself=True)
    assert len(forward.left) and len(backward.left)
    assert pairs_of(same.equal_content(long, short[:0])) == []
    short["content"][:, 1] += 100  # the first half of a hash alone proves nothing
    assert pairs_of(same.equal_content(long, short)) == []


def test_near_look_against_every_pair_compared():
    rng = np.random.default_rng(0)
    left, right = np.zeros(60, RECORD), np.zeros(400, RECORD)
    right["look"] = rng.integers(0, 2**63, 400, dtype=np.uint64)
    left["look"] = rng.integers(0, 2**63, 60, dtype=np.uint64)
    for i in range(40):  # i % 6 bits away from one of the right ones
        left["look"][i] = right["look"][i * 7]
        for bit in rng.choice(64, i % 6, replace=False):
            left["look"][i] ^= np.uint64(1 << int(bit))
    left["flags"] = right["flags"] = same.DECODED
    pairs = same.near_look(left, right)
    expected = {
        (i, j)
        for i in range(60)
        for j in range(400)
        if bin(int(left["look"][i]) ^ int(right["look"][j])).count("1") <= same.NEAR_BITS
    }
    assert set(zip(pairs.left.tolist(), pairs.right.tolist())) == expected and len(expected) >= 26


def test_looks_survive_resizing_and_recompression_and_plain_pictures_have_none():
    def distance(a, b):
        return bin(look_of(a) ^ look_of(b)).count("1")

    for seed in range(20):
        image = check_fixtures.photo(seed, (300, 200))
        small = cv2.imdecode(np.frombuffer(check_fixtures.jpeg(cv2.resize(image, (150, 100)), 60), np.uint8), 1)
        assert (
            distance(image, small)
            <= same.NEAR_BITS
            < 12
            < distance(image, check_fixtures.photo(seed + 100, (300, 200)))
        )
    plain = np.zeros(2, RECORD)
    plain["flags"], plain["look"] = same.DECODED, look_of(np.full((50, 50, 3), 255, np.uint8))
    assert len(same.near_look(plain, plain).left) == 0
