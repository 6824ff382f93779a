"""Fetching: every way a server can fail (D1-D9, D12) ends in the file's own bytes, or in an error that says which and
why."""

import hashlib
import json
import os
import random
import threading
import time

import pytest

from tests.support.prep_server import Site, make_tar
from webvision.errors import DataError, NetworkError
from webvision.prep.download import acquire, fetch, http, partfile, proof
from webvision.prep.download.catalogue import Archive

PICTURES = {f"google/q00001/{i:04d}.jpg": random.Random(i).randbytes(3000) for i in range(120)}
TAR = make_tar(PICTURES)
OTHER_TAR = make_tar({name: data[::-1] for name, data in PICTURES.items()})
HTML = b"<html><body>Please log in to HotelNet</body></html>" * 100


@pytest.fixture
def site():
    with Site({"a.tar": TAR, "list.txt": b"val1.jpg 0\n"}) as running:
        yield running


class Download:
    """What one run of the program does for one archive, with short waits; `remarks` is what it said."""

    def __init__(self, tmp_path, *sites, name="a.tar", max_wait=20.0, limits=None, keep=True):
        self.target, self.remarks = tmp_path / "target", []
        self.state = self.target / "archives"
        self.state.mkdir(parents=True, exist_ok=True)
        self.archive = Archive(name, tuple(f"{one.url}/{name}" for one in sites))
        limits = limits or http.Limits(connect=2, read=2, rate_window=4)
        self.transfer = fetch.Transfer(
            http.Client(limits, environment_proxies={}),
            fetch.Patience(max_wait),
            remark=self.remarks.append,
            first_wait=0.01,
        )
        manifest = proof.Manifest(str(self.state / "manifest.json"))
        self.job = acquire.Job(str(self.target), str(self.state), self.transfer, manifest, keep=keep)

    def run(self):
        return acquire.acquire(self.archive, self.job)

    def check(self, data=TAR, pictures=PICTURES):
        assert (self.state / self.archive.name).read_bytes() == data
        for name, content in pictures.items():
            assert (self.target / name).read_bytes() == content
        assert sorted(os.listdir(self.state)) == sorted(
            ["manifest.json", self.archive.name, self.archive.name + ".done.json"]
        )


def test_a_good_server_needs_one_request(site, tmp_path):
    download = Download(tmp_path, site)
    facts = download.run()
    download.check()
    assert facts["sha256"] == hashlib.sha256(TAR).hexdigest() and facts["members"] == 120 and facts["attempts"] == 1
    assert site.gets("a.tar") == [None]
    assert Download(tmp_path, site).run()["status"] == "was done" and site.gets("a.tar") == [None]


# D1


@pytest.mark.parametrize("status", [503, 500, 429, 502, 504, 408])
def test_d1_a_server_in_trouble_is_asked_again(site, tmp_path, status):
    site.script["a.tar"] = [{"status": status}] * 3
    Download(tmp_path, site).run()
    assert len(site.gets("a.tar")) == 4


def test_d1_retry_after_is_honoured(site, tmp_path):
    site.script["a.tar"] = [{"status": 503, "retry_after": 1}]
    start = time.monotonic()
    Download(tmp_path, site).run()
    assert 1 <= time.monotonic() - start < 4


def test_d1_retry_after_can_be_a_date_or_nonsense():
    assert http.retry_after("7") == 7 and http.retry_after("soon") is None and http.retry_after(None) is None
    assert http.retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert 50 < http.retry_after(time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 60))) <= 60


def test_d1_waits_double_with_jitter_up_to_a_cap(site, tmp_path, monkeypatch):
    download = Download(tmp_path, site)
    waits = []
    monkeypatch.setattr(download.transfer.patience, "sleep", waits.append)
    waiting = fetch._Fetch(
        [], partfile.Part(str(tmp_path / "x")), download.transfer._replace(first_wait=1.0), looks_right=None
    )
    for waiting.failures in range(1, 12):
        waiting._wait(http.TransferError("x"))
    download.transfer.patience.max_wait = 10_000
    waiting.failures = 12
    waiting._wait(http.TransferError("x"))
    assert all(2**i / 2 <= waits[i] <= 2**i for i in range(4)) and 30 <= waits[-1] <= 60
    assert len({round(wait / 2 ** min(i, 4), 6) for i, wait in enumerate(waits[:5])}) > 1


def test_d1_gives_up_in_the_end_and_says_the_command_can_be_repeated(site, tmp_path):
    site.script["a.tar"] = [{"status": 503}] * 1000
    with pytest.raises(NetworkError, match="503.*nothing came for 1 s.*same command again"):
        Download(tmp_path, site, max_wait=1.0).run()
    del site.script["a.tar"]
    Download(tmp_path, site).run()


# D2, D3


