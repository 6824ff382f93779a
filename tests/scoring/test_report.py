"""The report as a file: complete, self-contained, safe against names, right in its numbers.
tests/soak/browser_report.py uses it in a browser."""

import base64
import hashlib
import html.parser
import json
import os
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest

from tests.support import report_fixtures
from tests.support.data_set import ROOT
from webvision.errors import DataError, UsageError
from webvision.scoring.figures import scorecard
from webvision.scoring.predictions.loaded import load_run
from webvision.scoring.report import charts, figures, report
from webvision.scoring.report import html as report_html
from webvision.scoring.report import sources as report_run

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    '"><b onmouseover=alert(1)>',
    "{{data}}",
    "\x1b[31mred",
    "\u202egnp.exe",
    b"raw\xe9".decode("utf-8", "surrogateescape"),
    "-->",
    "' onload='alert(1)",
    "&lt;i&gt;",
    "</title><h1>",
    "=cmd()",
]
VOID = {"meta", "link", "img", "input", "br", "hr"}


class Page(html.parser.HTMLParser):
    """The elements of a page, in order; fails on tags that do not close."""

    def __init__(self, text):
        super().__init__()
        self.elements, self._open, self._texts = [], [], []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.elements.append([tag, dict(attrs), ""])
        if tag not in VOID:
            self._open.append(self.elements[-1])

    def handle_startendtag(self, tag, attrs):
        self.elements.append([tag, dict(attrs), ""])

    def handle_endtag(self, tag):
        assert self._open and self._open[-1][0] == tag, (
            f"</{tag}> closes <{self._open[-1][0] if self._open else 'nothing'}>"
        )
        self._open.pop()

    def handle_data(self, data):
        for element in self._open:
            element[2] += data.replace("\u00a0", " ")

    def all(self, tag, **attributes):
        return [
            e for e in self.elements if e[0] == tag and all(e[1].get(k.rstrip("_")) == v for k, v in attributes.items())
        ]

    def section(self, key):
        return next((e[2] for e in self.all("section", id=key)), None)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    flipped = report_fixtures.make_run(folder, val_images=150, train_images=400)
    return folder, set(flipped.tolist())


@pytest.fixture(scope="module")
def page(run):
    folder, _ = run
    text, remarks = report.build_report(
        [folder / "run/predictions.json", folder / "run/b.json", folder / "run/train.json"],
        report.Sources(str(folder / "DATA")),
    )
    assert remarks == []
    return text


def hostile_report(tmp_path, **header):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 12, 60)
    names = [f"{name}{i}" for i in range(5) for name in HOSTILE]
    report_fixtures.write_predictions(
        tmp_path / "p.json",
        names,
        labels,
        report_fixtures.scores_for(labels, rng, [1] * 12),
        header={
            "classes": {"count": 12, "names": HOSTILE},
            "list": {"path": HOSTILE[0]},
            "model": {"name": HOSTILE[1]},
            "checkpoint": {"path": HOSTILE[2]},
            **header,
        },
        problems=[None] * 48 + HOSTILE,
    )
    return report.build_report([tmp_path / "p.json"])[0]


def test_the_page_is_whole_and_every_section_is_reached_from_the_top(page):
    parsed = Page(page)
    ids = [e[1]["id"] for e in parsed.elements if "id" in e[1]]
    assert len(set(ids)) == len(ids)
    links = [e[1]["href"][1:] for e in parsed.all("a") if e[1]["href"].startswith("#")]
    assert set(links) <= set(ids)
    assert links[1:] == [
        "summary",
        "runs",
        "training",
        "frequency",
        "classes",
        "confusions",
        "calibration",
        "mistakes",
        "hardest",
        "labels",
        "unreadable",
    ]


def test_the_page_needs_nothing_from_elsewhere(page):
    for tag, attributes, _ in Page(page).elements:
        for key in ("src", "href", "action", "data", "poster", "srcset"):
            assert attributes.get(key, "#").startswith(("#", "data:")), (tag, attributes)
    assert not re.search(r"url\(|@import|https?://", page.replace("data:image/jpeg;base64,", ""))


def test_only_its_own_script_and_style_may_run(page):
    parsed = Page(page)
    policy = next(e[1]["content"] for e in parsed.all("meta") if e[1].get("http-equiv") == "Content-Security-Policy")
    for tag in ("style", "script"):
        text = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert (
            len(text) == 1
            and f"'sha256-{base64.b64encode(hashlib.sha256(text[0].encode()).digest()).decode()}'" in policy
        )
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert not [e for e in parsed.elements if any(key.startswith("on") or key == "style" for key in e[1])]


