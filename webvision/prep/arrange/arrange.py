"""From the unpacked set to the ILSVRC layout: DATA/{train/<wnid>/,val/,test/,meta/{synsets,train,val,test}.txt}.

First the plan, from the lists alone; then the census, before anything is touched; then every file to its place;
the lists last. Each step finds what an earlier, killed run left and goes on from there: the end is the same bytes.
"""

import contextlib
import errno
import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from webvision.errors import DataError, IncompleteError, ResourceError, UsageError, advice
from webvision.files import atomic_write, directory_lock, remove_leftovers, write_json
from webvision.prep.arrange import census, placing
from webvision.prep.arrange.rawlist import RawList, read_synsets
from webvision.progress import Progress

REPORT = "arrange.json"  # in DATA/meta
SCRATCH = ".arranging"  # in DATA: copies before they get their name; gone when the run ends
CHUNK = 512  # files between two looks at the clock
THREADS, SLOW_SECONDS = 16, 0.0002  # how many place files where placing one takes longer than this
MAX_MISSING = 0.001  # share of a split's pictures that may be missing or empty

# Where the evaluation pictures lie: as WebVision 2.0's archives unpack, as 1.0's do, and by hand.
EVAL_FOLDERS = "{split}_images_resized", "{split}_images_256", "{split}_images", "{split}"


NOT_HERE = {errno.EXDEV, errno.EROFS, errno.EPERM, errno.EACCES}  # what renames and links fail with, copies not
PAST = {"move": "moved", "link": "linked", "copy": "copied"}


def arrange(raw, data, *, method="move", train_list=None, max_missing=MAX_MISSING, remark=print):
    """Arrange the set in `raw` into `data` (may be the same folder); returns the report, also in meta/arrange.json."""
    if not os.path.isdir(raw):
        raise UsageError(f"{raw}: no such folder; --raw names the folder that holds info/, google/ and flickr/")
    classes = read_synsets(os.path.join(raw, "info", "synsets.txt"))  # in a folder that is no set, nothing is made
    make_writable(data)
    with directory_lock(data, "preparation"):
        remove_leftovers(os.path.join(data, "meta"))
        parts = [_plan_train(raw, data, classes, train_list=train_list)]
        parts += [
            part for split in ("val", "test") if (part := _plan_eval(raw, data, classes, split=split, remark=remark))
        ]
        take_stock(parts)
        report = report_of(parts, classes)
        try:
            stop_if_much_is_missing(parts, max_missing)
            _check_devices(parts, method)
            _place_all(parts, data, method=method, classes=classes)
            write_lists(os.path.join(data, "meta"), parts, classes)
        except BaseException:
            with contextlib.suppress(OSError):  # a full disk: what stopped us matters more than its report
                write_json(os.path.join(data, "meta", REPORT), report)
            raise
        report["complete"] = True
        write_json(os.path.join(data, "meta", REPORT), report)
    return report


def make_writable(data):
    try:
        os.makedirs(os.path.join(data, "meta"), exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"{error}; --data names a folder to arrange into (with --copy if the set's own folder is "
            "read-only or on another disk)"
        ) from None


def _plan_train(raw, data, classes, *, train_list):
    rows = read_train_list(raw, classes, train_list=train_list)
    return census.Part(rows, census.Places("train", raw, os.path.join(data, "train")), classes=classes)


def read_train_list(raw, classes, *, train_list=None):
    """The RawList of the training pictures."""
    path = train_list or os.path.join(raw, "info", "train_filelist_all.txt")
    rows = RawList(path, len(classes))
    if rows.labels is None:
        raise DataError(f"{path}:1: no label; the training list has lines like 'google/q00001/a.jpg 0'")
    return rows


def _plan_eval(raw, data, classes, *, split, remark):
    """The val or test part, or None (with a remark) where the set has none."""
    target = os.path.join(data, split)
    folders = [path for name in EVAL_FOLDERS if os.path.isdir(path := os.path.join(raw, name.format(split=split)))]
    rows = read_eval_list(raw, classes, split=split, there=folders or os.path.isdir(target), remark=remark)
    return rows and census.Part(rows, census.Places(split, folders[0] if folders else target, target))


