"""The road from a raw folder to a data set in the ILSVRC layout, without a copy of any plain picture.

    DATA/pictures/own           a link to the folder
    DATA/pictures/converted/    what had to be converted
    DATA/{train,val,test}       links to pictures
    DATA/meta/                  synsets.txt, train.txt, val.txt, test.txt; found.jsonl, split.json, skipped.tsv

Killed at any point and started again it ends in the same bytes; with pictures added it goes on from what is known.
"""

import json
import os
from collections import Counter
from dataclasses import asdict, dataclass

from webvision import faults
from webvision.data.lists.class_names import synset_lines
from webvision.errors import DataError, ResourceError, UsageError, printable
from webvision.files import atomic_write, directory_lock, read_json, remove_leftovers, write_json
from webvision.prep.own_folder.examine import CONVERTED, OWN, examine_folder
from webvision.prep.own_folder.look import look
from webvision.prep.own_folder.split import SIDES, Shares, counts, divide, keep_given

LEAST = 5  # pictures of a class: with fewer there is nothing to judge by


@dataclass(frozen=True)
class Prepared:
    """An own folder as a data set."""

    data: str  # the data set's folder
    classes: list  # names
    counts: dict  # {split: pictures of each class}
    report: list  # lines for a person


def prepare(folder, data, *, shares=None, jobs=1, timeout_s=60.0):
    """Make the data set `data` of the pictures in `folder`; returns its Prepared."""
    shares = shares or Shares()
    found = look(folder)
    _refuse_nested(found.folder, data)
    pictures, meta = os.path.join(data, "pictures"), os.path.join(data, "meta")
    for path in (pictures, meta):
        os.makedirs(path, exist_ok=True)
    with directory_lock(data, "preparation"):
        for path in (pictures, meta):
            remove_leftovers(path)
        _keep_settings(meta, found, shares)
        _link(found.folder, os.path.join(pictures, OWN))
        findings = examine_folder(found, pictures, os.path.join(meta, "found.jsonl"), jobs=jobs, timeout_s=timeout_s)
        usable = [picture for picture in found.pictures if findings[picture.path].usable]
        before = _sides_before(meta)
        sided = (keep_given if found.splits else divide)(usable, findings, shares, before)
        _refuse_few(found, usable, sided)
        skipped = found.skipped + [(p, f.why) for p, f in findings.items() if not f.usable] + sided.skipped
        _write(data, found, findings, sided, shares, skipped)
    table = counts(found.pictures, sided.sides, len(found.classes))
    return Prepared(data, found.classes, table, _report(found, findings, sided, skipped, table))


def _refuse_nested(folder, data):
    inside = os.path.realpath(data) + os.sep
    if inside.startswith(os.path.realpath(folder) + os.sep):
        raise UsageError(
            f"{printable(data)} lies in {printable(folder)}, and nothing in there is ever changed; name another folder "
            "for the run, or start from another one"
        )


def _keep_settings(meta, found, shares):
    """Note in meta/own_folder.json what the set is of; UsageError if it was begun with something else."""
    path, settings = os.path.join(meta, "own_folder.json"), {"folder": found.folder, **asdict(shares)}
    if not os.path.exists(path):
        write_json(path, settings)
        return
    try:
        before = read_json(path)
    except ValueError as error:
        raise DataError(
            f"{printable(path)}: damaged ({error}); remove it, or choose another folder for the run"
        ) from None
    if before != settings:
        changed = [key for key in settings if before.get(key) != settings[key]]
        raise UsageError(
            f"{printable(os.path.dirname(meta))} was begun with "
            + ", ".join(f"{key} {printable(before.get(key))} (now {printable(settings[key])})" for key in changed)
            + "; give the same again, or another folder for the run"
        )


def _link(target, path):
    """Make `path` a link to `target`, whatever link it was."""
    if os.path.islink(path):
        if os.readlink(path) == target:
            return
        os.unlink(path)
    try:
        os.symlink(target, path)
    except OSError as error:
        raise ResourceError(
            f"{printable(path)}: {error.strerror}; the folder of a run needs a file system with links"
        ) from None


def _sides_before(meta):
    """{content: side} of an earlier split of this set."""
    try:
        return read_json(os.path.join(meta, "split.json"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise DataError(
            f"{printable(meta)}/split.json: damaged ({error}); without it pictures may change sides: restore "
            "or remove it"
        ) from None


def _refuse_few(found, usable, sided):
    """DataError for classes with too few pictures; they cannot be left out in silence."""
    per_class = Counter(picture.label for picture in usable if picture.path in sided.sides)
    few = [(name, per_class[label]) for label, name in enumerate(found.classes) if per_class[label] < LEAST]
    if few:
        named = ", ".join(f"{printable(name)} ({count})" for name, count in few[:5])
        raise DataError(
            f"{printable(found.folder)}: fewer than {LEAST} usable pictures of {named}"
            f"{' and others' if len(few) > 5 else ''}; add some, or move the folder elsewhere"
        )


def _write(data, found, findings, sided, shares, skipped):
    """The lists, and what they follow from; what is read first is written last."""
    meta = os.path.join(data, "meta")
    contents = {findings[path].content: side for path, side in sided.sides.items()}
    with atomic_write(os.path.join(meta, "split.json")) as file:
        json.dump(_sides_before(meta) | contents, file, indent=0, sort_keys=True)
        file.write("\n")
    faults.point("own-folder")
    with atomic_write(os.path.join(meta, "skipped.tsv")) as file:
        file.writelines(f"{printable(path)}\t{printable(why)}\n" for path, why in skipped)
    for side in SIDES:
        lines = [
            f"{findings[picture.path].shown} {picture.label}\n"
            for picture in found.pictures
            if sided.sides.get(picture.path) == side
        ]
        path = os.path.join(meta, f"{side}.txt")
        if lines:
            _link("pictures", os.path.join(data, side))
            with atomic_write(path) as file:
                file.writelines(lines)
            faults.point("own-folder")
        elif os.path.exists(path):
            os.unlink(path)
    with atomic_write(os.path.join(meta, "synsets.txt")) as file:
        file.writelines(synset_lines(found.classes))


def _report(found, findings, sided, skipped, table):
    """What was found and done, for a person."""
    sizes = sum(table.values())
    named = ", ".join(f"{printable(name)} {sizes[i]}" for i, name in enumerate(found.classes[:8]))
    lines = [
        f"{printable(found.folder)}: {len(found.classes)} classes, {sizes.sum()} pictures ({named}"
        + (", ..." if len(found.classes) > 8 else "")
        + ")",
        "split: "
        + ", ".join(f"{side} {rows.sum()}" for side, rows in table.items())
        + (" (the folder's own)" if found.splits else " (by content: added pictures move none)"),
    ]
    converted = Counter(findings[path].why for path in sided.sides if findings[path].shown.startswith(f"{CONVERTED}/"))
    if converted:
        lines.append("converted: " + ", ".join(f"{count} {why}" for why, count in sorted(converted.items())))
    if sided.twins:
        count, groups = sum(map(len, sided.twins)), len(sided.twins)
        lines.append(f"look-alikes: {count} pictures in {groups} group{'s' * (groups > 1)}, each on one side")
    for path, why in skipped[:8]:
        lines.append(f"passed over: {printable(path)} ({printable(why)})")
    if len(skipped) > 8:
        lines.append(f"passed over: {len(skipped) - 8} more, in meta/skipped.tsv")
    return lines
