"""`bash download.sh` as a user types it: from a server on loopback to an arranged set, and every way to be told what is
wrong."""

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

import pytest

from tests.support.prep_fixtures import ROOT, make_raw, picture_of
from tests.support.prep_server import Site, make_tar
from webvision.commands.download import parse_args, seconds, size
from webvision.errors import DataError, UsageError
from webvision.prep.download import catalogue as archives
from webvision.prep.download import crew

SCRIPT = os.path.join(ROOT, "utils", "download.sh")
CATALOGUE = {
    "mini": {
        "mirrors": ["http://127.0.0.1:9/"],
        "arrange": True,
        "parts": {
            "info": ["info.tar"],
            "val": ["val_filelist.txt", "val_images_resized.tar"],
            "train": ["train_00.tar", "train_01.tar"],
        },
    }
}


def run(*arguments, cwd=None, environment=None, timeout=60):
    return subprocess.run(
        ["bash", SCRIPT, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "no_proxy": "*", **(environment or {})},
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """({file name: bytes} of a small set in five archives, the folder that arranging it by hand gives)."""
    raw = make_raw(tmp_path_factory.mktemp("raw"), test=0, lists_at="lists")
    names = [os.path.relpath(os.path.join(folder, name), raw) for folder, _, files in os.walk(raw) for name in files]
    data = {name: (raw / name).read_bytes() for name in names}

    def tar(prefix):
        return make_tar({name: data[name] for name in sorted(names) if name.startswith(prefix)})

    files = {
        "info.tar": tar("info/"),
        "val_filelist.txt": data["lists/val_filelist.txt"],
        "val_images_resized.tar": tar("val_images_resized/"),
        "train_00.tar": tar("google/"),
        "train_01.tar": tar("flickr/"),
    }
    from webvision.prep.arrange.arrange import arrange

    (raw / "val_filelist.txt").write_bytes(data["lists/val_filelist.txt"])
    arrange(str(raw), str(raw), remark=lambda text: None)
    return files, {
        name: value for name, value in picture_of(raw).items() if name.partition("/")[0] in ("train", "val", "meta")
    }


@pytest.fixture
def catalogue(tmp_path):
    path = tmp_path / "sets.json"
    path.write_text(json.dumps(CATALOGUE))
    return ["--archives", path, "--set", "mini"]


def arranged(target):
    return {
        name: value for name, value in picture_of(target).items() if name.partition("/")[0] in ("train", "val", "meta")
    }


def test_from_nothing_to_an_arranged_set_and_again_without_a_request(tmp_path, served, catalogue):
    files, expected = served
    (tmp_path / "utils").mkdir()
    with Site(files) as site:
        result = run(".", *catalogue, "--mirror", site.url, cwd=tmp_path / "utils")
        assert result.returncode == 0, result.stderr
        assert "5 of 5 archives are here" in result.stdout and "arranged: 24 train, 3 val pictures" in result.stdout
        assert arranged(tmp_path / "utils") == expected
        state = tmp_path / "utils/archives"
        assert not any(name.endswith((".tar", ".part", ".member", ".unpacking.json")) for name in os.listdir(state))
        assert json.loads((state / "report.json").read_text())["complete"] is True
        requests = len(site.log)
        once = picture_of(tmp_path / "utils")
        assert (
            run(".", *catalogue, "--mirror", site.url, cwd=tmp_path / "utils").returncode == 0
            and len(site.log) == requests
        )
        again = picture_of(tmp_path / "utils")
        assert {**again, "archives/report.json": 0} == {**once, "archives/report.json": 0}


def test_keep_archives_parts_and_a_manifest_for_other_machines(tmp_path, served, catalogue):
    files, _ = served
    with Site(files) as site:
        one = run(tmp_path / "one", *catalogue, "--mirror", site.url, "--parts", "info,val", "--keep-archives")
        assert one.returncode == 0 and "so it is not arranged" in one.stderr
        assert (tmp_path / "one/archives/info.tar").read_bytes() == files["info.tar"]
        manifest = tmp_path / "one/archives/manifest.json"
        site.files["info.tar"] = make_tar({"info/synsets.txt": b"n1 evil\n"})
        other = run(tmp_path / "other", *catalogue, "--mirror", site.url, "--parts", "info", "--manifest", manifest)
        assert (
            other.returncode == 3
            and "info.tar: its SHA-256 is" in other.stderr
            and not (tmp_path / "other/info").exists()
        )


def test_one_bad_archive_does_not_stop_the_others(tmp_path, served, catalogue):
    files, _ = served
    with Site({**files, "train_00.tar": files["train_00.tar"][:3000]}) as site:
        result = run(tmp_path / "t", *catalogue, "--mirror", site.url)
        assert result.returncode == 3 and "4 of 5 archives" in result.stdout
        assert (
            result.stderr.count("download.sh: error:") == 1
            and "train_00.tar" in result.stderr
            and "Traceback" not in result.stderr
        )
        report = json.loads((tmp_path / "t/archives/report.json").read_text())
        assert report["complete"] is False and report["archives"]["train_00.tar"]["exit_code"] == 3
        assert not (tmp_path / "t/train").exists()
        site.files.update(files)
        assert run(tmp_path / "t", *catalogue, "--mirror", site.url).returncode == 0


def test_d6_no_server_is_exit_9(tmp_path, catalogue):
    result = run(tmp_path / "t", *catalogue, "--max-wait", "1")
    assert result.returncode == 9 and "run the same command again" in result.stderr


# D10


@pytest.mark.parametrize("where", ["fetching", "unpacking"])
def test_d10_a_full_disk_stops_cleanly_and_goes_on_after(tmp_path, catalogue, served, where):
    files, _ = served
    big = {f"google/q00001/big{i}.jpg": os.urandom(200_000) for i in range(8)}
    with tempfile.TemporaryDirectory() as small, Site({**files, "train_00.tar": make_tar(big)}) as site:
        megabytes = 1 if where == "fetching" else 3
        if subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", small], capture_output=True
        ).returncode:
            pytest.skip("not allowed to mount")
        try:
            refused = run(small, *catalogue, "--mirror", site.url)
            if where == "fetching":
                assert refused.returncode == 7 and "are needed" in refused.stderr and "are free" in refused.stderr
                assert not site.gets("train_00.tar")
            result = run(small, *catalogue, "--mirror", site.url, "--skip-space-check", "--no-arrange", "--parallel", 1)
            assert (
                result.returncode == 7
                and os.strerror(errno.ENOSPC) in result.stderr
                and "Traceback" not in result.stderr
            )
            subprocess.run(["mount", "-o", "remount,size=16m", small], check=True)
            assert run(small, *catalogue, "--mirror", site.url, "--no-arrange").returncode == 0
            assert all(open(os.path.join(small, name), "rb").read() == data for name, data in big.items())
        finally:
            subprocess.run(["umount", small], check=True)