def read_eval_list(raw, classes, *, split, there, remark):
    """The RawList of val or test, or None (with a remark) where the set has none, or no pictures are `there`."""
    lists = [
        path
        for path in (os.path.join(raw, f"{split}_filelist.txt"), os.path.join(raw, "info", f"{split}_filelist.txt"))
        if os.path.exists(path)
    ]
    if not lists or not there:
        remark(
            f"no {split} set: {'no ' + split + '_filelist.txt' if not lists else 'a list, but no pictures'} in {raw}; "
            "going on without"
        )
        return None
    rows = [RawList(path, len(classes)) for path in lists]
    if rows[0].sha256 != rows[-1].sha256:
        raise DataError(f"{lists[0]} and {lists[1]} differ; remove the one that is not this set's")
    rows = rows[0]
    if split == "val" and rows.labels is None:
        raise DataError(f"{rows.path}:1: no label; the validation list has lines like 'val000001.jpg 0'")
    if split == "test" and rows.labels is not None and not rows.labels.any():
        remark(f"{rows.path}: every label is 0, a placeholder; the test set is taken as unlabelled")
        rows.labels = None
    return rows


def take_stock(parts):
    with Progress("looking", sum(map(len, parts)), "files") as progress:
        done = 0

        def add(count):
            nonlocal done
            done += count
            progress.update(done)

        for part in parts:
            part.take_stock(add)


def stop_if_much_is_missing(parts, max_missing):
    for part in parts:
        missing, empty = part.missing(), part.empty()
        if len(missing) + len(empty) > max_missing * len(part):
            first = part.rows.line(int(min([*missing[:1], *empty[:1]])))
            raise IncompleteError(
                f"{part.places.split}: of {len(part):,} listed pictures {len(missing):,} are missing and "
                f"{len(empty):,} are "
                f"empty files, the first at {first}; nothing was moved. If an archive is not unpacked yet, unpack it "
                "and "
                "run this again; to do without them: --max-missing "
                f"{_percent_above(len(missing) + len(empty), len(part))}"
            )


def _percent_above(count, total):
    return f"{min(100.0, np.ceil(1e4 * count / total) / 100):g}%"


def _check_devices(parts, method):
    """Moving and linking can't leave a file system; copying can."""
    for part in parts:
        os.makedirs(part.places.target, exist_ok=True)
        if method != "copy" and os.stat(part.places.source).st_dev != os.stat(part.places.target).st_dev:
            raise ResourceError(
                f"{part.places.source} and {part.places.target} are on different file systems, where a file can't be "
                f"{PAST[method]} without copying; use --copy, or choose --data on the same one"
            )


def _place_all(parts, data, *, method, classes):
    scratch = os.path.join(data, SCRATCH)
    os.makedirs(scratch, exist_ok=True)
    _sweep(scratch)
    for wnid in classes:
        _real_folder(os.path.join(data, "train", wnid))
    placer = placing.Placer(method, scratch)
    with Progress("arranging", sum(map(len, parts)), "files") as progress:
        done = 0
        for part in parts:
            _place_part(part, placer, lambda count, base=done: progress.update(base + count))
            done += len(part)
    if method == "move":
        for part in parts:
            _remove_empty_folders(part)
    os.rmdir(scratch)
    placing.sync_file_system(data)  # the lists come after the files they name, through a power cut too


def _place_part(part, placer, progress):
    rows = np.flatnonzero(part.keep & (part.state & census.AT_SOURCE != 0))
    chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
    occupied, done = [], 0
    for names, count in _in_step(lambda chunk: _place_rows(part, placer, chunk), chunks):
        occupied += names
        done += count
        progress(done)
    if occupied:
        raise DataError(
            f"{part.places.target}: {len(occupied)} files already there differ from the ones to be put there "
            f"(first: {os.fsdecode(occupied[0])}); neither was touched. Another set's? Choose another --data"
        )


