"""The report's sections as HTML. Every text from a file passes through `esc`."""

import html
import math
import os
import re

from webvision.errors import printable

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "page")
SHOWN_PROBLEMS = 100
FIRST_ROWS = 50
TABLE_COLUMNS = (  # key, heading, kind; page.js shows the same rows in the same way
    ("name", "class", "text"),
    ("top1", "top-1 error", "share"),
    ("top5", "top-5 error", "share"),
    ("images", "images", "count"),
    ("train", "in training", "count"),
    ("precision", "precision", "share"),
    ("f1", "F1", "share"),
    ("taken", "most often taken for", "text"),
)
TOP1 = 1  # its place in a row


def esc(text):
    """`text` safe inside HTML; control characters, reading-direction marks and bad bytes become visible escapes."""
    return html.escape(printable(text))


def share(value, digits=1):
    """A fraction as percent; a dash where there is none."""
    return "–" if value is None or math.isnan(value) else f"{100 * value:.{digits}f}\u00a0%"


def fill(name, values):
    """The file `name` of the page with {{key}} replaced by values[key], which are HTML already."""
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], read_part(name))


def read_part(name):
    with open(os.path.join(PAGE, name), encoding="utf-8") as file:
        return file.read()


def section(key, title, body, lead=""):
    """One section with its heading; nothing when there is no body."""
    if not body:
        return ""
    lead = f'<p class="lead">{lead}</p>' if lead else ""
    heading = f'<h2 id="{key}-title">{esc(title)}</h2>'
    return f'<section id="{key}" aria-labelledby="{key}-title">{heading}{lead}{body}</section>'


