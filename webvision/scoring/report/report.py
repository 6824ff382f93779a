"""The report: one HTML page about a set of predictions, which needs no network and no other file."""

import base64
import hashlib
import json
import os
import re
from typing import NamedTuple

import numpy as np

from webvision.errors import DataError, printable
from webvision.scoring.figures import intervals, metrics, scorecard
from webvision.scoring.figures.calibration import reliability
from webvision.scoring.predictions.loaded import LoadedRun, load_run, same_images
from webvision.scoring.report import charts as report_charts
from webvision.scoring.report import figures, html
from webvision.scoring.report import sources as report_run
from webvision.scoring.report.gallery import Thumbnails, split_of
from webvision.scoring.report.html import esc, section, share

SHOWN_MISTAKES, SHOWN_LABEL_ERRORS, SHOWN_PAIRS = 24, 36, 25
HARD_CLASSES, HARD_IMAGES = 8, 6


MAX_CLASSES = 1 << 17  # 131,072 rows make a page of 20 MB, for which a number in a stranger's file is enough


class Sources(NamedTuple):
    """Where a report may look beside the predictions."""

    data_dir: str | None = None  # an ILSVRC-layout folder: pictures, class names, training counts
    run_dir: str | None = None  # the training run, for its curves
    names_path: str | None = None  # a readable name for each class


class Subject(NamedTuple):
    """What the sections are about."""

    run: LoadedRun
    card: dict  # its scorecard
    wrong: dict  # k -> bool[n]
    table: figures.ClassTable
    names: list[str]
    train_counts: np.ndarray | None
    thumbnails: Thumbnails


def build_report(paths, sources=Sources()):
    """(the page as text, remarks for the person) for predictions at `paths`.

    The first file is what the report is about. Each further one is either another run over the same images, to be
    compared with the first, or predictions over the training list or a part of it (the folds of a cross-validation),
    in which probable label errors are looked for.
    """
    first, others, training = _sort_out([load_run(path) for path in paths])
    if first.class_range > MAX_CLASSES:
        raise DataError(
            f"{printable(first.path)}: speaks of {first.class_range:,} classes; a report has a row for each, and "
            f"shows up to {MAX_CLASSES:,}"
        )
    wrong = {k: scorecard.outcomes(first, k) for k in (1, 5)}
    subject = Subject(
        first,
        scorecard.score(first),
        wrong,
        figures.class_table(first, wrong[1], wrong[5]),
        report_run.class_names(first, sources.data_dir, sources.names_path),
        report_run.train_counts(first, sources.data_dir),
        Thumbnails(sources.data_dir),
    )
    epochs, stats_path = report_run.read_stats(first, sources.run_dir)
    rows = html.class_rows(subject.table, subject.names, subject.train_counts)
    sections = [
        section("summary", "At a glance", _summary(subject)),
        section("runs", "Runs compared", _comparison(subject, others)),
        section("training", "Training", _charts(report_run.training_curves(epochs))),
        section("frequency", "What imbalance costs", *_frequency(subject)),
        section("classes", "Classes", html.class_section(rows, subject.train_counts is not None)),
        section("confusions", "Confused pairs", _confusions(subject)),
        section(
            "calibration",
            "Calibration",
            _calibration(subject),
            "A network that is 90 % sure should be right nine times of ten.",
        ),
        section(
            "mistakes",
            "Confident mistakes",
            _mistakes(subject),
            "Wrong, and sure of it. Some of these labels may be wrong instead.",
        ),
        section("hardest", "Hardest classes", _hardest(subject)),
        section(
            "labels",
            "Probable label errors in training",
            _label_errors(subject, training),
            "Another class is far more probable than the label. Look before you delete: these are suspicions.",
        ),
        section("unreadable", "Unreadable pictures", _unreadable(first)),
    ]
    return _page(first, [part for part in sections if part], rows), _remarks(subject, stats_path, training, sources)


def _sort_out(runs):
    """(the subject, runs over the same images, runs over training lists)."""
    for run in runs:
        lacking = [
            what
            for what, absent in (
                ("scores", run.arrays.scores is None),
                ("labels", run.labels is None),
                ("rows", not run.arrays.names),
            )
            if absent
        ]
        if lacking:
            raise DataError(f"{run.path}: has no {lacking[0]}; a report needs predictions of labelled images")
        if not (-1e-5 <= run.arrays.scores.min() and run.arrays.scores.max() <= 1 + 1e-5):
            raise DataError(f"{run.path}: its scores are not probabilities; a report speaks of how sure the network is")
    first, others, training = runs[0], [], []
    for run in runs[1:]:
        if run.arrays.names != first.arrays.names and split_of(run) == "train":
            training.append(run)
        else:
            same_images(first, run)
            others.append(run)
    return first, others, training or [first] * (split_of(first) == "train")


def _summary(subject):
    run, card = subject.run, subject.card
    unreadable, absent = card["unreadable_images"], card["classes_without_images"]
    return html.tiles(card) + html.facts(
        [
            ("predictions", run.path),
            ("list", run.header.get("list", {}).get("path")),
            ("images", f"{len(run.labels):,}"),
            ("classes", f"{card['classes']:,}" + (f", {absent} without images" if absent else "")),
            ("model", _model(run) or None),
            ("checkpoint", run.header.get("checkpoint", {}).get("path")),
            ("unreadable", f"{unreadable} of the pictures, counted as wrong" if unreadable else None),
        ]
    )


