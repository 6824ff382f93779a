"""Archives at addresses: the bytes of local ones through every fault of a server, in a cache that keeps its limit."""

import os
import shutil
import threading

import pytest

from tests.support.archive_fixtures import put_into_archives
from tests.support.loader_fixtures import CLASSES, make_tree, take
from tests.support.prep_server import Site
from webvision.data.archives import remote
from webvision.data.archives.store import PictureArchives
from webvision.data.data_set import DataSet
from webvision.data.loader.batches import TrainBatches
from webvision.data.loader.spec import BatchSpec
from webvision.data.views.augment import Augmentation
from webvision.errors import DataError, NetworkError, ResourceError, UsageError


@pytest.fixture(scope="module")
def archived(tmp_path_factory):
    root = make_tree(tmp_path_factory.mktemp("sets") / "set", 30)
    (root / "meta" / "synsets.txt").write_text("".join(f"c{label}\n" for label in range(CLASSES)))
    put_into_archives(root, "train")
    return root


@pytest.fixture
def site(archived):
    files = {path.name.replace(" ", "_"): path.read_bytes() for path in (archived / "train").glob("*.tar")}
    with Site(files) as found:
        yield found


@pytest.fixture
def away(archived, tmp_path, site, monkeypatch):
    """The set with addresses instead of archives."""
    root = tmp_path / "away"
    shutil.copytree(archived / "meta", root / "meta", ignore=shutil.ignore_patterns(".*"))
    (root / "train").mkdir()
    (root / "train" / "archives.txt").write_text("".join(f"{site.url}/{name}\n" for name in sorted(site.files)))
    monkeypatch.setenv(remote.VARIABLE, f"{tmp_path / 'cache'}:1G")
    return root


def batches_of(root, workers=0):
    split = DataSet.open(str(root)).split("train")
    assert isinstance(split.pictures, PictureArchives)
    batches = TrainBatches(split, split.order(seed=3), BatchSpec(Augmentation(image_size=32), 8), workers=workers)
    try:
        return take(batches, 8)[1]
    finally:
        batches.close()


def test_batches_are_those_of_local_archives_and_each_is_fetched_once(archived, away, site):
    right = batches_of(archived)
    assert batches_of(away) == batches_of(away, workers=2) == right
    assert [len(site.gets(name)) for name in sorted(site.files)] == [1, 1, 1]


def test_faults_of_the_server_are_waited_out_and_what_came_is_kept(archived, away, site):
    first, second, third = sorted(site.files)
    site.script[first] = [{"status": 503}, {"cut": 5000}, {"cut": 100, "ranges": False}, {"status": 500}]
    site.script[second] = [{"drip": (4096, 0.01)}, {}]
    site.script[third] = [{"cut": 7000}, {"shift": 1}, {"ranges": False}]
    assert batches_of(away) == batches_of(archived)
    assert site.gets(first)[2] == "bytes=5000-" and site.gets(third)[1:] == ["bytes=7000-"] * 2


def test_another_object_under_the_address_is_indexed_anew_and_ends_a_run(archived, away, site, tmp_path):
    DataSet.open(str(away)).split("train")
    split = DataSet.open(str(away)).split("train")
    name = sorted(site.files)[0]
    site.files[name] = site.files[name][:-512] + b"\1" * 512
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(DataError, match="this archive changed while it was in use"):
        for picture in split.index.names(range(30)):
            split.pictures.read(picture.encode())
    gets = len(site.gets(name))
    assert len(DataSet.open(str(away)).split("train").pictures.members) == 30
    assert len(site.gets(name)) == gets + 1


def test_the_cache_keeps_its_limit_and_drops_what_was_used_longest_ago(archived, away, site, tmp_path, monkeypatch):
    sizes = sorted(map(len, site.files.values()))
    limit = sizes[-1] + sizes[-2] + 1
    monkeypatch.setattr(remote, "open_cache", lambda: remote.Cache(str(tmp_path / "small"), limit))
    assert batches_of(away) == batches_of(archived)
    kept = [entry for entry in os.scandir(tmp_path / "small") if entry.name.endswith(".tar")]
    assert len(kept) == 2 and sum(entry.stat().st_size for entry in kept) <= limit
    assert max(len(site.gets(name)) for name in site.files) > 1
    monkeypatch.setattr(remote, "open_cache", lambda: remote.Cache(str(tmp_path / "none"), 100))
    with pytest.raises(ResourceError, match="a larger one: WEBVISION_ARCHIVE_CACHE"):
        DataSet.open(str(away)).split("train").pictures.read(b"c0/picture 0.jpg")


def test_many_who_want_one_archive_wait_for_the_first(away, site, tmp_path):
    name = sorted(site.files)[0]
    address = f"{site.url}/{name}"
    facts = remote.look_at(name, address)
    site.script[name] = [{"drip": (2048, 0.02)}]
    found, waited, cache = [], [], remote.open_cache()
    threads = [
        threading.Thread(
            target=lambda: found.append(
                remote.local_path(address, facts, cache=cache, waiting=lambda: waited.append(1))
            )
        )
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1 and len(found) == 6 and open(found[0], "rb").read() == site.files[name]
    assert len(site.gets(name)) == 1 and waited
    assert os.listdir(tmp_path / "cache") == [os.path.basename(found[0])]


def test_what_will_never_come_is_an_error_that_shows_no_secret(away, site, monkeypatch):
    monkeypatch.setattr(remote, "PATIENCE_S", 0.5)
    name = sorted(site.files)[0]
    address = f"http://user:secret@127.0.0.1:{site.port}/{name}?signature=secret"
    for fault, error, said in (
        ({"status": 403, "reason": "Forbidden"}, DataError, "the server answers 403 Forbidden"),
        ({"status": 503}, NetworkError, "the server answers 503; the same command goes on from here"),
        ({"etag": ""}, DataError, "tells no ETag and no date"),
        ({"length": False}, DataError, "does not say how long"),
    ):
        site.head_faults = fault
        with pytest.raises(error, match=said) as found:
            remote.look_at(name, address)
        assert "secret" not in str(found.value) and f"127.0.0.1:{site.port}/{name}" in str(found.value)


@pytest.mark.parametrize(
    "text, reason",
    [
        ("ftp://a/b.tar\n", r"archives.txt:1: not the http\(s\):// or s3:// address of a .tar"),
        ("http://a/b.tar\nhttp://c/b.tar\n", "archives.txt:2: a second archive called b.tar"),
        ("http://a/b.zip", "archives.txt:1: not the"),
        ("\n", "archives.txt:1: not the"),
    ],
)
def test_a_wrong_list_of_addresses_is_refused(tmp_path, text, reason):
    (tmp_path / "archives.txt").write_text(text)
    with pytest.raises(DataError, match=reason):
        remote.addresses(str(tmp_path))


def test_the_cache_is_where_and_as_large_as_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv(remote.VARIABLE, f"{tmp_path}/a:b:1.5T")
    assert remote.open_cache() == (f"{tmp_path}/a:b", 1_500_000_000_000)
    monkeypatch.setenv(remote.VARIABLE, f"{tmp_path}:many")
    with pytest.raises(UsageError, match="FOLDER:SIZE"):
        remote.open_cache()
    monkeypatch.delenv(remote.VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert remote.open_cache().folder == str(tmp_path / "webvision" / "archives")
