"""Is this data set right? Lists against folders, pictures against the reader that training uses; reports, and cleaned
lists.

Never changes or deletes a picture or a list. Killed at any point and started again, it goes on, and ends in the same
bytes.
"""

import contextlib
import itertools
import os
import shutil
from dataclasses import dataclass

import numpy as np

from webvision.data.archives.store import PictureArchives, open_pictures
from webvision.data.lists.folders import SPLITS, read_meta_classes, sample_paths, settle_structure
from webvision.data.lists.sound import write_sound
from webvision.data.lists.text import encode_name
from webvision.data.pictures.folder import PictureFolder
from webvision.environment import DOOR
from webvision.errors import DataError, ResourceError, printable
from webvision.files import directory_lock, remove_leftovers
from webvision.prep.check import lists
from webvision.prep.check import report as check_report
from webvision.prep.check import same as check_same
from webvision.prep.check.drawings import write_imbalance, write_sheet
from webvision.prep.check.findings import Findings
from webvision.prep.check.pool import ScanPool
from webvision.prep.check.scan import ScanOptions, condemned, examine
from webvision.progress import Progress

WORK = ".work"  # in the report's folder while a check is unfinished
_BLOCK_ROWS = {
    "names": 8192,
    "content": 1024,
    "decode": 256,
    "near": 256,
}  # a tenth of a second or so: what a kill costs


@dataclass(frozen=True)
class CheckOptions:
    """How a data set is checked."""

    scan: ScanOptions = ScanOptions()
    jobs: int = 1  # worker processes
    timeout_s: float = 60.0  # for one picture
    allow_outside: bool = False  # names may be absolute or hold '..'
    fix: bool = False  # write cleaned lists
    restart: bool = False  # forget what an unfinished check found


@dataclass
class Split:
    """What is known about one split."""

    name: str
    pictures: PictureFolder | PictureArchives
    checked: lists.CheckedList
    records: np.ndarray = None  # of check_scan.RECORD, a row each
    repeats: lists.Repeats = None
    unlisted: list = None  # paths (bytes) of files that no row names


def check(data, out, options):
    """Check the data set at `data`, write the reports into the folder `out`, and return the report (a dict, as in
    report.json)."""
    classes = read_meta_classes(os.path.join(data, "meta"))  # first: a wrong --data must not be created by --out
    try:
        os.makedirs(out, exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"{printable(out)}: {error.strerror}; name another folder for the reports with --out"
        ) from None
    with directory_lock(out, "check"):
        work = os.path.join(out, WORK)
        if options.restart:
            shutil.rmtree(work, ignore_errors=True)
        os.makedirs(work, exist_ok=True)
        for folder in (out, os.path.join(out, "fixed")):
            if os.path.isdir(folder):
                remove_leftovers(folder)
        splits = [_look_through(split, work, options) for split in _open_splits(data, classes, work, options)]
        same = _same_pictures(splits, near=options.scan.at_least("near"))
        report = check_report.build(data, classes, splits, same, options)
        _write_reports(out, classes, splits, same, report, options)
        shutil.rmtree(work)
    return report


def _open_splits(data, classes, work, options):
    """A Split for each list that is there; all of them, so that a wrong list is known before hours of scanning."""
    splits = []
    for name in SPLITS:
        path = os.path.join(data, "meta", f"{name}.txt")
        if not os.path.lexists(path):
            continue
        root = os.path.join(data, name)
        checked = lists.open_checked(path, len(classes), work_dir=work, allow_outside=options.allow_outside)
        sample = sample_paths(checked.index, classes)
        pictures = open_pictures(root, options.scan.policy, beside=os.path.join(data, "meta"), sample=sample)
        if name != "train":
            settle_structure(checked.index, pictures.has, classes)
        splits.append(Split(name, pictures, checked))
    if not splits:
        raise DataError(
            f"{printable(os.path.join(data, 'meta'))}: no train.txt, val.txt or test.txt; is this the data set's "
            "folder? "
            f"({DOOR} prepare makes them)"
        )
    return splits


