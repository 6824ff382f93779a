"""What a check found, for people and programs: report.json, problems.csv, the worst pictures, the cleaned lists."""

import csv
import json
import os

import numpy as np

from webvision.data.lists.text import decode_name
from webvision.data.pictures.images import REASONS
from webvision.errors import printable
from webvision.files import atomic_write
from webvision.prep.check.drawings import bars

EXAMPLES = 100  # of each kind in report.json; problems.csv has all
_BATCH = 1 << 14  # rows whose names are read at once
_SHEET = (
    ("unreadable", 36),
    ("same-picture", 12),
    ("conflict", 12),
)  # kinds on the contact sheet, and how many of each at most
_UNSHOWN = ("empty", "missing", "not-a-file", "permission", "outside")  # reasons without anything to look at


def problems_of(split, splits, same):
    """[(kind, rows, detail)] of a split: kinds of problem, the rows that have it, and detail(i) about the i-th of them
    as text."""
    records = split.records
    reasons = np.asarray(records["reason"])
    bad = np.flatnonzero(reasons)
    found = [("unreadable", bad, lambda i: REASONS[reasons[bad[i]]])]
    for kind, which in (("duplicate", ~split.repeats.conflict), ("conflict", split.repeats.conflict)):
        found.append((kind, split.repeats.rows[which], _as_line("named in", split, split.repeats.first[which])))
    for other in splits:
        if other is split:
            pairs = same[split.name, split.name]
            found.append(("copy", pairs.left, _as_line("the bytes of", split, pairs.right)))
            continue
        pairs = same[split.name, other.name]
        found.append(("same-picture", pairs.left, _as_line("the bytes of", other, pairs.right)))
        for here, there, key in (
            ("left", "right", (split.name, other.name)),
            ("right", "left", (other.name, split.name)),
        ):
            if pairs := same.get(("near", *key)):
                found.append(
                    ("near-picture", getattr(pairs, here), _as_line("looks like", other, getattr(pairs, there)))
                )
    return [(kind, rows, detail) for kind, rows, detail in found if len(rows)]


def _as_line(text, split, rows):
    return lambda i: f"{text} {split.name}.txt:{split.checked.line(rows[i])}"


def build(data, classes, splits, same, options):
    """The report as a dict of plain values; the same data set gives the same report."""
    report = {
        "data": decode_name(os.fsencode(data)),
        "level": options.scan.level,
        "classes": len(classes),
        "splits": {},
    }
    for split in splits:
        index = split.checked.index
        labels = index.labels
        part = {
            "rows": len(index),
            "labelled": index.labelled,
            "sha256": index.hash,
            "wrong_lines": {
                "count": split.checked.wrong_count,
                "examples": [{"line": line, "reason": reason} for line, reason in split.checked.wrong[:EXAMPLES]],
            },
            "unreadable": {
                REASONS[code]: int(n) for code, n in enumerate(np.bincount(split.records["reason"])) if n and code
            },
        }
        if index.labelled:
            part["pictures_per_class"] = {
                "min": int(index.counts.min()),
                "median": float(np.median(index.counts)),
                "max": int(index.counts.max()),
                "empty": [classes[i] for i in np.flatnonzero(index.counts == 0)],
                "picture": bars(index.counts),
            }
        part["problems"] = {}
        for kind, rows, detail in problems_of(split, splits, same):
            names = index.names(rows[:EXAMPLES])
            part["problems"][kind] = {
                "count": len(rows),
                "examples": [
                    {"line": split.checked.line(row), "name": name, "detail": detail(i)}
                    for i, (row, name) in enumerate(zip(rows[:EXAMPLES], names, strict=True))
                ],
            }
        if index.labelled and (split.name, split.name) in same:
            pairs = same[split.name, split.name]
            part["copies_with_another_label"] = int((labels[pairs.left] != labels[pairs.right]).sum())
        part["unlisted"] = {
            "count": len(split.unlisted),
            "examples": [decode_name(path) for path in split.unlisted[:EXAMPLES]],
        }
        if split.pictures.in_archives:
            part["broken_archives"] = [archive.damage for archive in split.pictures.members.archives if archive.damage]
        part["unusable_share"] = round(float((split.records["reason"] != 0).mean()), 6)
        report["splits"][split.name] = part
    return report


def write_json(path, report):
    """ASCII JSON: names that are not UTF-8 come back as Python wrote them, and nothing in them reaches a terminal."""
    with atomic_write(path) as file:
        json.dump(report, file, indent=2, ensure_ascii=True)
        file.write("\n")


def write_csv(path, splits, same):
    """Every problem, one a line, in the order of the lists. Names are shown with escapes; `line` is exact."""
    with atomic_write(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["split", "line", "name", "label", "problem", "detail"])
        for split in splits:
            for line, reason in split.checked.wrong:
                writer.writerow([split.name, line, "", "", "wrong-line", _cell(reason)])
            if more := split.checked.wrong_count - len(split.checked.wrong):
                writer.writerow([split.name, "", "", "", "wrong-line", f"and {more} lines more"])
            _write_rows(writer, split, problems_of(split, splits, same))
            for unlisted in split.unlisted:
                writer.writerow(
                    [split.name, "", _cell(decode_name(unlisted)), "", "unlisted", "in the folder, not in the list"]
                )


