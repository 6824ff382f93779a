"""A server that means ill: limits on time, size and redirects hold for every byte of the exchange."""

import contextlib
import gzip
import itertools
import os
import random
import socket
import tarfile
import threading

import pytest

from tests.prep.test_fetch import PICTURES, TAR, Download
from tests.support.prep_server import Site, make_tar
from webvision.data.archives.tarstream import TarError
from webvision.errors import DataError, NetworkError
from webvision.prep.download import fetch, follow, http
from webvision.prep.download.catalogue import Archive

QUICK = http.Limits(connect=2, read=1, rate_window=1, phase=0.6, unstated=64 << 20)


class RawServer:
    """Answers every connection with the pieces of bytes that `answer()` yields, until the client has gone."""

    def __init__(self, answer):
        self._answer, self.sent, self.connections = answer, 0, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error):
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with contextlib.suppress(OSError), connection:
            connection.recv(1 << 16)
            for piece in self._answer():
                connection.sendall(piece)
                self.sent += len(piece)


def dripping(data, seconds):
    pause = threading.Event()
    for byte in data:
        yield bytes([byte])
        pause.wait(seconds)


def head(*lines):
    return "\r\n".join(("HTTP/1.1 200 OK", *lines, "", "")).encode()


def endless(first, piece):
    return lambda: itertools.chain([first], itertools.repeat(piece))


NEVER_DONE = {
    "headers by the byte": lambda: dripping(head(*(f"X-{number}: y" for number in range(90))), 0.05),
    "a status line by the byte": lambda: dripping(b"HTTP/1.1 200 " + b"O" * 60_000, 0.05),
    "100 Continue for ever": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 50),
    "100 Continue by the byte": lambda: dripping(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, 0.05),
    "a chunk's size by the byte": lambda: itertools.chain(
        [head("Transfer-Encoding: chunked")], dripping(b"0" * 9999, 0.05)
    ),
    "trailers for ever": endless(head("Transfer-Encoding: chunked") + b"0\r\n", b"X: y\r\n" * 500),
    "trailers by the byte": lambda: itertools.chain(
        [head("Transfer-Encoding: chunked") + b"0\r\n"], dripping(b"X: y\r\n" * 9999, 0.05)
    ),
}


@pytest.mark.parametrize("case", NEVER_DONE)
def test_no_phase_of_an_exchange_lasts_for_ever(tmp_path, case):
    """Without limits each of these ends only when the test is killed."""
    with RawServer(NEVER_DONE[case]) as server:
        download = Download(tmp_path, server, max_wait=1.5, limits=QUICK)
        with pytest.raises((NetworkError, DataError)):
            download.run()
        assert server.connections


def test_headers_beyond_all_measure_are_refused(tmp_path):
    with RawServer(endless(b"HTTP/1.1 200 OK\r\n", b"X: yyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n")) as server:
        with pytest.raises(NetworkError):
            Download(tmp_path, server, max_wait=0.5, limits=QUICK).run()
        assert server.sent < 100 << 20


ENDLESS = {
    "a.tar": {
        "zeros": (TAR[:512] + bytes(512 * 40), bytes(1 << 16)),
        "noise": (TAR, random.Random(1).randbytes(1 << 16)),
        "its own end again": (TAR, bytes(1 << 16)),
        "one member for ever": (make_tar({"a.jpg": b"x" * 65024})[:512], b"x" * 65536),
    },
    "a.tar.gz": {"noise": (gzip.compress(TAR), random.Random(1).randbytes(1 << 16))},
    "list.txt": {"noise": (b"val1.jpg 0\n", random.Random(1).randbytes(1 << 16))},
}


@pytest.mark.parametrize("name, case", [(name, case) for name in ENDLESS for case in ENDLESS[name]])
def test_a_body_without_length_or_end_is_given_up_when_it_cannot_be_the_file(tmp_path, monkeypatch, name, case):
    monkeypatch.setattr(follow, "MAX_PADDING", 1 << 20)
    first, piece = ENDLESS[name][case]
    with RawServer(endless(head("Connection: close") + first, piece)) as server:
        with pytest.raises(DataError, match="Is the address right"):
            Download(tmp_path, server, name=name, limits=QUICK).run()
        assert server.sent < fetch.MAX_STRIKES * (16 << 20)
    kept = sum(os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(tmp_path) for name in names)
    assert kept < 8 << 20


def test_a_body_of_any_kind_has_a_largest_size_where_none_is_stated(tmp_path):
    """An archive of ever more members is a good one until its end; so there is a last bound."""
    tar = make_tar({"a.jpg": b"x" * 65024})[: 512 + 65024]
    with RawServer(endless(head("Connection: close"), tar)) as server:
        limits = QUICK._replace(unstated=4 << 20)
        with pytest.raises(DataError, match="over 4,194,304 bytes, and no end was ever stated"):
            Download(tmp_path, server, limits=limits).run()


def test_more_than_the_disk_holds_is_not_begun(tmp_path):
    with RawServer(endless(head(f"Content-Length: {10**17}"), TAR[:10240])) as server:
        with pytest.raises(OSError, match="No space left"):
            Download(tmp_path, server, limits=QUICK).run()
        assert server.sent < 32 << 20


@pytest.mark.parametrize(
    "location",
    ["http://[::1/x", "http://[bad]/x", "http://h:99999/x", "http://h:port/x", "//[", "http:///x", "ftp://h/x", "x:y"],
)
def test_a_location_that_is_no_address_is_a_reason_not_a_traceback(tmp_path, location):
    with Site({"a.tar": TAR}) as site:
        site.script["a.tar"] = [{"status": 302, "location": location} for _ in range(9)]
        with pytest.raises((DataError, NetworkError)):
            Download(tmp_path, site, max_wait=1, limits=QUICK).run()


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("length", [False, None])
def test_an_honest_server_that_states_no_length_still_gives_the_file(tmp_path, form, length):
    names = {**PICTURES, "google/" + "long" * 20 + ".jpg": b"x", "n\u00e9.jpg": b"y"}
    tar = make_tar(names, form=form)
    with Site({"a.tar": tar}) as site:
        site.script["a.tar"] = [{"length": length} if length is False else {"chunked": True}]
        download = Download(tmp_path, site)
        download.run()
        download.check(tar, names)


def test_the_follower_judges_as_the_proof_does_whatever_the_pieces():
    rng = random.Random(3)
    whole = {"a.tar": TAR, "a.tar.gz": gzip.compress(TAR)}
    for name, data in whole.items():
        for _ in range(20):
            follower, at = follow.follower(Archive(name, ())), 0
            while at < len(data):
                step = rng.choice([1, 511, 512, 513, 70_000])
                follower.feed(data[at : at + step])
                at += step
        with pytest.raises(TarError):
            follow.follower(Archive(name, ())).feed(
                data[: len(data) // 2 // 512 * 512 + 100] + bytes(range(256)) * 4000
            )
