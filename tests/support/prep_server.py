"""A web server on loopback whose faults are scripted per file: for the tests and soaks of downloading."""

import hashlib
import io
import re
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Site:
    """with Site({name: bytes}) as site: site.url, site.script[name] = [fault, ...], site.log.

    Each GET of a file takes the next fault of its script (a dict, see Handler) and is served properly when the script
    is empty. `site.files` may change at any time; the ETag is the content's hash.
    """

    def __init__(self, files, *, port=0):
        self.files, self.script, self.log = dict(files), {}, []
        self.head_faults = {}
        site = self

        class Handler(_Handler):
            pass

        Handler.site = site
        ThreadingHTTPServer.daemon_threads = True
        ThreadingHTTPServer.allow_reuse_address = True
        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *exception):
        self.server.shutdown()
        self.server.server_close()

    def gets(self, name):
        """The Range header (or None) of each GET of a file so far."""
        return [entry[2] for entry in self.log if entry[:2] == ("GET", name)]


class _Handler(BaseHTTPRequestHandler):
    """Faults: status, reason (its words), retry_after, location; body (other bytes), etag, ranges=False, shift (wrong
    Content-Range), cut (close after so many body bytes), length (False: none; a number: that), chunked=True, sleep,
    drip=(bytes, pause)."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def handle(self):
        try:
            super().handle()
        except (ConnectionError, BrokenPipeError, ValueError):
            pass

    def do_HEAD(self):
        self._serve(self.site.head_faults, body=False)

    def do_GET(self):
        self._serve(None, body=True)

    def _serve(self, fault, *, body):
        name = self.path.rpartition("/")[2].partition("?")[0]
        self.site.log.append((self.command, name, self.headers.get("Range"), dict(self.headers)))
        if fault is None:
            script = self.site.script.get(name) or []
            fault = script.pop(0) if script else {}
        time.sleep(fault.get("sleep", 0))
        data = fault.get("body", self.site.files.get(name))
        status = fault.get("status", 200 if data is not None else 404)
        if status != 200:
            return self._plain(status, fault)
        etag = fault.get("etag", '"' + hashlib.md5(data).hexdigest() + '"')
        start, end, status = 0, len(data), 200
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if match and fault.get("ranges", True) and self.headers.get("If-Range", etag) == etag:
            start = int(match[1])
            if start >= len(data):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(data)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            status = 206
        self.send_response(status)
        if etag:
            self.send_header("ETag", etag)
        if status == 206:
            shift = fault.get("shift", 0)
            self.send_header("Content-Range", f"bytes {start + shift}-{end - 1}/{len(data)}")
        self._send_body(data[start:], fault, body=body)

    def _plain(self, status, fault):
        self.send_response(status, fault.get("reason"))
        for header, key in (("Retry-After", "retry_after"), ("Location", "location")):
            if key in fault:
                self.send_header(header, str(fault[key]))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send_body(self, data, fault, *, body):
        length = fault.get("length", len(data))
        if fault.get("chunked"):
            self.send_header("Transfer-Encoding", "chunked")
        elif length is not False:
            self.send_header("Content-Length", str(length))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        if not body:
            return
        cut = fault.get("cut")
        piece, pause = fault.get("drip", (1 << 16, 0))
        sent = data if cut is None else data[:cut]
        for i in range(0, len(sent), piece):
            part = sent[i : i + piece]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part) if fault.get("chunked") else part)
            time.sleep(pause)
        time.sleep(fault.get("hang", 0))
        if fault.get("chunked") and cut is None:
            self.wfile.write(b"0\r\n\r\n")
        if cut is not None or length is False or length != len(data):
            self.wfile.flush()
            self.close_connection = True


def make_tar(members, *, form=tarfile.USTAR_FORMAT, mode="w"):
    """Tar bytes of {name: bytes} or [(TarInfo, bytes)], by the standard library: a writer that is not ours."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=form) as tar:
        for item in members.items() if isinstance(members, dict) else members:
            info, data = item
            if not isinstance(info, tarfile.TarInfo):
                info = tarfile.TarInfo(info)
                info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()
