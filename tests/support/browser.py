"""A real browser for tests: Chromium without a screen, spoken to in the WebDriver protocol itself, so that nothing but
chromium and chromedriver is needed.
"""

import base64
import json
import os
import re
import shutil
import subprocess
import urllib.request

import pytest

SHOTS = os.environ.get("REPORT_SHOTS")  # a folder to leave pictures of the pages in, to be looked at
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1200,900",
]


class Browser:
    """One headless session; every answer of the driver is JSON."""

    def __init__(self, profile):
        self._driver = subprocess.Popen(
            [shutil.which("chromedriver"), "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        port = next(
            match[1]
            for line in self._driver.stdout
            if (match := re.search(r"started successfully on port (\d+)", line))
        )
        self._base = f"http://127.0.0.1:{port}"
        options = {
            "args": [*FLAGS, f"--user-data-dir={profile}"],
            "binary": shutil.which("chromium") or shutil.which("google-chrome"),
        }
        capabilities = {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}
        self._base += "/session/" + self._send("POST", "/session", {"capabilities": capabilities})["sessionId"]

    def _send(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            return json.loads(answer.read())["value"]

    def open(self, path):
        self.visit(f"file://{path}")

    def visit(self, address):
        self._send("POST", "/url", {"url": address})

    def run(self, script):
        return self._send("POST", "/execute/sync", {"script": script, "args": []})

    def devtools(self, command, **parameters):
        return self._send("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def press(self, *keys):
        """Type keys into whatever has the focus."""
        codes = {"Tab": "\ue004", "Enter": "\ue007", "Escape": "\ue00c"}
        actions = [{"type": kind, "value": codes.get(key, key)} for key in keys for kind in ("keyDown", "keyUp")]
        self._send("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def complaints(self):
        return [entry["message"] for entry in self._send("POST", "/se/log", {"type": "browser"})]

    def shot(self, name):
        picture = base64.b64decode(self.devtools("Page.captureScreenshot", format="png")["data"])
        if SHOTS:
            with open(os.path.join(SHOTS, f"{name}.png"), "wb") as file:
                file.write(picture)
        return picture

    def close(self):
        self._send("DELETE", "")
        self._driver.terminate()
        self._driver.wait(10)
        self._driver.stdout.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    session = Browser(tmp_path_factory.mktemp("profile"))
    yield session
    session.close()