def test_names_are_text_wherever_they_stand(tmp_path, page):
    text = hostile_report(tmp_path)
    parsed = Page(text)
    assert (
        {e[0] for e in parsed.elements} <= {"code", *(e[0] for e in Page(page).elements)}
        and len(parsed.all("script")) == 2
        and parsed.all("img") == []
    )
    assert not [e for e in parsed.elements if any(key.startswith("on") for key in e[1])]
    assert len(parsed.all("h1")) == 1 and parsed.all("title")[0][2] == f"What {HOSTILE[1]} on {HOSTILE[0]} gets wrong"
    assert (
        "\x1b" not in text
        and "\u202e" not in text
        and "\\x1b[31mred" in text
        and "\\u202egnp" in text
        and "raw\\xe9" in text
    )
    text.encode("utf-8")
    assert HOSTILE[0] in parsed.section("mistakes") + parsed.section("unreadable") and HOSTILE[3] in parsed.section(
        "confusions"
    )
    data = json.loads(parsed.all("script", id="data")[0][2])
    assert [row[0] for row in data["rows"]][:4] == HOSTILE[:4]


def test_the_class_table_holds_the_figures_of_the_predictions(run, page):
    folder, _ = run
    loaded = load_run(folder / "run/predictions.json")
    card = scorecard.score(loaded, per_class=True)
    data = json.loads(Page(page).all("script", id="data")[0][2])
    keys = [key for key, _ in data["columns"]]
    for row, expected in zip(data["rows"], card["per_class"], strict=True):
        row = dict(zip(keys, row))
        assert (row["name"], row["images"]) == (expected["name"], expected["images"])
        assert row["top1"] == pytest.approx(expected["top1_error"], abs=1e-4) and row["f1"] == pytest.approx(
            expected["f1"], abs=1e-4
        )
    shown = Page(page).section("classes")
    hardest = max(card["per_class"], key=lambda row: row["top1_error"])
    assert (
        f"{hardest['name']}{100 * hardest['top1_error']:.1f} %" in shown
    )  # the first rows are there without a script too


def test_the_headline_is_the_scorecards(run, page):
    folder, _ = run
    card = scorecard.score(load_run(folder / "run/predictions.json"))
    summary = Page(page).section("summary")
    for found in card["errors"].values():
        for value in (found["error"], *found["interval"], found["balanced_error"], *found["balanced_interval"]):
            assert f"{100 * value:.1f} %" in summary
    assert "better" in Page(page).section("runs")


def test_wrong_labels_come_first_among_the_suspects(run):
    folder, flipped = run
    rows = [row for row, _ in figures.probable_label_errors(load_run(folder / "run/train.json"))]
    assert len(flipped) == 20 and len(set(rows[:10]) & flipped) >= 9 and len(set(rows[:25]) & flipped) >= 11


def test_the_folds_of_a_cross_validation_are_judged_together(run, tmp_path):
    folder, _ = run
    document = json.loads((folder / "run/train.json").read_text())
    whole = Page(report.build_report([folder / "run/predictions.json", folder / "run/train.json"])[0]).section("labels")
    for fold in (0, 1):
        part = {
            **document,
            "predictions": document["predictions"][fold::2],
            "header": {**document["header"], "list": {"path": f"train-fold{fold}.txt"}},
        }
        (tmp_path / f"{fold}.json").write_text(
            json.dumps({k: v for k, v in part.items() if k not in ("rows", "names_sha256")})
        )
    folds = Page(
        report.build_report([folder / "run/predictions.json", tmp_path / "0.json", tmp_path / "1.json"])[0]
    ).section("labels")
    assert "of 400 labels are suspect" in whole and "of 400 labels are suspect" in folds
    names = [set(re.findall(r"\w+/\d{5}\.jpg", text)) for text in (whole, folds)]
    assert len(names[0] & names[1]) >= 0.8 * len(names[0])


def test_thumbnails_are_small_pictures_made_again(page):
    sources = [e[1]["src"] for e in Page(page).all("img")]
    assert len(sources) > 40
    for source in sources:
        image = cv2.imdecode(np.frombuffer(base64.b64decode(source.partition(",")[2]), np.uint8), cv2.IMREAD_COLOR)
        assert max(image.shape[:2]) <= 168 and min(image.shape[:2]) > 40
    assert all("taken for" in e[1]["alt"] for e in Page(page).all("img"))


@pytest.mark.parametrize(
    "name", ["../secret.jpg", "a/../../secret.jpg", "/etc/passwd", "missing.jpg", "nul\0.jpg", "folder"]
)
def test_pictures_outside_the_data_folder_are_not_read(tmp_path, name):
    (tmp_path / "DATA/val/folder").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "DATA/secret.jpg"), np.zeros((50, 50, 3), np.uint8))
    labels = np.array([0, 1])
    report_fixtures.write_predictions(
        tmp_path / "p.json",
        [name, "x.jpg"],
        labels,
        np.array([[0.1, 0.9], [0.8, 0.2]], np.float32),
        header={"classes": {"count": 2}},
        k=2,
    )
    text, remarks = report.build_report([tmp_path / "p.json"], report.Sources(str(tmp_path / "DATA")))
    assert Page(text).all("img") == [] and any("could not be shown" in remark for remark in remarks)


