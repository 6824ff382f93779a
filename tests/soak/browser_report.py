"""The report in a real browser: `make test-browser`. Speaks the WebDriver protocol itself, so it needs only chromium
and chromedriver.

Not collected by `make test`, which must pass on machines without a browser; tests/scoring/test_report.py checks the
same pages there.
"""

import base64
import json
import re

import numpy as np
import pytest

from tests.scoring.test_report import hostile_report
from tests.support import report_fixtures
from webvision.scoring.predictions.file import PredictionWriter
from webvision.scoring.report import report


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    report_fixtures.make_run(folder, val_images=200, train_images=400)
    paths = [folder / "run/predictions.json", folder / "run/b.json", folder / "run/train.json"]
    (folder / "report.html").write_text(
        report.build_report(paths, report.Sources(str(folder / "DATA")))[0], encoding="utf-8"
    )
    (folder / "hostile.html").write_text(hostile_report(folder), encoding="utf-8")
    (folder / "large.html").write_text(large_report(folder), encoding="utf-8")
    return folder


def large_report(folder, classes=5000, images=290_000):
    rng = np.random.default_rng(0)
    header = {
        "classes": {
            "count": classes,
            "names": [f"n{c:08d} a class called number {c}" for c in range(classes)],
            "train_counts": rng.integers(300, 11_000, classes).tolist(),
        },
        "list": {"path": str(folder / "DATA/meta/val.txt")},
    }
    with PredictionWriter(folder / "large.json", header) as writer:
        for start in range(0, images, 5000):
            labels = rng.integers(0, classes, 5000)
            top = (labels[:, None] + np.array([0, 1, 2, 3, 4]) * rng.integers(1, 99, (5000, 1))) % classes
            top = np.where(rng.random((5000, 1)) < 0.45, top[:, ::-1], top)
            names = [
                f"val{(start + i) % 200:06d}.jpg" if i == start else f"val{start + i:06d}.jpg" for i in range(5000)
            ]
            writer.write(names, labels, top, -np.sort(-rng.dirichlet([6, 1, 1, 1, 1], 5000)))
    return report.build_report([folder / "large.json"], report.Sources(str(folder / "DATA")))[0]


@pytest.fixture
def opened(browser, pages):
    browser.devtools("Emulation.clearDeviceMetricsOverride")
    browser.devtools("Emulation.setEmulatedMedia", media="", features=[])
    browser.open(pages / "report.html")
    browser.complaints()
    browser.open(pages / "report.html")
    return browser


COLUMN = "return [...document.querySelectorAll('#classes-table tbody tr')].map(r => r.children[%d].textContent)"


def click(browser, selector):
    browser.run(f"document.querySelector({json.dumps(selector)}).click()")


def test_it_opens_from_disk_without_a_complaint_and_without_the_network(opened):
    assert opened.complaints() == []
    assert (
        opened.run(
            "return performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:')).map(e => e.name)"
        )
        == []
    )
    assert opened.run("return [...document.images].every(i => i.complete && i.naturalWidth > 0)")
    opened.shot("light")


def test_a_click_sorts_and_another_turns_the_order_round(opened):
    errors = [float(text.split()[0]) for text in opened.run(COLUMN % 1)]
    assert errors == sorted(errors, reverse=True) and len(errors) == 12
    click(opened, "th[data-key=images] button")
    images = list(map(int, opened.run(COLUMN % 3)))
    assert images == sorted(images, reverse=True)
    click(opened, "th[data-key=images] button")
    assert list(map(int, opened.run(COLUMN % 3))) == sorted(images)
    assert opened.run("return document.querySelector('th[data-key=images]').getAttribute('aria-sort')") == "ascending"
    click(opened, "th[data-key=name] button")
    assert opened.run(COLUMN % 0) == sorted(report_fixtures.CLASSES)


def test_the_keyboard_alone_filters_and_sorts(opened):
    opened.press("/")
    assert opened.run("return document.activeElement.id") == "filter"
    opened.press(*"AN")
    assert (
        sorted(opened.run(COLUMN % 0)) == ["banana", "dandelion"]
        and opened.run("return document.querySelector('#count').textContent") == "2 of 12 classes"
    )
    opened.press("Escape")
    assert len(opened.run(COLUMN % 0)) == 12
    for _ in range(6):  # the select, the table's scroll area, four headings
        opened.press("Tab")
    assert opened.run("return document.activeElement.textContent") == "images"
    outline = opened.run("return getComputedStyle(document.activeElement).outlineStyle")
    opened.press("Enter")
    images = list(map(int, opened.run(COLUMN % 3)))
    assert images == sorted(images, reverse=True) and outline == "solid"


def test_everything_that_works_by_mouse_is_reached_by_tab(opened):
    opened.run("document.activeElement.blur()")
    reached = set()
    for _ in range(60):
        opened.press("Tab")
        reached.add(opened.run("const e = document.activeElement; return e.id || e.textContent.trim().slice(0, 30)"))
    wanted = opened.run(
        "return [...document.querySelectorAll('button:not(:disabled), input, select, summary, a')].map(e => e.id || "
        "e.textContent.trim().slice(0, 30))"
    )
    assert set(wanted) <= reached