# D11


def test_d11_a_second_download_into_one_folder_is_refused(tmp_path, served, catalogue):
    files, _ = served
    with Site(files) as site:
        site.script["info.tar"] = [{"sleep": 3}]
        first = threading.Thread(target=run, args=(tmp_path / "t", *catalogue, "--mirror", site.url))
        first.start()
        while not site.gets("info.tar"):
            time.sleep(0.02)
        result = run(tmp_path / "t", *catalogue, "--mirror", site.url)
        assert result.returncode == 8 and "another download is at work here (pid" in result.stderr
        first.join()
        assert (tmp_path / "t/meta/train.txt").exists()


def test_an_interrupt_ends_soon_and_the_same_command_goes_on(tmp_path, served, catalogue):
    files, expected = served
    with Site(files) as site:
        site.script["train_00.tar"] = [{"drip": (100, 0.05)}]
        command = ["bash", SCRIPT, str(tmp_path / "t"), *map(str, catalogue), "--mirror", site.url]
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "no_proxy": "*"}
        )
        while not site.gets("train_00.tar"):
            time.sleep(0.02)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
        assert process.returncode == 130 and "interrupted" in errors and "Traceback" not in errors
        assert run(tmp_path / "t", *catalogue, "--mirror", site.url).returncode == 0
        assert arranged(tmp_path / "t") == expected


def test_rate_limit_is_kept():
    limit = crew.RateLimit(1e6)
    start = time.monotonic()
    for _ in range(10):
        limit(50_000)
    assert 0.35 < time.monotonic() - start < 1.5