def table(label, columns, rows):
    """A table that scrolls sideways by itself: columns are (heading, kind), rows are lists of HTML; kind 'name' heads a
    row."""
    heads = "".join(f'<th scope="col" class="{kind}">{heading}</th>' for heading, kind in columns)
    body = "".join(
        f"<tr>{''.join(_cell(value, kind) for value, (_, kind) in zip(row, columns, strict=True))}</tr>" for row in rows
    )
    return _scroll(label, f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>")


def _cell(value, kind):
    return f'<th scope="row">{value}</th>' if kind == "name" else f'<td class="{kind}">{value}</td>'


def _scroll(label, content):
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">{content}</div>'


def facts(pairs):
    """A list of terms and values; pairs without a value are left out."""
    items = "".join(
        f"<div><dt>{esc(term)}</dt><dd>{esc(value)}</dd></div>" for term, value in pairs if value is not None
    )
    return f'<dl class="facts">{items}</dl>'


def tiles(card):
    """The headline: four errors with their intervals, F1 and the calibration error."""
    parts = []
    for kind, words in (("", ""), ("balanced_", "balanced ")):
        for k, found in card["errors"].items():
            low, high = map(share, found[f"{kind}interval"])
            parts.append(_tile(f"{words}top-{k[3:]} error", share(found[f"{kind}error"]), f"95 %: {low} to {high}"))
    parts.append(_tile("macro F1", share(card["averages"]["macro"]["f1"]), "of the first choice"))
    if "calibration" in card:
        parts.append(_tile("calibration error", share(card["calibration"]["ece"]), "ECE, 15 bins"))
    return f'<div class="tiles">{"".join(parts)}</div>'


def _tile(term, value, hint):
    parts = {"term": term, "value": value, "hint": hint}
    return (
        '<div class="tile">' + "".join(f'<div class="{name}">{text}</div>' for name, text in parts.items()) + "</div>"
    )


def comparison(cards, differences):
    """A row a run: its errors, and its difference to the first run with interval and p-value."""
    columns = [
        ("run", "name"),
        *((f"{words}top-{k[3:]}", "share") for k in cards[0]["errors"] for words in ("", "balanced ")),
        ("top-1 against the first", "text"),
    ]
    rows = [
        [
            esc(card["predictions"]),
            *(share(found[kind]) for found in card["errors"].values() for kind in ("error", "balanced_error")),
            _difference(differences[i - 1]) if i else "reference",
        ]
        for i, card in enumerate(cards)
    ]
    return table("Runs", columns, rows)


def _difference(found):
    low, high = -found.interval.high, -found.interval.low
    verdict = "better" if high < 0 else "worse" if low > 0 else "no clear difference"
    return (
        f"{-100 * found.difference:+.2f} points [{100 * low:+.2f}, {100 * high:+.2f}], p {found.p_value:.2g}: {verdict}"
    )


def frequency_table(effect):
    """The numbers behind the bars of the frequency chart."""
    columns = [("training images", "text"), ("classes", "count"), ("top-1 error", "share"), ("top-5 error", "share")]
    rows = [[f"{b.low} to {b.high}", b.classes, share(b.top1), share(b.top5)] for b in effect.bins]
    return f"<details><summary>as a table</summary>{table('Error by training images', columns, rows)}</details>"


def class_rows(figures, names, train_counts):
    """A list for each class, in the order of TABLE_COLUMNS, None where there is no figure. `figures` is a
    ClassTable."""

    def number(value):
        return None if math.isnan(value) else round(float(value), 4)

    rows = []
    for c, name in enumerate(names):
        other, count = figures.taken_for[c], figures.taken_count[c]
        rows.append(
            [
                printable(name),
                number(figures.errors1[c]),
                number(figures.errors5[c]),
                int(figures.images[c]),
                None if train_counts is None else int(train_counts[c]),
                number(figures.precision[c]),
                number(figures.f1[c]),
                f"{printable(names[other])} ({count})" if other >= 0 else "",
            ]
        )
    return rows


def class_section(rows, has_train_counts):
    """The table of classes with its controls. The worst rows are in it as text, so that a page without scripts shows
    them too."""
    columns = [(i, *column) for i, column in enumerate(TABLE_COLUMNS) if has_train_counts or column[0] != "train"]
    heads = "".join(
        f'<th scope="col" class="{kind}" data-key="{key}" aria-sort="{"descending" if i == TOP1 else "none"}">'
        f'<button type="button">{heading}</button></th>'
        for i, key, heading, kind in columns
    )
    worst = sorted(rows, key=lambda row: (row[TOP1] is None, -(row[TOP1] or 0)))[:FIRST_ROWS]
    body = "".join(
        f"<tr>{''.join(_cell(_figure(row[i], kind), kind) for i, _, _, kind in columns)}</tr>" for row in worst
    )
    whole = f'<table id="classes-table"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'
    return fill("classes.html", {"table": _scroll("Classes", whole)})


def _figure(value, kind):
    return share(value) if kind == "share" else "–" if value is None else html.escape(str(value))


def confusions(pairs, names, counts):
    """The mistakes `pairs`; `counts` maps (label, predicted) to how often it happens, for the reverse of each."""
    columns = [
        ("class", "text"),
        ("taken for", "text"),
        ("images", "count"),
        ("of its images", "share"),
        ("the other way", "count"),
    ]
    rows = [
        [
            esc(names[pair.label]),
            esc(names[pair.predicted]),
            pair.count,
            share(pair.share),
            counts.get((pair.predicted, pair.label), 0),
        ]
        for pair in pairs
    ]
    return table("Confused pairs", columns, rows) if rows else ""


def gallery(cards):
    """Pictures with what they are called and what they are taken for: [(address or None, name, label, predicted,
    confidence)]."""
    parts = []
    for address, name, label, predicted, confidence in cards:
        picture = '<div class="no-picture">no picture</div>'
        if address:
            picture = f'<img src="{address}" alt="{esc(label)}, taken for {esc(predicted)}">'
        parts.append(
            f'<figure class="card">{picture}<figcaption><span class="label">{esc(label)}</span> '
            f'<span class="arrow">taken for</span> <span class="predicted">{esc(predicted)}</span> '
            f'<span class="sure">{share(confidence, 0)} sure</span><span '
            f'class="file">{esc(name)}</span></figcaption></figure>'
        )
    return f'<div class="gallery">{"".join(parts)}</div>' if parts else ""


def problems(names_and_reasons):
    """The pictures that could not be read."""
    items = "".join(f"<li>{esc(name)}: {esc(reason)}</li>" for name, reason in names_and_reasons[:SHOWN_PROBLEMS])
    left = len(names_and_reasons) - SHOWN_PROBLEMS
    return items and f'<ul class="problems">{items}</ul>' + (f"<p>and {left} more</p>" if left > 0 else "")
