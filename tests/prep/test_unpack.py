"""Unpacking: only regular files, only below the target, whole or absent, and no archive lost before its content is
safe."""

import gzip
import io
import os
import random
import struct
import tarfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.prep.test_fetch import Download
from tests.support.prep_fixtures import count_lines, picture_of, run_and_die
from tests.support.prep_server import Site, make_tar
from webvision.data.archives import tarstream
from webvision.errors import DataError, WebvisionError
from webvision.prep.download import unpack
from webvision.prep.download.catalogue import Archive

FILES = {f"google/q{i % 3:05d}/{i:03d}.jpg": random.Random(i).randbytes(i * 37 % 1500) for i in range(30)}


def archive_of(name="a.tar", **settings):
    return Archive(name, (), **settings)


def unpack_bytes(tmp_path, data, *, name="a.tar", skip_odd=False, **settings):
    """Inspect, then unpack, as the program does; returns the names left out."""
    target, state = tmp_path / "target", tmp_path / "state"
    for folder in (target, state):
        folder.mkdir(exist_ok=True)
    path = tmp_path / name
    path.write_bytes(data)
    archive = archive_of(name, **settings)
    unpack.inspect(archive, str(path), skip_odd=skip_odd)
    return unpack.unpack(archive, str(path), str(target), state=str(state))


def content(folder):
    return {
        os.path.relpath(os.path.join(parent, name), folder): open(os.path.join(parent, name), "rb").read()
        for parent, _, names in os.walk(folder)
        for name in names
    }