def test_the_group_menu_and_no_match(opened):
    opened.run("const g = document.querySelector('#group'); g.value = 'worst'; g.dispatchEvent(new Event('change'))")
    assert all(float(text.split()[0]) >= 50 for text in opened.run(COLUMN % 1))
    opened.run("const f = document.querySelector('#filter'); f.value = 'zzz'; f.dispatchEvent(new Event('input'))")
    assert (
        opened.run(COLUMN % 0) == []
        and opened.run("return document.querySelector('#count').textContent") == "0 of 12 classes"
    )


def test_hostile_names_do_nothing(browser, pages):
    browser.open(pages / "hostile.html")
    assert browser.complaints() == []
    assert browser.run("return document.images.length") == 0 and browser.run("return document.scripts.length") == 2
    assert browser.run("return document.body.textContent.includes('<img src=x onerror=alert(1)>')")
    click(browser, "th[data-key=name] button")
    assert "<img src=x onerror=alert(1)>" in browser.run(COLUMN % 0)


def test_the_policy_of_the_page_stops_a_script_that_got_in(opened):
    opened.run("document.body.insertAdjacentHTML('beforeend', '<img src=\"x:\" onerror=\"window.hacked = 1\">')")
    assert opened.run("return new Promise(done => setTimeout(() => done(window.hacked === undefined), 200))")
    assert any("Content Security Policy" in text for text in opened.complaints())


def test_light_and_dark_follow_the_system_and_the_button(opened):
    ground = "return getComputedStyle(document.body).backgroundColor"
    assert opened.run(ground) == "rgb(255, 255, 255)"
    opened.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert opened.run(ground) == "rgb(20, 23, 27)"
    opened.shot("dark")
    click(opened, "#theme")
    assert opened.run(ground) == "rgb(255, 255, 255)"
    click(opened, "#theme")
    opened.devtools("Emulation.setEmulatedMedia", features=[])
    assert opened.run(ground) == "rgb(20, 23, 27)"


@pytest.mark.parametrize("page", ["report.html", "large.html", "hostile.html"])
def test_a_phone_shows_it_without_scrolling_sideways(opened, pages, page):
    opened.devtools("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
    opened.open(pages / page)
    assert opened.run("return [document.documentElement.scrollWidth, innerWidth]") == [360, 360]
    opened.shot(f"phone-{page[:-5]}")


def test_it_prints(opened):
    opened.devtools("Emulation.setEmulatedMedia", media="print")
    assert opened.run(
        "return ['nav', '#theme', '.controls'].every(s => getComputedStyle(document.querySelector(s)).display === "
        "'none')"
    )
    assert opened.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    document = base64.b64decode(opened.devtools("Page.printToPDF", printBackground=False)["data"])
    assert document.startswith(b"%PDF") and 2 <= len(re.findall(rb"/Type /Page\b", document)) < 30


def test_without_scripts_the_worst_classes_are_there(opened, pages):
    opened.devtools("Emulation.setScriptExecutionDisabled", value=True)
    try:
        opened.open(pages / "report.html")
        text = opened.devtools("DOMSnapshot.captureSnapshot", computedStyles=[])["strings"]
        assert {"juniper", "lemon"} <= set(text)
    finally:
        opened.devtools("Emulation.setScriptExecutionDisabled", value=False)


def test_five_thousand_classes_are_interactive_within_a_second(browser, pages):
    assert (pages / "large.html").stat().st_size < 5_000_000
    browser.devtools("Emulation.clearDeviceMetricsOverride")
    times = []
    for _ in range(3):
        browser.open(pages / "large.html")
        times.append(browser.run("const t = performance.getEntriesByType('navigation')[0]; return t.loadEventEnd"))
    assert min(times) < 1000 and browser.complaints() == []
    timed = "const start = performance.now(); %s; document.body.offsetHeight; return performance.now() - start"
    for action in (
        "document.querySelector('th[data-key=name] button').click()",
        "document.querySelector('th[data-key=top5] button').click()",
        "const f = document.querySelector('#filter'); f.value = 'number 12'; f.dispatchEvent(new Event('input'))",
    ):
        assert min(browser.run(timed % f"{{ {action} }}") for _ in range(3)) < 200
    browser.run("const f = document.querySelector('#filter'); f.value = ''; f.dispatchEvent(new Event('input'))")
    assert (
        len(browser.run(COLUMN % 0)) == 100
        and browser.run("return document.querySelector('#page').textContent") == "page 1 of 50"
    )
    click(browser, "#next")
    assert browser.run("return document.querySelector('#page').textContent") == "page 2 of 50"
    click(browser, "#everything")
    assert len(browser.run(COLUMN % 0)) == 5000
    print(f"interactive after {min(times):.0f} ms")