def _model(run):
    model = run.header.get("model", {})
    name = str(model.get("name") or "")
    return " ".join(
        [name, *(str(model[key]) for key in ("mode", "depth") if str(model.get(key, "")) not in name)]
    ).strip()


def _charts(charts):
    return f'<div class="charts">{charts}</div>' if charts else ""


def _comparison(subject, others):
    if not others:
        return ""
    differences = [
        intervals.compare(subject.run.labels, subject.wrong[1], scorecard.outcomes(run, 1), subject.run.class_range)
        for run in others
    ]
    return html.comparison([subject.card, *map(scorecard.score, others)], differences)


def _frequency(subject):
    """(body, lead)"""
    if subject.train_counts is None:
        return "", ""
    effect = figures.error_by_frequency(subject.train_counts, subject.table.errors1, subject.table.errors5)
    if effect is None:
        return "<p>All classes have equally many training images.</p>", ""
    groups = [
        (report_charts.short(b.low), f"{b.classes} classes with {b.low} to {b.high} training images", [b.top1, b.top5])
        for b in effect.bins
    ]
    lead = (
        f"The rarest fifth of the classes has {share(effect.rare)} top-1 error, the most frequent fifth "
        f"{share(effect.frequent)}; the most frequent class has {effect.ratio:,.0f} times the training images of the "
        "rarest."
    )
    chart = report_charts.bar_chart(
        "Mean error of classes, by their training images",
        groups,
        ["top-1 error", "top-5 error"],
        x_name="training images of a class, from",
    )
    return chart + html.frequency_table(effect), lead


def _confusions(subject):
    pairs = metrics.confusion_pairs(subject.run.labels, subject.run.arrays.top[:, 0])
    counts = {(pair.label, pair.predicted): pair.count for pair in pairs}
    return html.confusions(pairs[:SHOWN_PAIRS], subject.names, counts)


def _calibration(subject):
    arrays = subject.run.arrays
    found = reliability(arrays.scores[:, 0], metrics.topk_wrong(subject.run.labels, arrays.top, 1))
    return _charts(report_charts.reliability_charts(found))


def _cards(subject, run, rows):
    """What the gallery shows of `rows` of `run`."""
    split, arrays = split_of(run), run.arrays
    for row in rows:
        yield (
            subject.thumbnails.address(arrays.names[row], split),
            arrays.names[row],
            subject.names[run.labels[row]],
            subject.names[arrays.top[row, 0]],
            float(arrays.scores[row, 0]),
        )


def _mistakes(subject):
    rows = figures.confident_mistakes(subject.run, SHOWN_MISTAKES)
    return html.gallery(_cards(subject, subject.run, rows))


def _hardest(subject):
    parts = []
    for c, rows in figures.hardest_classes(subject.run, subject.table, HARD_CLASSES, HARD_IMAGES):
        wrong = f"{share(subject.table.errors1[c])} of {subject.table.images[c]} images wrong"
        parts.append(f"<h3>{esc(subject.names[c])} <small>{wrong}</small></h3>")
        parts.append(html.gallery(_cards(subject, subject.run, rows)))
    return "".join(parts)


def _label_errors(subject, training):
    if not training:
        return html.read_part("training.html")
    found = [(margin, run, row) for run in training for row, margin in figures.probable_label_errors(run)]
    found.sort(key=lambda item: -item[0])
    shown = found[:SHOWN_LABEL_ERRORS]
    labels = sum(len(run.labels) for run in training)
    told = f"<p>{len(found):,} of {labels:,} labels are suspect; the first {len(shown)} of them:</p>"
    return told + html.gallery(card for _, run, row in shown for card in _cards(subject, run, [row]))


def _unreadable(run):
    return html.problems([(name, reason) for name, reason in zip(run.arrays.names, run.arrays.problems) if reason])


def _page(run, sections, rows):
    style, script = html.read_part("page.css"), html.read_part("page.js")
    headings = re.findall(r'<section id="(\w+)".*?<h2[^>]*>(.*?)</h2>', "".join(sections), re.DOTALL)
    data = json.dumps(
        {"columns": [[key, kind] for key, _, kind in html.TABLE_COLUMNS], "rows": rows}, separators=(",", ":")
    )
    evaluated = os.path.basename(str(run.header.get("list", {}).get("path", "a list")))
    return html.fill(
        "page.html",
        {
            "title": esc(f"What {_model(run) or os.path.basename(run.path)} on {evaluated} gets wrong"),
            "links": "".join(f'<li><a href="#{key}">{title}</a></li>' for key, title in headings),
            "sections": "\n".join(sections),
            "data": data.replace("<", "\\u003c"),  # so that no name can end the element that holds it
            "style": style,
            "style_hash": _digest(style),
            "script": script,
            "script_hash": _digest(script),
        },
    )


def _digest(text):
    """What the page's content security policy calls the one script, or style sheet, that it lets in."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _remarks(subject, stats_path, training, sources):
    remarks = []
    missing = subject.thumbnails.missing
    if sources.data_dir is None:
        remarks.append("without --data DIR the report has no pictures")
    elif missing:
        remarks.append(f"{missing} pictures could not be shown: not found or not readable below {sources.data_dir}")
    if stats_path is None:
        remarks.append(
            "no stats.json beside the checkpoint or the predictions: no training curves (--run DIR names the run)"
        )
    if subject.train_counts is None:
        remarks.append("training images of the classes are not known: no error by frequency (--data DIR tells)")
    if not training:
        remarks.append("no predictions over the training list: no search for wrong labels")
    return remarks
