"""Archives of arrays from strangers: dtypes and sizes are known before anything is allocated, and whatever is wrong is
exit code 5 with a reason."""

import io
import random
import resource
import struct
import zipfile

import numpy as np
import pytest

from tests.model.test_weights import SHAPES, arrays, load
from tests.soak.fuzz import mutated
from webvision import zips
from webvision.errors import CheckpointError, DataError
from webvision.model.weights import open_weights, write_npz
from webvision.npy import read_npy, read_npy_header


def npy(value):
    out = io.BytesIO()
    np.lib.format.write_array(out, np.asarray(value), allow_pickle=False)
    return out.getvalue()


def archive_of(members, *, method=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def members(**changed):
    return {f"{name}.npy": changed.get(name, npy(value)) for name, value in arrays().items()}


def refused(tmp_path, data, words):
    path = tmp_path / "w.npz"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=words) as caught:
        load(path)
    assert caught.value.exit_code == 5


def header_of(size, body=b""):
    return b"\x93NUMPY\2\0" + struct.pack("<I", size) + body


def encrypted(data):
    """The bit set that says so, in both places of the first member."""
    data = bytearray(data)
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.find(mark) + at] |= 1
    return bytes(data)


def method(data, number):
    data = bytearray(data)
    for mark, at in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
        data[data.find(mark) + at] = number
    return bytes(data)


def wrong_sum(data):
    """A value changed under its member's check sum."""
    at = data.find(b"\x93NUMPY") + 140
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


NAME = next(iter(SHAPES))
REFUSED = {
    "a header of 3 GB": (archive_of(members(**{NAME: header_of(3 << 30)})), "a header of 3,221,225,472 bytes"),
    "encrypted": (encrypted(archive_of(members())), "encrypted"),
    "a method that is none": (method(archive_of(members()), 99), "compressed by method 99"),
    "bzip2": (archive_of(members(), method=zipfile.ZIP_BZIP2), "compressed by method 12"),
    "a wrong sum": (wrong_sum(archive_of(members())), "cannot be read|damaged"),
    "dates": (archive_of(members(**{NAME: npy(np.zeros(SHAPES[NAME], "M8[s]"))})), "array of numbers"),
    "texts": (archive_of(members(**{NAME: npy(np.zeros(SHAPES[NAME], "U3"))})), "array of numbers"),
    "structures": (archive_of(members(**{NAME: npy(np.zeros(SHAPES[NAME], "f4,i4"))})), "array of numbers"),
    "int8": (
        archive_of(members(**{NAME: npy(np.ones(SHAPES[NAME], np.int8))})),
        "holds int8, where a network has real",
    ),
    "bytes short": (archive_of(members(**{NAME: npy(np.ones(SHAPES[NAME], "f"))[:-4]})), "bytes are not as many"),
    "bytes over": (archive_of(members(**{NAME: npy(np.ones(SHAPES[NAME], "f")) + b"x"})), "bytes are not as many"),
    "deep brackets": (archive_of(members(**{NAME: header_of(4000, b"(" * 4000)})), "array of numbers"),
    "no end": (archive_of(members())[:-30], "its end is missing|damaged"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_network_is_refused_with_a_reason(tmp_path, case):
    refused(tmp_path, *REFUSED[case])


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_what_tensorpack_and_numpy_write_is_read(tmp_path, method):
    (tmp_path / "w.npz").write_bytes(archive_of(members(), method=method))
    load(tmp_path / "w.npz")
    np.savez_compressed(tmp_path / "n.npz", **arrays())
    load(tmp_path / "n.npz")
    fortran = {name: np.asfortranarray(value) for name, value in arrays().items()}
    np.savez(tmp_path / "f.npz", **fortran)
    weights = open_weights(tmp_path / "f.npz")
    assert all((weights[name] == value).all() for name, value in fortran.items())


def test_a_header_of_pythons_second_version_is_read():
    """Released archives are of 2017."""
    text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L), }          \n"
    file = io.BytesIO(b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + np.arange(6, dtype="f").tobytes())
    assert (read_npy(file, most_bytes=24) == [[0, 1, 2], [3, 4, 5]]).all()
    for value in (np.float32(3), np.zeros((0, 4)), np.zeros((1,) * 20, np.int64)):
        file = io.BytesIO(npy(value))
        assert read_npy_header(file) == (value.shape, value.dtype, False) and len(file.read()) == value.nbytes


def test_an_array_of_another_size_than_the_networks_is_not_read(tmp_path):
    """A little file of deflated zeros that are 400 MB; the network says what it needs."""
    header = npy(np.zeros(1, "f"))[:128].replace(b"(1,), }          ", b"(100000000,), }  ")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open(f"{NAME}.npy", "w") as member:
            member.write(header)
            for _ in range(400):
                member.write(bytes(1_000_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(tmp_path, out.getvalue(), f"{NAME} is .100000000,. in the file and")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_a_directory_beyond_all_measure_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(zips, "MAX_DIRECTORY", 100)
    refused(tmp_path, archive_of(members()), "a directory of .* bytes; at most 100 are read")


def test_mutated_archives_end_in_a_reason(tmp_path):
    rng = random.Random(5)
    corpus = [archive_of(members(), method=method) for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)]
    corpus += [archive_of(members())[-400:]]
    path = tmp_path / "w.npz"
    verdicts = set()
    for _ in range(600):
        data = mutated(rng.choice(corpus), rng)
        path.write_bytes(data)
        try:
            weights = open_weights(path)
            for name in weights.shapes:
                weights[name]
            verdicts.add("read")
        except CheckpointError as error:
            verdicts.add("refused")
            assert str(path) in str(error)
    assert verdicts == {"read", "refused"}


def test_ours_is_still_byte_for_byte_the_same(tmp_path):
    for name in ("a.npz", "b.npz"):
        write_npz(tmp_path / name, arrays())
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    load(tmp_path / "a.npz")


def test_mutated_submissions_end_in_a_reason(tmp_path):
    from webvision.challenges.codalab.check import check_submission

    rng = random.Random(6)
    text = "".join(f"test{i:06d}.jpg 1    2    3    4    5\n" for i in range(40)).encode()
    methods = zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2
    corpus = [archive_of({"predictions.txt": text}, method=method) for method in methods]
    for _ in range(300):
        path = tmp_path / "s.zip"
        path.write_bytes(mutated(rng.choice(corpus), rng))
        try:
            check_submission(str(path))
        except DataError:
            pass