def write_classes(path, classes, splits):
    """A line for each class: how many pictures each labelled split has of it, and how many of those can be used."""
    labelled = [split for split in splits if split.checked.index.labelled]
    columns = []
    for split in labelled:
        labels = split.checked.index.labels
        usable = np.bincount(labels[split.records["reason"] == 0], minlength=len(classes))
        columns += [split.checked.index.counts.tolist(), usable.tolist()]
    with atomic_write(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["label", "class", *(f"{split.name}{what}" for split in labelled for what in ("", "_usable"))])
        for label, (name, *numbers) in enumerate(zip(classes, *columns, strict=True)):
            writer.writerow([label, _cell(name), *numbers])


def _write_rows(writer, split, problems):
    if not problems:
        return
    index = split.checked.index
    rows = np.concatenate([rows for _, rows, _ in problems])
    kinds = np.repeat(np.arange(len(problems)), [len(rows) for _, rows, _ in problems])
    places = np.concatenate([np.arange(len(rows)) for _, rows, _ in problems])
    order = np.lexsort((kinds, rows))
    for low in range(0, len(order), _BATCH):
        part = order[low : low + _BATCH]
        for at, name in zip(part.tolist(), index.names(rows[part]), strict=True):
            kind, _, detail = problems[kinds[at]]
            label = int(index.labels[rows[at]]) if index.labelled else ""
            writer.writerow(
                [split.name, split.checked.line(rows[at]), _cell(name), label, kind, _cell(detail(places[at]))]
            )


def _cell(text):
    """Text for a spreadsheet and a terminal: no control characters, and nothing that a spreadsheet takes for a
    formula."""
    shown = printable(text)
    return f"./{shown}" if shown[:1] in "=+-@" and shown else shown


def worst(splits, same):
    """(split, path, caption lines) of the pictures worth looking at: unreadable, leaked into another split, of two
    labels."""
    tiles = []
    for kind, most in _SHEET:
        left = most
        for split in splits:
            for found, rows, detail in problems_of(split, splits, same):
                if found != kind:
                    continue
                chosen = (
                    [i for i in range(len(rows)) if detail(i) not in _UNSHOWN][:left]
                    if kind == "unreadable"
                    else range(min(left, len(rows)))
                )
                paths = split.checked.index.paths(rows[list(chosen)])
                tiles.extend(
                    (
                        split,
                        path,
                        (
                            f"{split.name}:{split.checked.line(rows[i])} {os.path.basename(path)}",
                            f"{kind}: {detail(i)}",
                        ),
                    )
                    for i, path in zip(chosen, paths, strict=True)
                )
                left -= len(chosen)
    return tiles


def kept_rows(split, same):
    """A mask of the rows of a cleaned list: readable, named once, and for train not in val or test. A list without
    labels stays as it is: a submission needs every row."""
    kept = np.ones(len(split.records), bool)
    if not split.checked.index.labelled:
        return kept
    kept[split.records["reason"] != 0] = False
    kept[split.repeats.rows] = False
    if split.name == "train":
        for other in ("val", "test"):
            if pairs := same.get(("train", other)):
                kept[pairs.left] = False
    return kept


def write_fixed(path, split, kept):
    """The kept lines of a list, in its order, as they were."""
    rows = np.flatnonzero(kept)
    with atomic_write(path, "wb") as file:
        for low in range(0, len(rows), _BATCH):
            file.write(split.checked.index.lines(rows[low : low + _BATCH]))


def summary(report):
    """Lines for the terminal."""
    lines = []
    for name, part in report["splits"].items():
        lines.append(f"{name}: {part['rows']:,} rows{'' if part['labelled'] else ', without labels'}")
        if per_class := part.get("pictures_per_class"):
            lines.append(
                f"  {report['classes']:,} classes; pictures per class: min {per_class['min']:,}, "
                f"median {per_class['median']:,g}, max {per_class['max']:,}; {len(per_class['empty'])} without a "
                "picture"
                + (f" ({', '.join(printable(c) for c in per_class['empty'][:5])})" if per_class["empty"] else "")
            )
            lines.extend(f"    {line}" for line in per_class["picture"] if name == "train")
        counts = {
            "wrong lines": part["wrong_lines"]["count"],
            **part["unreadable"],
            **{kind: found["count"] for kind, found in part["problems"].items() if kind != "unreadable"},
            "copies with another label": part.get("copies_with_another_label", 0),
            "unlisted": part["unlisted"]["count"],
        }
        shown = ", ".join(f"{kind} {count:,}" for kind, count in counts.items() if count)
        lines.append(f"  {shown or 'nothing wrong'}")
        lines.extend(f"    {damage}" for damage in part.get("broken_archives", []))
        for wrong in part["wrong_lines"]["examples"][:3]:
            lines.append(f"    {name}.txt:{wrong['line']}: {wrong['reason']}")
    return lines
