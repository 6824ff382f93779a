"""The page of `webvision serve` in a real browser: `make test-browser`."""

import threading
import time

import pytest

from tests.support.own_pictures import encoded, heic, photograph
from tests.support.serving_fixtures import Snapshot, by_colour
from webvision.commands.serving import PictureAnswers
from webvision.inference.serving.server import make_server


@pytest.fixture
def page(browser):
    answers = PictureAnswers(Snapshot(), by_colour, 3)
    server = make_server(
        "127.0.0.1", 0, model_line="<b>run</b> tells 3 classes apart", predict=answers.predict, regions=answers.regions
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    browser.visit(f"http://127.0.0.1:{server.server_address[1]}/")
    yield browser
    server.shutdown()
    server.server_close()


def choose(page, path):
    """Choose a file as a person does, through the input."""
    root = page.devtools("DOM.getDocument")["root"]["nodeId"]
    node = page.devtools("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
    page.devtools("DOM.setFileInputFiles", nodeId=node, files=[str(path)])


def wait_for(page, script):
    for _ in range(600):
        if value := page.run(f"return {script}"):
            return value
        time.sleep(0.05)
    raise AssertionError(f"never: {script}; {page.run('return document.body.innerText')}")


def test_names_bars_view_and_regions_appear(page, tmp_path):
    (tmp_path / "x.jpg").write_bytes(encoded(photograph(1, 3)))
    choose(page, tmp_path / "x.jpg")
    wait_for(page, "document.body.dataset.painted")
    names = page.run("return [...document.querySelectorAll('td.name')].map(x => x.textContent)")
    assert names[0] == "<i>green</i>" and len(names) == 3
    assert page.run("return document.querySelector('progress').value") > 0.33
    assert page.run("return document.getElementById('view').naturalWidth") == 224
    painted = "[...document.getElementById('map').getContext('2d').getImageData(0,0,7,7).data].some(x => x > 100)"
    assert page.run(f"return {painted}")
    assert page.run("return document.querySelectorAll('i, b').length") == 0  # names are text
    assert page.complaints() == []  # neither errors nor what the content policy blocked


def test_a_phones_picture_is_taken_and_what_is_none_is_said(page, tmp_path):
    (tmp_path / "x.heic").write_bytes(heic(photograph(2, 3)))
    choose(page, tmp_path / "x.heic")
    wait_for(page, "document.body.dataset.painted")
    assert page.run("return document.querySelector('td.name').textContent") == "red"
    (tmp_path / "x.jpg").write_bytes(b"hello")
    choose(page, tmp_path / "x.jpg")
    wait_for(page, "document.getElementById('trouble').textContent.includes('no picture')")
    assert page.run("return document.getElementById('said').hidden")


def test_a_picture_can_be_dropped(page, tmp_path):
    page.run(
        """
        const canvas = document.createElement('canvas');
        canvas.width = canvas.height = 64;
        const pen = canvas.getContext('2d');
        pen.fillStyle = '#fa1414';
        pen.fillRect(0, 0, 64, 64);
        canvas.toBlob(blob => {
          const data = new DataTransfer();
          data.items.add(new File([blob], 'x.png'));
          document.getElementById('drop').dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true}));
        });
        """
    )
    assert wait_for(page, "(document.querySelector('td.name') || {}).textContent") == "red"


def test_it_works_with_the_keyboard_and_on_a_narrow_screen(page):
    page.press("Tab")
    assert page.run("return document.activeElement.id") == "file"
    page.devtools("Emulation.setDeviceMetricsOverride", width=320, height=600, deviceScaleFactor=1, mobile=True)
    assert page.run("return document.documentElement.scrollWidth") <= 320