def test_frequency_bins_are_means_over_classes():
    effect = figures.error_by_frequency(
        [1, 2, 10, 20, 5], np.array([0.9, 0.7, 0.1, 0, np.nan]), np.array([0.5, 0.5, 0, 0, np.nan]), bins=2
    )
    assert effect.bins == [(1, 2, 2, pytest.approx(0.8), 0.5), (10, 20, 2, 0.05, 0)] and (
        effect.rare,
        effect.frequent,
        effect.ratio,
    ) == (0.9, 0, 20)
    assert figures.error_by_frequency([5, 5], np.array([0.1, 0.2]), np.zeros(2)) is None
    assert figures.error_by_frequency([5, 7], np.array([0.1, np.nan]), np.zeros(2)) is None


def test_probabilities_of_labels_outside_the_best_are_bounded(tmp_path):
    scores = np.array([[0.5, 0.3, 0.1, 0.06, 0.04], [0.96, 0.02, 0.01, 0.005, 0.005]], np.float32)
    report_fixtures.write_predictions(
        tmp_path / "p.json", ["a", "b"], np.array([1, 4]), scores, header={"classes": {"count": 5}}, k=2
    )
    np.testing.assert_allclose(figures.label_probabilities(load_run(tmp_path / "p.json")), [0.3, 0.02], atol=1e-6)


def test_the_same_predictions_give_the_same_page(run, page):
    folder, _ = run
    paths = [folder / "run/predictions.json", folder / "run/b.json", folder / "run/train.json"]
    assert report.build_report(paths, report.Sources(str(folder / "DATA")))[0] == page


def test_what_is_not_known_is_left_out_and_said(tmp_path):
    labels = np.arange(12)
    report_fixtures.write_predictions(
        tmp_path / "p.json",
        [f"{i}" for i in range(12)],
        labels,
        report_fixtures.scores_for(labels, np.random.default_rng(0), [1] * 12),
    )
    text, remarks = report.build_report([tmp_path / "p.json"])
    parsed = Page(text)
    assert parsed.section("training") is None and parsed.section("frequency") is None and parsed.section("runs") is None
    assert "in training" not in parsed.section("classes") and [len(remarks), len(parsed.all("svg"))] == [4, 2]


def test_synset_lines_give_readable_names_that_differ(tmp_path):
    (tmp_path / "words.txt").write_text(
        "n02165456 ladybug, ladybeetle, lady beetle\nn02012849 crane\nn03126707 crane, lifting device\nplain name\n"
    )
    report_fixtures.write_predictions(
        tmp_path / "p.json",
        list("abcd"),
        np.arange(4),
        np.eye(4, dtype=np.float32),
        header={"classes": {"count": 4, "names": list("wxyz")}},
        k=2,
    )
    found = load_run(tmp_path / "p.json")
    assert report_run.class_names(found) == list("wxyz")
    assert report_run.class_names(found, names_path=tmp_path / "words.txt") == [
        "ladybug",
        "crane (n02012849)",
        "crane (n03126707)",
        "plain name",
    ]
    (tmp_path / "words.txt").write_text("one\n")
    with pytest.raises(UsageError, match="1 lines for 4 classes"):
        report_run.class_names(found, names_path=tmp_path / "words.txt")


@pytest.mark.parametrize("stats", ["{", "{}", "[1]", "[" * 100_000])
def test_a_damaged_history_is_an_error_that_names_it(run, tmp_path, stats):
    (tmp_path / "stats.json").write_text(stats)
    with pytest.raises(DataError, match="stats.json"):
        report.build_report([run[0] / "run/predictions.json"], report.Sources(run_dir=str(tmp_path)))


def test_a_history_with_gaps_and_odd_values_is_drawn_as_far_as_it_goes(run, tmp_path):
    history = [
        {"epoch_num": 1, "learning_rate": 0, "val-error-top1": 0.9, "note": "x"},
        {"epoch_num": 2, "val-error-top1": float("nan")},
        {"epoch_num": 3, "val-error-top1": 0.5, "train-loss": 1},
    ]
    (tmp_path / "stats.json").write_text(json.dumps(history))
    section = Page(
        report.build_report([run[0] / "run/predictions.json"], report.Sources(run_dir=str(tmp_path)))[0]
    ).section("training")
    assert "Error" in section and "epoch 3: 50 %" in section and "Loss" in section and "Learning rate" not in section