def _in_step(work, chunks):
    """work(chunk) for each, results in order; by threads if the first shows that the file system is what is slow.

    On a local disk one thread is fastest (tmpfs: 9 us of processor time a file, 19 with eight); over a network, where a
    rename waits a millisecond for its answer, they wait together.
    """
    if not chunks:
        return
    start = time.monotonic()
    yield work(chunks[0])
    if (time.monotonic() - start) / len(chunks[0]) < SLOW_SECONDS:
        yield from map(work, chunks[1:])
        return
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            yield from pool.map(work, chunks[1:])
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _place_rows(part, placer, rows):
    """Place some rows; returns the names at whose place something else lies, and how many rows these were."""
    source = os.fsencode(part.places.source) + b"/"
    target = os.fsencode(part.places.target) + b"/"
    occupied = []
    for row in census.integers(rows):
        name = part.final_name(row)
        try:
            _place_one(placer, source + part.rows.name(row), target + name)
        except placing.Occupied:
            occupied.append(name)
        except FileNotFoundError as error:
            raise IncompleteError(
                f"{part.rows.line(row)}: {error}: it was there a moment ago; is something else at work in this "
                "folder? Run the same command again to go on"
            ) from None
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise ResourceError(f"{error}; {advice(error.errno)}") from None
            if error.errno not in NOT_HERE:
                raise
            raise ResourceError(
                f"{part.rows.line(row)}: {error}; files that can't be {PAST[placer.method]} can be arranged with "
                "--copy, into another --data if need be"
            ) from None
    return occupied, len(rows)


def _place_one(placer, source, target):
    try:
        placer.place(source, target)
    except FileNotFoundError:  # a name with folders in it, in val or test: rare enough to try first
        os.makedirs(os.path.dirname(target), exist_ok=True)
        placer.place(source, target)


def _sweep(scratch):
    """Remove what a killed copy left."""
    for name in os.listdir(scratch):
        os.unlink(os.path.join(scratch, name))


def _real_folder(path):
    try:
        os.mkdir(path)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise DataError(
                f"{path}: is not a folder (a link to one won't do: pictures would land outside); "
                "remove it or choose another --data"
            ) from None


def _remove_empty_folders(part):
    """Folders from which everything was moved; whatever still holds a file stays."""
    if part.places.source == part.places.target:
        return
    for top in part.source_folders():
        for folder, _, _ in os.walk(os.path.join(os.fsencode(part.places.source), top), topdown=False):
            try:
                os.rmdir(folder)
            except OSError:  # not empty: extra files, reported
                continue


def write_lists(meta, parts, classes):
    with atomic_write(os.path.join(meta, "synsets.txt")) as file:
        file.writelines(f"{wnid}\n" for wnid in classes)
    for part in parts:
        with atomic_write(os.path.join(meta, f"{part.places.split}.txt"), "wb") as file:
            labels = part.rows.labels
            # An evaluation row stays even if its file is missing: a score over fewer rows would be another score.
            skip = set(part.missing().tolist()) if part.classes else ()
            for row in census.integers(np.flatnonzero(part.keep)):
                if row not in skip:
                    name = part.final_name(row)
                    file.write(name + b"\n" if labels is None else b"%s %d\n" % (name, labels[row]))


def report_of(parts, classes):
    """What is in the set: the same after one run as after many. Work done is no part of it."""
    report = {"format": "webvision-arrange", "version": 1, "complete": False, "classes": len(classes)}
    for part in parts:
        missing, empty = census.Names(), census.Names()
        for names, rows in ((missing, part.missing()), (empty, part.empty())):
            for row in census.integers(rows):
                names.add(part.rows.name(row))
        kept = len(part) - (missing.count if part.classes else 0)
        report[part.places.split] = {
            "list": os.path.basename(part.rows.path),
            "list_sha256": part.rows.sha256,
            "listed": len(part.rows),
            "kept": kept,
            "labelled": part.rows.labels is not None,
            "missing": missing.report(),
            "empty": empty.report(),
            "extra": part.extra.report(),
            "not_regular": part.odd.report(),
            "duplicate_rows": part.duplicates.report(),
            "conflicting_rows": part.conflicts.report(),
            "renamed": part.renamed.report(),
        }
        if part.classes:
            counts = np.bincount(part.rows.labels[part.keep], minlength=len(classes))
            report[part.places.split]["classes_without_a_picture"] = [classes[i] for i in np.flatnonzero(counts == 0)]
    return report