def _look_through(split, work, options):
    """Fill in a split's findings."""
    split.records = _scan(split, work, options)
    if options.scan.at_least("decode") and split.checked.lines is None and not split.checked.wrong_count:
        write_sound(split.checked.index, split.records["sound"])  # training reads it
    hashes = split.records["path"]
    split.repeats = lists.judge_repeats(split.checked.index, hashes)
    if os.path.isdir(split.pictures.root):
        with Progress(f"{split.name}: files not listed", None, "files") as progress:
            split.unlisted = lists.find_unlisted(split.pictures, hashes, progress=progress.update)
    else:
        split.unlisted = []
    return split


def _scan(split, work, options):
    """The RECORD of each row, from worker processes; goes on where an unfinished scan was killed."""
    index = split.checked.index
    identity = f"{index.hash} {len(index)} {index.class_folders is not None} {options.scan}"
    if split.pictures.in_archives:
        identity += f" {split.pictures.members.stamp}"
    findings = Findings(
        os.path.join(work, f"{split.name}.findings"),
        rows=len(index),
        block_rows=_BLOCK_ROWS[options.scan.level],
        identity=identity,
    )
    todo = findings.missing_blocks()

    def examine_block(block, row_begins, verdicts):
        low, high = findings.bounds(block)
        records = []
        for row, path in zip(range(low, high), index.paths(range(low, high)), strict=True):
            row_begins(row)
            records.append(
                condemned(path, verdicts[row]) if row in verdicts else examine(split.pictures, path, options.scan)
            )
        return b"".join(records)

    pool = ScanPool(examine_block, jobs=min(options.jobs, max(1, len(todo))), timeout_s=options.timeout_s)
    done = len(index) - sum(high - low for low, high in map(findings.bounds, todo))
    what = {"names": "looking for", "content": "reading"}.get(options.scan.level, "decoding")
    with (
        Progress(f"{split.name}: {what}", len(index), "pictures") as progress,
        contextlib.closing(pool.run(todo)) as answers,
    ):
        progress.update(done)
        for block, data in answers:
            findings.put(block, data)
            low, high = findings.bounds(block)
            done += high - low
            progress.update(done)
    records = findings.records()
    findings.close()
    return records


def _same_pictures(splits, *, near):
    """{(split, other): Pairs (row, first row of the other with the same bytes)}; (split, split): copies inside a split;
    ('near', split, other): rows that look alike but are not equal, once for two splits.
    """
    same = {(split.name, split.name): check_same.copies(split.records) for split in splits}
    for long, short in itertools.combinations(splits, 2):  # train comes first
        same[long.name, short.name], same[short.name, long.name] = check_same.equal_both_ways(
            long.records, short.records
        )
        if near:
            alike = check_same.near_look(short.records, long.records)
            differ = (short.records["content"][alike.left] != long.records["content"][alike.right]).any(axis=1)
            same["near", short.name, long.name] = check_same.Pairs(alike.left[differ], alike.right[differ])
    return same


def _write_reports(out, classes, splits, same, report, options):
    check_report.write_json(os.path.join(out, "report.json"), report)
    check_report.write_csv(os.path.join(out, "problems.csv"), splits, same)
    check_report.write_classes(os.path.join(out, "classes.csv"), classes, splits)
    train = splits[0].checked.index
    if train.labelled:
        write_imbalance(os.path.join(out, "imbalance.png"), train.counts)
    sheet = os.path.join(out, "worst.png")
    tiles = [(split.pictures, encode_name(path), caption) for split, path, caption in check_report.worst(splits, same)]
    if tiles:
        write_sheet(sheet, tiles, jobs=options.jobs)
    elif os.path.exists(sheet):
        os.unlink(sheet)  # of an earlier check
    if options.fix:
        folder = os.path.join(out, "fixed")
        os.makedirs(folder, exist_ok=True)
        for split in splits:
            check_report.write_fixed(
                os.path.join(folder, f"{split.name}.txt"), split, check_report.kept_rows(split, same)
            )