def test_predictions_that_a_report_cannot_speak_of_are_refused(tmp_path, run):
    labels, scores = np.arange(12), np.eye(12, dtype=np.float32)
    report_fixtures.write_predictions(tmp_path / "none.json", list("abcdefghijkl"), None, scores)
    report_fixtures.write_predictions(tmp_path / "logits.json", list("abcdefghijkl"), labels, 9 * scores)
    report_fixtures.write_predictions(tmp_path / "other.json", list("abcdefghijkl"), labels, scores)
    for name, words in (("none", "has no labels"), ("logits", "not probabilities")):
        with pytest.raises(DataError, match=words):
            report.build_report([tmp_path / f"{name}.json"])
    with pytest.raises(DataError, match="row 1: not the images of"):
        report.build_report([run[0] / "run/predictions.json", tmp_path / "other.json"])


def test_many_classes_and_images_stay_a_small_page(tmp_path):
    rng = np.random.default_rng(0)
    classes, images = 5000, 20_000
    labels = rng.integers(0, classes, images)
    top = np.stack([labels, *(rng.integers(0, classes - 1, (4, images)) + 1)], 1)
    top[:, 1:] = (labels[:, None] + 1 + np.cumsum(1 + top[:, 1:] % 1000, axis=1)) % classes
    top = np.where(rng.random((images, 1)) < 0.4, top[:, ::-1], top)
    header = {
        "classes": {
            "count": classes,
            "names": [f"n{c:08d}" for c in range(classes)],
            "train_counts": rng.integers(300, 11_000, classes).tolist(),
        }
    }
    from webvision.scoring.predictions.file import PredictionWriter

    with PredictionWriter(tmp_path / "p.json", header) as writer:
        writer.write(
            [f"val{i:06d}.jpg" for i in range(images)], labels, top, -np.sort(-rng.dirichlet([5, 1, 1, 1, 1], images))
        )
    text, _ = report.build_report([tmp_path / "p.json"])
    assert len(text) < 1_000_000  # pictures come on top, and have a budget of 3 MB
    assert len(json.loads(Page(text).all("script", id="data")[0][2])["rows"]) == classes


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_has_contrast_in_both_themes(theme):
    with open(os.path.join(report_html.PAGE, "page.css"), encoding="utf-8") as file:
        css = file.read()
    block = css[css.index('[data-theme="dark"] {') if theme == "dark" else 0 :]
    colour = {
        name: tuple(int(value[i : i + 2], 16) / 255 for i in (0, 2, 4))
        for name, value in re.findall(r"--(\w+): #(\w{6})", block[: block.index("}")])
    }

    def luminance(rgb):
        linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in rgb]
        return np.dot(linear, [0.2126, 0.7152, 0.0722])

    def contrast(a, b):
        low, high = sorted((luminance(colour[a]), luminance(colour[b])))
        return (high + 0.05) / (low + 0.05)

    assert all(
        contrast(ink, ground) >= 4.5 for ink in ("ink", "soft", "link") for ground in ("paper", "panel")
    )  # WCAG 2.1, AA
    assert all(contrast(f"c{i}", "paper") >= 3 for i in range(8))


def test_axes_have_round_ticks_and_hold_their_data():
    chart = charts.line_chart("x", [charts.Series("a", [(1, 0.2), (2, float("inf")), (7, 0.93)])])
    points = [tuple(map(float, p.split(","))) for p in re.search(r'points="([^"]*)"', chart)[1].split()]
    assert len(points) == 2 and all(0 <= x <= charts.WIDTH and 0 <= y <= charts.HEIGHT for x, y in points)
    assert re.findall(r">(\d+ %)<", chart) == ["0 %", "20 %", "40 %", "60 %", "80 %"]
    assert charts.line_chart("x", [charts.Series("a", [])]) == "" and [
        charts.short(n) for n in (7, 950, 1234, 37_000, 2_100_000)
    ] == ["7", "950", "1.2k", "37k", "2.1M"]


def test_the_command_writes_beside_the_predictions(run):
    folder, _ = run
    script = [sys.executable, os.path.join(ROOT, "utils/report.py")]
    done = subprocess.run(
        [*script, "run/predictions.json", "--data", "DATA"], cwd=folder, capture_output=True, text=True
    )
    assert (
        done.returncode == 0
        and done.stdout.startswith("run/report.html: ")
        and "no predictions over the training list" in done.stderr
    )
    Page((folder / "run/report.html").read_text(encoding="utf-8"))
    missing = subprocess.run([*script, "nothing.json"], cwd=folder, capture_output=True, text=True)
    assert missing.returncode == 3 and "Traceback" not in missing.stderr