def special(name, kind, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info, b""


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_all_three_formats_give_the_bytes_that_went_in(tmp_path, form):
    files = {**FILES, "./flickr/" + "long" * 20 + "/" + "long" * 20 + ".jpg": b"x", "flickr/\u00e9\u4e2d.jpg": b"y"}
    unpack_bytes(tmp_path, make_tar(files, form=form))
    assert content(tmp_path / "target") == {name.removeprefix("./"): data for name, data in files.items()}


def test_gzip_nested_and_into(tmp_path):
    inner = {"n01.tar": make_tar({"n01_1.JPEG": b"1", "n01_2.JPEG": b"22"}), "n02.tar": make_tar({"n02_1.JPEG": b"3"})}
    unpack_bytes(tmp_path, gzip.compress(make_tar(inner)), name="t.tar.gz", into="train", nested=True)
    assert content(tmp_path / "target") == {
        "train/n01/n01_1.JPEG": b"1",
        "train/n01/n01_2.JPEG": b"22",
        "train/n02/n02_1.JPEG": b"3",
    }


def test_files_are_plain_and_readable_whatever_the_header_says(tmp_path):
    info = tarfile.TarInfo("a.jpg")
    info.size, info.mode, info.uid = 1, 0o6777, 12345
    unpack_bytes(tmp_path, make_tar([(info, b"x")]))
    status = os.stat(tmp_path / "target/a.jpg")
    assert status.st_mode & 0o7777 == 0o644 and status.st_uid == os.getuid()


# X1


@pytest.mark.parametrize(
    "name, data, reason",
    [
        ("cut in a member", make_tar(FILES)[:9000], "cut off"),
        ("no end mark", make_tar({"a": b"x"})[:1024], "without an end mark"),
        (
            "garbage header",
            make_tar({"a": b"x" * 512})[:1024] + b"\x77" * 2048,
            "no tar header at byte 1,024, after 1 members",
        ),
        ("gzip", gzip.compress(make_tar(FILES)), "no tar header"),
        ("zero bytes", b"", "cut off"),
        ("zeros", bytes(10240), "no member"),
        ("one zero block", make_tar({"a": b""})[:512] + bytes(512) + make_tar({"b": b""}), "lone block"),
    ],
)
def test_x1_damage_is_found_before_anything_is_unpacked(tmp_path, name, data, reason):
    with pytest.raises(tarstream.TarError, match=reason):
        unpack_bytes(tmp_path, data)
    assert content(tmp_path / "target") == {}


def test_x1_good_members_are_kept_and_the_archive_stays(tmp_path):
    tar = make_tar(FILES)
    with Site({"a.tar": tar[: len(tar) // 2]}) as site:
        download = Download(tmp_path, site)
        with pytest.raises(DataError, match="cut off.*fetched again with the same outcome.*quarantine"):
            download.run()
        saved = content(download.target)
        members = {name: data for name, data in saved.items() if not name.startswith("archives")}
        assert members.items() <= FILES.items() and 5 < len(members) < len(FILES)
        assert saved["archives/a.tar.quarantine"] == tar[: len(tar) // 2] and "archives/a.tar.done.json" not in saved
        site.files["a.tar"] = tar
        again = Download(tmp_path, site)
        again.run()
        again.check(tar, FILES)


def test_x1_an_archive_put_there_by_hand_is_never_deleted(tmp_path):
    with Site({}) as site:
        download = Download(tmp_path, site, keep=False)
        path = download.state / "a.tar"
        path.write_bytes(make_tar(FILES)[:9000])
        with pytest.raises(DataError, match="the archive stays; delete"):
            download.run()
        assert path.exists() and len(content(download.target)) > 1
        path.write_bytes(make_tar(FILES))
        assert download.run()["status"] == "done" and not path.exists() and site.log == []


def test_x1_damaged_gzip(tmp_path):
    data = gzip.compress(make_tar({"a": random.Random(0).randbytes(5000)}))
    for broken in (data[:3000], data[:2000] + b"\0" * 50 + data[2050:], b"nonsense"):
        with pytest.raises(tarstream.TarError):
            unpack_bytes(tmp_path, broken, name="a.tar.gz")


# X2


@pytest.mark.parametrize(
    "name", ["/etc/cron.d/x", "../x", "a/../../x", "..", "a//b", "a/" * 40 + "b", "x" * 256, "d/" * 600 + "x"]
)
def test_x2_x3_names_that_lead_elsewhere_refuse_the_archive(tmp_path, name):
    with pytest.raises(DataError, match="this archive is refused whole"):
        unpack_bytes(tmp_path, make_tar({"good.jpg": b"x", name: b"evil"}, form=tarfile.PAX_FORMAT))
    assert content(tmp_path / "target") == {} and not (tmp_path / "x").exists()


ODD = [
    special("s", tarfile.SYMTYPE, "/etc/passwd"),
    special("h", tarfile.LNKTYPE, "good.jpg"),
    special("c", tarfile.CHRTYPE),
    special("b", tarfile.BLKTYPE),
    special("p", tarfile.FIFOTYPE),
    special("S", b"S"),
    special("z", b"Z"),
]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd[0].name)
def test_x2_links_devices_and_pipes_refuse_the_archive_or_are_left_out(tmp_path, odd):
    data = make_tar([("good.jpg", b"x"), odd, ("last.jpg", b"y")])
    with pytest.raises(DataError, match="only regular files.*--skip-odd-members"):
        unpack_bytes(tmp_path, data)
    assert content(tmp_path / "target") == {}
    assert unpack_bytes(tmp_path, data, skip_odd=True) == [odd[0].name]
    assert sorted(os.listdir(tmp_path / "target")) == ["good.jpg", "last.jpg"]


def test_x2_writing_through_a_link_is_impossible(tmp_path):
    (tmp_path / "secret").mkdir()
    data = make_tar([special("google", tarfile.SYMTYPE, "../secret"), ("google/x.jpg", b"x")])
    unpack_bytes(tmp_path, data, skip_odd=True)
    assert os.listdir(tmp_path / "secret") == []
    os.symlink(tmp_path / "secret", tmp_path / "target/flickr")  # one that was there before
    with pytest.raises(DataError, match="flickr: is not a folder"):
        unpack_bytes(tmp_path, make_tar({"flickr/x.jpg": b"x"}))
    os.symlink(tmp_path / "secret/y", tmp_path / "target/y.jpg")
    with pytest.raises(DataError, match="neither was touched"):
        unpack_bytes(tmp_path, make_tar({"y.jpg": b"x"}))
    assert os.listdir(tmp_path / "secret") == []


# X3


def header_of(name, size_field, kind=b"0"):
    """A header block by hand, with whatever stands in the size field."""
    block = bytearray(tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT))
    block[124:136], block[156:157], block[148:156] = size_field, kind, b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    "field", [b"\x80" + (10 * 2**30).to_bytes(11, "big"), b"77777777777\0", b"\xff" * 12, b"\x80" + b"\xff" * 11]
)
def test_x3_a_member_bomb_is_refused_by_its_header(tmp_path, field):
    with pytest.raises(tarstream.TarError, match="claims|no tar header"):
        unpack_bytes(tmp_path, header_of("bomb", field) + bytes(2048))


def test_x3_a_sparse_gigabyte_in_gzip_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tarstream, "MAX_MEMBER_BYTES", 1 << 20)
    with pytest.raises(tarstream.TarError, match="at most"):
        unpack_bytes(tmp_path, gzip.compress(make_tar({"zeros": bytes(2 << 20)})), name="a.tar.gz")


def test_x3_too_many_members(tmp_path, monkeypatch):
    monkeypatch.setattr(tarstream, "MAX_MEMBERS", 10)
    with pytest.raises(tarstream.TarError, match="more than 10 members"):
        unpack_bytes(tmp_path, make_tar(FILES))


def test_x3_endless_names_and_pax_headers(tmp_path):
    for kind in (b"L", b"x"):
        with pytest.raises(tarstream.TarError, match="a name or pax header of"):
            unpack_bytes(tmp_path, header_of("././@LongLink", b"%011o\0" % (1 << 30), kind) + bytes(2048))


def test_x3_repeated_members_may_agree_and_must_not_differ(tmp_path):
    unpack_bytes(tmp_path, make_tar([("a.jpg", b"same"), ("a.jpg", b"same")]))
    with pytest.raises(DataError, match="a.jpg: lies there with other content"):
        unpack_bytes(tmp_path, make_tar([("b/a.jpg", b"one"), ("b/a.jpg", b"two")]))
    assert (tmp_path / "target/b/a.jpg").read_bytes() == b"one"


def test_x3_names_that_differ_in_case_stay_two_files_or_an_error(tmp_path):
    files = {"a/X.jpg": b"one", "A/x.jpg": b"two", "a/x.jpg": b"three"}
    try:
        unpack_bytes(tmp_path, make_tar(files))
    except DataError:
        return  # a file system that can't tell them apart: refused, nothing overwritten
    assert content(tmp_path / "target") == files


def test_x3_sparse_pax_member(tmp_path):
    info = tarfile.TarInfo("s.jpg")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.realsize": "10000000000"}
    with pytest.raises(DataError, match="a sparse file"):
        unpack_bytes(tmp_path, make_tar([(info, b"")], form=tarfile.PAX_FORMAT))


# X4


def test_x4_killed_while_unpacking_and_run_again(tmp_path, kills=12):
    """Only the interrupted archive is unpacked again, and the result has neither a torn file nor a left-over."""
    tar = make_tar(FILES)

    def job(name):
        folder = tmp_path / name
        download = Download(folder, keep=False)
        if not (download.state / "a.tar.done.json").exists():
            (download.state / "a.tar").write_bytes(tar)
        return folder, download.run

    folder, work = job("undisturbed")
    lines = count_lines(work)
    expected = picture_of(folder)
    generator = random.Random(4)
    for trial in range(kills):
        folder, work = job(f"trial{trial}")
        for _ in range(generator.randint(1, 3)):
            run_and_die(work, generator.randint(1, lines))
            present = content(folder / "target")
            assert all(FILES[name] == data for name, data in present.items() if not name.startswith("archives")), trial
            assert "archives/a.tar" in present or "archives/a.tar.done.json" in present, trial
        Download(folder, keep=False).run()
        found = {name: value for name, value in picture_of(folder).items() if not name.endswith(".tmp")}
        assert found == expected, trial


def test_x4_a_file_torn_by_a_power_cut_is_written_again(tmp_path):
    tar = make_tar(FILES)
    unpack_bytes(tmp_path, tar)
    name = max(FILES, key=lambda one: len(FILES[one]))
    (tmp_path / "target" / name).write_bytes(b"")
    with pytest.raises(DataError, match="other content"):
        unpack_bytes(tmp_path, tar)
    (tmp_path / "state/a.tar.unpacking.json").write_text('{"boot": "before"}')
    unpack_bytes(tmp_path, tar)
    assert content(tmp_path / "target") == FILES


# fuzz


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
@given(st.data())
def test_fuzz_damaged_tars_end_in_our_error_and_never_outside_the_target(tmp_path_factory, data):  # Z5
    """Flipped, spliced and re-checksummed headers: no crash, no hang, nothing beside target/ and state/."""
    form = data.draw(st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
    names = data.draw(
        st.lists(
            st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=130),
            min_size=1,
            max_size=4,
        )
    )
    members = [(name, b"x" * data.draw(st.integers(0, 700))) for name in names]
    try:
        tar = bytearray(make_tar(members, form=form))
    except ValueError:
        return  # the standard library can't write such a name in this format
    for _ in range(data.draw(st.integers(0, 6))):
        block = data.draw(st.integers(0, min(len(tar), 4096) // 512 - 1)) * 512
        place = block + data.draw(
            st.sampled_from([*range(0, 12), 99, *range(124, 136), 156, *range(257, 265), 345, 346, 400])
        )
        tar[place] = data.draw(st.sampled_from([0, 0x2E, 0x2F, 0x30, 0x31, 0x35, 0x37, 0x4C, 0x78, 0x80, 0xFF]))
        if data.draw(st.booleans()):  # a lie with a right checksum goes further
            tar[block + 148 : block + 156] = b" " * 8
            tar[block + 148 : block + 156] = b"%06o\0 " % sum(tar[block : block + 512])
    tar = tar[: data.draw(st.sampled_from([len(tar), 700, 1024, 1536]))]
    folder = tmp_path_factory.mktemp("fuzz")
    try:
        unpack_bytes(folder, bytes(tar), skip_odd=data.draw(st.booleans()))
    except WebvisionError:
        pass
    assert set(os.listdir(folder)) <= {"target", "state", "a.tar"}
    for parent, folders, files in os.walk(folder / "target"):
        assert not any(os.path.islink(os.path.join(parent, name)) for name in folders + files)


@settings(max_examples=500, deadline=None, database=None, derandomize=True)
@given(st.binary(max_size=3000))
def test_fuzz_random_bytes_are_no_tar(data):
    with pytest.raises(tarstream.TarError):
        list(tarstream.Reader(io.BytesIO(data)))


def test_base_256_sizes_are_read():
    assert tarstream.Reader(io.BytesIO())._number(b"\x80" + struct.pack(">3xQ", 12345)) == 12345