def test_z9_a_proxy_password_never_reaches_the_terminal(tmp_path, catalogue):
    proxies = {"http_proxy": "http://me:hunter2@127.0.0.1:9", "no_proxy": ""}
    result = run(
        tmp_path / "t",
        *catalogue,
        "--mirror",
        "http://you:hunter2@example.invalid/x",
        "--max-wait",
        "1",
        environment=proxies,
    )
    report = (tmp_path / "t/archives/report.json").read_text()
    assert result.returncode == 9 and "hunter2" not in result.stdout + result.stderr + report


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503, "reason": "\x1b]0;owned\x07 \x1b[2J"},
        {"status": 404, "reason": "\x1b[31mno\x9b2J"},
        {"status": 302, "location": "/\x1b[31m/train_00.tar\x1b[2J"},
        {"body": b"\x1b[2J<html>\x07" * 300},
    ],
)
def test_z7_a_servers_words_cannot_steer_the_terminal(tmp_path, catalogue, served, fault):
    with Site(served[0]) as site:
        site.script["train_00.tar"] = [dict(fault) for _ in range(40)]
        result = run(tmp_path / "t", *catalogue, "--mirror", site.url, "--max-wait", "1")
    assert result.returncode and "train_00.tar" in result.stderr
    words = result.stdout + result.stderr
    assert "\x1b" not in words and "\x07" not in words and "\x9b" not in words
    if "reason" in fault:
        assert r"\x1b" in words, "the words are shown, harmless"


@pytest.mark.parametrize(
    "arguments, reason",
    [
        (["--set", "imagenet22k"], "there are webvision-2.0"),
        (["--parts", "vla"], "its parts are info"),
        (["--mirror", "ftp://x"], "http:// or https://"),
        (["--limit-rate", "fast"], "not a size"),
        (["--max-wait", "soon"], "not a time"),
        (["--parallel", "0"], "1 to 16"),
        (["--archives", "nowhere.json"], "no such file"),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_2(tmp_path, arguments, reason):
    result = run(tmp_path / "t", *arguments)
    assert result.returncode == 2 and reason in result.stderr and "Traceback" not in result.stderr
    assert not (tmp_path / "t").exists()


def test_sizes_and_times():
    assert (size("20M"), size("1.5k"), size("3")) == (20e6, 1500, 3) and (
        seconds("90m"),
        seconds("2h"),
        seconds("7"),
    ) == (5400, 7200, 7)
    assert parse_args([]).target == os.path.join(ROOT, "data", "webvision-2.0")
    assert parse_args(["--set", "imagenet", "here"]).target == "here"


# the catalogue


def test_catalogue_holds_the_published_archives():
    sets = archives.read_catalogue()
    names = [one.name for one in archives.select(sets, "webvision-2.0")]
    assert len(names) == 38 and {
        "webvision_train_00.tar",
        "webvision_train_32.tar",
        "info.tar",
        "val_filelist.txt",
    } <= set(names)
    assert (
        archives.select(sets, "webvision-2.0")[0].urls[0] == "https://data.vision.ee.ethz.ch/cvl/webvision2018/info.tar"
    )
    assert archives.select(sets, "ilsvrc2012", parts=["train"])[0].nested
    own = archives.select(sets, "webvision-1.0", parts=["google"], mirrors=["http://nas/webvision"])
    assert own[0].urls == ("http://nas/webvision/google_resized_256.tar",)
    lists = archives.select(sets, "ilsvrc2012", parts=["meta"], mirrors=["http://nas/"])[0]
    assert lists.urls == (
        "http://nas/caffe_ilsvrc12.tar.gz",
        "http://dl.caffe.berkeleyvision.org/caffe_ilsvrc12.tar.gz",
    )


@pytest.mark.parametrize(
    "part",
    [
        "../x.tar",
        ".x",
        "a/b.tar",
        {"name": "x.tar", "into": "../y"},
        {"name": "x.tar", "into": "/etc"},
        {"name": "x.tar", "unto": "y"},
        7,
    ],
)
def test_a_catalogue_cannot_lead_out_of_the_target(tmp_path, part):
    path = tmp_path / "sets.json"
    path.write_text(json.dumps({"s": {"mirrors": ["http://x/"], "parts": {"p": [part]}}}))
    with pytest.raises(DataError, match="not a list of archives"):
        archives.read_catalogue(str(path))


def test_unknown_set():
    with pytest.raises(UsageError):
        archives.select({}, "x")


def test_program_needs_no_tensorflow():
    modules = "webvision.commands.download, webvision.prep.download.crew, webvision.prep.arrange.arrange"
    code = f"import sys, {modules}; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
