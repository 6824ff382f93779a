"""The page's server: what it answers, what it takes, and who may ask it. In a browser: tests/soak/browser_serve.py."""

import base64
import http.client
import json
import socket
import threading

import cv2
import numpy as np
import pytest

from tests.support.own_pictures import encoded, heic, photograph
from tests.support.serving_fixtures import Snapshot, by_colour
from webvision.commands.serving import PictureAnswers
from webvision.errors import UsageError
from webvision.inference.serving import server as serving
from webvision.inference.serving.regions import covered, importance

ANSWERS = PictureAnswers(Snapshot(), by_colour, 2)


@pytest.fixture
def port():
    server = serving.make_server("127.0.0.1", 0, model_line="<x> & y", predict=ANSWERS.predict, regions=ANSWERS.regions)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def ask(port, method="GET", path="/", body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer, data


def post(port, body, path="/predict", **headers):
    answer, data = ask(port, "POST", path, body, **{"X_Webvision": "1", **headers})
    return answer.status, json.loads(data)


def test_the_page_allows_no_script_but_its_own(port):
    answer, data = ask(port)
    policy = answer.headers["Content-Security-Policy"]
    nonce = policy.partition("script-src 'nonce-")[2].partition("'")[0]
    assert answer.status == 200 and data.count(f'nonce="{nonce}"'.encode()) == 2 and "default-src 'none'" in policy
    assert b"&lt;x&gt; &amp; y" in data
    assert nonce not in ask(port)[0].headers["Content-Security-Policy"]


@pytest.mark.parametrize("make", [encoded, heic])
def test_a_picture_is_answered_with_names_scores_and_what_was_seen(port, make):
    status, value = post(port, make(photograph(1, 5)))
    assert status == 200 and value["best"][0][0] == "<i>green</i>" and len(value["best"]) == 2
    jpeg = base64.b64decode(value["view"].removeprefix("data:image/jpeg;base64,"))
    assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape == (224, 224, 3)


def test_the_region_that_mattered_is_where_the_thing_is(port):
    image = np.full((224, 224, 3), 100, np.uint8)
    image[0:64, 160:224] = (0, 0, 255)
    status, value = post(port, encoded(image, ".png"), "/regions")
    regions = np.array(value["regions"])
    assert status == 200 and regions.shape == (7, 7)
    assert (
        np.unravel_index(regions.argmax(), (7, 7)) in [(0, 5), (0, 6), (1, 5), (1, 6)] and regions[4:, :4].max() < 0.2
    )


def test_regions_cover_the_whole_picture_and_may_all_be_without_effect():
    image = np.random.default_rng(0).integers(0, 256, (50, 33, 3), dtype=np.uint8)
    copies = covered(image, 5)
    changed = (copies[1:] != copies[0]).any(axis=3)
    assert changed.any(axis=0).all() and changed.any(axis=(1, 2)).all() and len(changed) == 25
    assert (importance(np.full((26, 3), 1 / 3), 5) == 0).all()


@pytest.mark.parametrize("data, words", [(b"", "empty"), (b"hello", "no picture"), (b"\xff\xd8\xff", "header")])
def test_what_is_no_picture_is_said_in_words(port, data, words):
    status, value = post(port, data)
    assert status == 422 and words in value["error"]


def test_sizes_are_bounded_before_a_byte_is_read(port):
    assert post(port, b"x", Content_Length=str(serving.MAX_BYTES + 1))[0] == 413
    assert post(port, b"", Content_Length="9" * 30)[0] == 411
    assert post(port, b"", Content_Length="-1")[0] == 411


def test_other_sites_cannot_ask_through_a_visitors_browser(port):
    body = encoded(photograph(1, 5))
    for headers in ({"Host": f"evil.example:{port}"}, {"Host": "127.0.0.1:1"}, {"Host": ""}, {"X_Webvision": ""}):
        assert post(port, body, **headers)[0] == 403
    for host in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}"):
        assert post(port, body, Host=host)[0] == 200
    assert ask(port, Host="evil.example")[0].status == 403


def test_there_is_nothing_else(port):
    for path in ("/../../etc/passwd", "/page.html", "/x", "/predict"):
        assert ask(port, path=path)[0].status == 404
    assert post(port, b"x", "/other")[0] == 404


def test_a_client_that_sends_nothing_is_let_go_and_others_are_served(port, monkeypatch):
    monkeypatch.setattr(serving._Handler, "timeout", 0.5)
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
    for one in silent:
        one.sendall(b"POST /predict HTTP/1.1\r\n")
    assert post(port, encoded(photograph(1, 5)))[0] == 200
    for one in silent:
        one.settimeout(60)
        assert one.recv(100) == b""  # closed by the server
        one.close()


def test_a_port_that_is_taken_is_said(port):
    with pytest.raises(UsageError, match=f"--port {port}: .*choose another --port"):
        serving.make_server("127.0.0.1", port, model_line="", predict=None, regions=None)