def test_d2_a_cut_is_resumed_where_it_was(site, tmp_path):
    site.script["a.tar"] = [{"cut": 200_000}, {"cut": 100_000}]
    download = Download(tmp_path, site)
    download.run()
    download.check()
    assert site.gets("a.tar") == [None, f"bytes={200_000 - fetch.OVERLAP}-", f"bytes={300_000 - 2 * fetch.OVERLAP}-"]
    assert '"' in site.log[-1][3]["If-Range"]


def test_d3_a_server_without_ranges_starts_the_file_anew(site, tmp_path):
    site.script["a.tar"] = [{"cut": 200_000}, {"ranges": False}]
    download = Download(tmp_path, site)
    facts = download.run()
    download.check()
    assert facts["restarts"] == 1 and any("cannot continue" in remark for remark in download.remarks)


@pytest.mark.parametrize("shift", [-5, 7, 1000])
def test_d3_a_wrong_content_range_is_never_appended(site, tmp_path, shift):
    site.script["a.tar"] = [{"cut": 200_000}, {"shift": shift}]
    download = Download(tmp_path, site)
    assert download.run()["restarts"] == 1
    download.check()


def test_d3_a_server_that_always_cuts_and_never_resumes_is_given_up(site, tmp_path):
    site.script["a.tar"] = [{"cut": 200_000, "ranges": False}] * 100
    with pytest.raises(NetworkError, match="started anew 9 times"):
        Download(tmp_path, site).run()


# D4


def test_d4_no_length_and_an_early_close_is_noticed_by_the_missing_end_mark(site, tmp_path):
    site.script["a.tar"] = [{"length": False, "cut": 150_000}]
    download = Download(tmp_path, site)
    download.run()
    download.check()
    assert len(site.gets("a.tar")) == 2


def test_d4_no_length_anywhere_still_ends_whole(site, tmp_path):
    site.script["a.tar"] = [{"length": False}] * 9
    download = Download(tmp_path, site)
    download.run()
    download.check()


@pytest.mark.parametrize("fault", [{"length": len(TAR) + 999}, {"chunked": True, "cut": 150_000}])
def test_d4_wrong_length_and_a_cut_chunked_body(site, tmp_path, fault):
    site.script["a.tar"] = [fault]
    download = Download(tmp_path, site)
    download.run()
    download.check()


def test_d4_a_whole_chunked_body_is_fine(site, tmp_path):
    site.script["a.tar"] = [{"chunked": True}]
    download = Download(tmp_path, site)
    download.run()
    download.check()


def test_d4_a_longer_local_file_is_not_kept(site, tmp_path):
    download = Download(tmp_path, site)
    (download.state / "a.tar.part").write_bytes(TAR + b"x" * 200_000)
    download.run()
    download.check()


def test_d4_a_list_without_a_stated_size_must_end_a_line(site, tmp_path):
    site.script["list.txt"] = [{"length": False, "cut": 7}]
    Download(tmp_path, site, name="list.txt").run()
    assert (tmp_path / "target/list.txt").read_bytes() == b"val1.jpg 0\n"


# D5


def test_d5_a_web_page_is_refused(site, tmp_path):
    site.script["a.tar"] = [{"body": HTML, "etag": ""}] * 2
    download = Download(tmp_path, site)
    download.run()
    download.check()
    assert any("web page" in remark for remark in download.remarks)


def test_d5_a_captive_portal_is_refused_for_good(site, tmp_path):
    site.script["a.tar"] = [{"body": HTML, "etag": ""}] * 100
    with pytest.raises(DataError, match="a web page instead of the file.*--mirror"):
        Download(tmp_path, site).run()
    assert len(site.gets("a.tar")) == fetch.MAX_STRIKES


@pytest.mark.parametrize("body", [b"\x1f\x8b" + b"x" * 5000, b"GIF89a" * 900, b""])
def test_d5_other_bytes_than_a_tars_are_refused(site, tmp_path, body):
    site.files["a.tar"] = body
    with pytest.raises(DataError, match="sends"):
        Download(tmp_path, site).run()


def test_d5_redirects_are_followed_bounded_and_never_to_a_weaker_scheme(site, tmp_path):
    site.script["a.tar"] = [{"status": 302, "location": "/elsewhere/a.tar"}]
    Download(tmp_path, site).run()
    site.script["a.tar"] = [{"status": 301, "location": "/a.tar"}] * 1000
    with pytest.raises(NetworkError, match="more than 5 redirects"):
        Download(tmp_path / "loop", site, max_wait=0.5).run()
    site.script["a.tar"] = [{"status": 302, "location": "file:///etc/passwd"}] * 9
    with pytest.raises(DataError, match="unprotected address; refused"):
        Download(tmp_path / "file", site).run()


