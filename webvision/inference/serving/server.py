"""The page's server: three addresses, on the loopback interface unless told otherwise.

    GET  /          the page
    POST /predict   a picture's bytes -> {"best": [[name, probability], ...], "view": the network's input, a data: URL}
    POST /regions   a picture's bytes -> {"regions": [[0..1, ...], ...]}

What it takes is bounded: the bytes of a picture, the time a client may take, the requests in work. Other sites cannot
use it through a visitor's browser: a request must name this host (against DNS rebinding) and carry a header that only
the page itself may send without being asked first.
"""

import hmac
import html
import ipaddress
import json
import os
import secrets
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from webvision.errors import ResourceError, UsageError, WebvisionError, printable

MAX_BYTES = 32 << 20  # of a picture: a camera's largest JPEG has 20 MB
MAX_CLIENTS = 16  # connections at a time
CLIENT_SECONDS = 20.0  # to send a request, or to take the answer
_MARK = "X-Webvision"


class Refused(Exception):
    """An answer other than 200."""

    def __init__(self, status, reason):
        super().__init__(reason)
        self.status = status


def make_server(host, port, *, model_line, predict, regions):
    """A server that listens at once; call serve_forever() and server_close().

    predict, regions: functions of a picture's bytes that give what is sent back; a WebvisionError of theirs is the
    picture's fault. `model_line`: what the page says it asks, in words.
    """
    try:
        server = _Server((host, port), _Handler)
    except (OSError, OverflowError, socket.gaierror) as error:
        raise UsageError(
            f"--host {printable(host)} --port {port}: {getattr(error, 'strerror', None) or error}; choose another "
            "--port, 0 takes a free one"
        ) from None
    server.actions = {"/predict": predict, "/regions": regions}
    with open(os.path.join(os.path.dirname(__file__), "page.html"), encoding="utf-8") as file:
        server.page = file.read().replace("MODEL", html.escape(model_line))
    return server


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address, handler):
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, handler)
        self.clients = threading.BoundedSemaphore(MAX_CLIENTS)
        self.work = threading.Lock()  # one picture at a time: a network uses all cores

    def process_request(self, request, client_address):
        if not self.clients.acquire(blocking=False):
            request.close()
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request, client_address):
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.clients.release()

    def is_own(self, host):
        """Whether a request's Host means this server: the name it was bound to, or any spelling of loopback."""
        name, port = _split_host(host)
        if port != self.server_address[1]:
            return False
        bound = self.server_address[0]
        if name == "localhost" or hmac.compare_digest(name.encode(), bound.encode()):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        # An address is nobody's to rebind; only where the server was opened to the net may it be another than loopback.
        return address.is_loopback or not ipaddress.ip_address(bound).is_loopback

    def handle_error(self, request, client_address):
        """A client that went away is nothing to report."""


def _split_host(host):
    """(name, port) of a Host header; port 80 where it says none."""
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdigit():
        name, port = host, "80"
    return name.strip("[]").lower(), int(port)


class _Handler(BaseHTTPRequestHandler):
    timeout = CLIENT_SECONDS
    server_version, sys_version = "webvision", ""
    protocol_version = "HTTP/1.0"  # one request a connection: nobody keeps one of the few

    def do_GET(self):
        self._answer(self._page)

    def do_POST(self):
        self._answer(self._act)

    def _answer(self, make):
        nonce = secrets.token_urlsafe(16)
        try:
            if not self.server.is_own(self.headers.get("Host", "")):
                raise Refused(403, "this server is asked by another name than its own")
            status, kind, body = make(nonce)
        except Refused as refused:
            status, kind, body = refused.status, "application/json", _json({"error": str(refused)})
        except TimeoutError:
            return
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header(
            "Content-Security-Policy",
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        )
        for name, value in (
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Cache-Control", "no-store"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _page(self, nonce):
        if self.path != "/":
            raise Refused(404, "nothing is here; the page is /")
        return 200, "text/html", self.server.page.replace("NONCE", nonce).encode()

    def _act(self, _):
        action = self.server.actions.get(self.path)
        if action is None:
            raise Refused(404, "nothing is here")
        if self.headers.get(_MARK) != "1":
            raise Refused(403, f"the header {_MARK}: 1 is missing, which only the page itself sends")
        data = self._body()
        try:
            with self.server.work:
                return 200, "application/json", _json(action(data))
        except ResourceError as error:
            raise Refused(503, str(error)) from None
        except WebvisionError as error:
            raise Refused(422, str(error)) from None

    def _body(self):
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or len(length) > 12:
            raise Refused(411, "the request does not say how many bytes it has")
        if int(length) > MAX_BYTES:
            raise Refused(413, f"a picture may have {MAX_BYTES >> 20} MB")
        data = self.rfile.read(int(length))
        if len(data) < int(length):
            raise Refused(400, "the picture ended early")
        return data

    def log_message(self, format, *args):
        """Quiet: what people look at is nobody's business."""


def _json(value):
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