def test_d5_https_never_falls_back_to_http(monkeypatch):
    client = http.Client(environment_proxies={})

    class Answer:
        status, headers, reason = 302, {"Location": "http://example.org/a.tar"}, "Found"

        def close(self):
            pass

    monkeypatch.setattr(client, "_request", lambda *arguments, **settings: Answer)
    monkeypatch.setattr(Answer, "close", lambda self=None: None)
    with pytest.raises(http.TransferError, match="unprotected"):
        client.open("https://example.org/a.tar", {})


def test_d5_a_missing_file_is_an_error_at_once(site, tmp_path):
    with pytest.raises(DataError, match="404"):
        Download(tmp_path, site, name="b.tar").run()
    assert len(site.gets("b.tar")) == 1


# D6, D7


def test_d6_an_outage_is_waited_out(tmp_path):
    with Site({"a.tar": TAR}) as first:
        port = first.port
        first.script["a.tar"] = [{"cut": 200_000}]
        download = Download(tmp_path, first)
        runner = threading.Thread(target=download.run)
        runner.start()
        while not first.gets("a.tar"):
            time.sleep(0.01)
        first.server.server_close()
    time.sleep(1)
    with Site({"a.tar": TAR}, port=port) as second:
        runner.join(20)
        assert not runner.is_alive()
        assert second.gets("a.tar") == [] or second.gets("a.tar")[0].startswith("bytes=")
    download.check()


def test_d6_an_endless_outage_is_a_network_error_and_keeps_the_part(site, tmp_path):
    site.script["a.tar"] = [{"cut": 200_000}] + [{"status": 503}] * 1000
    download = Download(tmp_path, site, max_wait=1.0)
    with pytest.raises(NetworkError, match="is kept"):
        download.run()
    assert (download.state / "a.tar.part").stat().st_size == 200_000
    site.script["a.tar"] = []
    again = Download(tmp_path, site)
    again.run()
    again.check()
    assert site.gets("a.tar")[-1] == f"bytes={200_000 - fetch.OVERLAP}-"


def test_d6_an_outage_is_told_once_not_at_every_attempt(site, tmp_path):
    site.script["a.tar"] = [{"status": 503}] * 12
    download = Download(tmp_path, site)
    download.run()
    assert len(download.remarks) == 1 and "trying again" in download.remarks[0]


def test_d7_a_silent_server_is_dropped(site, tmp_path):
    site.script["a.tar"] = [{"sleep": 2}, {"cut": 200_000, "hang": 2}]
    start = time.monotonic()
    download = Download(tmp_path, site, limits=http.Limits(connect=0.4, read=0.4))
    download.run()
    download.check()
    assert time.monotonic() - start < 3.5 and "bytes=" in site.gets("a.tar")[-1]


def test_d7_a_dripping_server_is_dropped(site, tmp_path):
    site.script["a.tar"] = [{"drip": (1, 0.05)}]
    start = time.monotonic()
    download = Download(tmp_path, site, limits=http.Limits(connect=2, read=2, min_rate=1000, rate_window=0.5))
    download.run()
    download.check()
    assert time.monotonic() - start < 3


def test_d7_a_drip_is_no_sign_of_life():
    patience = fetch.Patience(0.2)
    deadline = time.monotonic() + 0.3
    while time.monotonic() < deadline:
        patience.good_sign(1)
        time.sleep(0.02)
    assert patience.left() <= 0


# D8


def test_d8_a_file_that_changed_between_parts_is_fetched_anew(site, tmp_path):
    site.script["a.tar"] = [{"body": OTHER_TAR, "cut": 200_000}]
    download = Download(tmp_path, site)
    assert download.run()["restarts"] == 1
    download.check()
    assert any("changed on the server" in remark for remark in download.remarks)


def test_d8_a_change_behind_equal_validators_is_seen_at_the_joint(site, tmp_path):
    site.script["a.tar"] = [{"body": OTHER_TAR, "cut": 200_000, "etag": '"same"'}, {"etag": '"same"'}]
    download = Download(tmp_path, site)
    assert download.run()["restarts"] == 1
    download.check()
    assert any("not the ones that were fetched" in remark for remark in download.remarks)


# D9


@pytest.mark.parametrize(
    "damage", ["shorter", "zeros at the end", "state lost", "state torn", "part only", "after a reboot"]
)
def test_d9_what_a_power_cut_leaves_is_never_built_upon(site, tmp_path, damage):
    site.script["a.tar"] = [{"cut": 250_000}, {"status": 503}, {"status": 503}] + [{"status": 503}] * 1000
    with pytest.raises(NetworkError):
        Download(tmp_path, site, max_wait=0.3).run()
    site.script["a.tar"] = []
    download = Download(tmp_path, site)
    part, state = download.state / "a.tar.part", download.state / "a.tar.part.state.json"
    if damage == "shorter":
        os.truncate(part, 250_000 - 65536)
    elif damage == "zeros at the end":
        with open(part, "r+b") as file:
            file.seek(200_000)
            file.write(bytes(50_000))
    elif damage == "state lost":
        state.unlink()
    elif damage == "state torn":
        state.write_bytes(state.read_bytes()[:20])
    elif damage == "part only":
        state.write_text("[]")
    else:
        facts = json.loads(state.read_text())
        state.write_text(json.dumps({**facts, "boot": "another", "synced": 90_000}))
        with open(part, "r+b") as file:
            file.seek(95_000)
            file.write(bytes(1000))  # inside what was not on the disk yet
    download.run()
    download.check()


# D12


def test_d12_a_checksum_seen_once_is_held_against_every_later_copy(site, tmp_path):
    first = Download(tmp_path, site)
    first.run()
    manifest = json.loads((first.state / "manifest.json").read_text())
    assert manifest["archives"]["a.tar"]["sha256"] == hashlib.sha256(TAR).hexdigest()
    (first.state / "a.tar.done.json").unlink()
    (first.state / "a.tar").unlink()
    flipped = bytearray(TAR)
    flipped[1000] ^= 1
    site.files["a.tar"] = bytes(flipped)
    again = Download(tmp_path, site)
    with pytest.raises(DataError, match="a.tar: its SHA-256 is .* the manifest .* records .*fetched again.*quarantine"):
        again.run()
    assert len(site.gets("a.tar")) == 3 and (again.state / "a.tar.quarantine").read_bytes() == bytes(flipped)
    assert not (again.state / "a.tar.done.json").exists()
    site.files["a.tar"] = TAR
    good = Download(tmp_path, site)
    good.run()
    good.check()  # the quarantine is gone


def test_d12_one_bad_copy_is_fetched_again(site, tmp_path):
    Download(tmp_path / "first", site).run()
    download = Download(tmp_path, site)
    download.job.manifest.known.update(proof.Manifest(str(tmp_path / "first/target/archives/manifest.json")).entries)
    site.script["a.tar"] = [{"body": OTHER_TAR}]
    download.run()
    download.check()
    assert any("quarantine and fetched once more" in remark for remark in download.remarks)


def test_d12_two_manifests_that_disagree(tmp_path):
    for name, digest in (("one.json", "aa"), ("two.json", "bb")):
        (tmp_path / name).write_text(
            json.dumps({"format": "webvision-manifest", "version": 1, "archives": {"a.tar": {"sha256": digest}}})
        )
    with pytest.raises(DataError, match="different checksums for a.tar"):
        proof.Manifest(str(tmp_path / "one.json"), [str(tmp_path / "two.json")])
    (tmp_path / "one.json").write_text("{}")
    with pytest.raises(DataError, match="not a manifest"):
        proof.Manifest(str(tmp_path / "one.json"))


# mirrors, proxies, secrets


def test_another_mirror_is_tried(tmp_path):
    with Site({}) as empty, Site({"a.tar": HTML}) as portal, Site({"a.tar": TAR}) as good:
        download = Download(tmp_path, empty, portal, good)
        assert good.url in download.run()["url"]
    download.check()


def test_a_begun_file_stays_with_its_mirror(tmp_path):
    with Site({"a.tar": TAR}) as one, Site({"a.tar": TAR}) as other:
        one.script["a.tar"] = [{"cut": 200_000}, {"status": 503}]
        download = Download(tmp_path, one, other)
        download.run()
        download.check()
        assert other.log == [] and len(one.gets("a.tar")) == 3


def test_z9_no_password_or_token_in_any_message():
    for text in ("https://me:secret@host/x?token=secret y", "proxy http://u:secret@p:3128 refused", "http://secret@h/"):
        assert "secret" not in http.redact(text)
    client = http.Client(http.Limits(connect=0.2), environment_proxies={"http": "http://me:secret@127.0.0.1:9"})
    with pytest.raises(http.TransferError) as caught:
        client.open("http://you:secret@example.invalid/a.tar?key=secret", {})
    assert "secret" not in str(caught.value)


def test_a_password_in_the_address_reaches_only_its_host(site, tmp_path):
    with Site({"a.tar": TAR}) as elsewhere:
        site.script["a.tar"] = [{"status": 302, "location": f"http://localhost:{elsewhere.port}/a.tar"}]
        client = http.Client(environment_proxies={})
        client.open(f"http://me:pw@127.0.0.1:{site.port}/a.tar", {}).close()
        assert site.log[0][3]["Authorization"].startswith("Basic ") and "Authorization" not in elsewhere.log[0][3]


def test_the_proxy_of_the_environment_is_used(site):
    client = http.Client(environment_proxies={"http": f"http://me:pw@127.0.0.1:{site.port}"})
    client.open("http://example.invalid/a.tar", {}).close()
    assert site.log[0][:2] == ("GET", "a.tar") and "proxy-authorization" in map(str.lower, site.log[0][3])
