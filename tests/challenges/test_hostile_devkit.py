"""A devkit or an archive of validation images from a stranger: limits hold before anything is allocated."""

import gzip
import io
import random
import struct
import tarfile
import zlib

import numpy as np
import pytest
import scipy.io

from tests.challenges.test_ilsvrc import check_mat
from tests.soak.fuzz import mutated
from tests.support.sotabench_fixtures import devkit, synsets
from webvision.challenges.sotabench import evaluate, ilsvrc, matfile
from webvision.errors import DataError


def header(name, size, kind=b"0"):
    """A tar header as GNU writes it, with any size."""
    block = bytearray(512)
    block[: len(name)] = name
    block[124:136] = b"%011o\0" % size if size < 8**11 else b"\x80" + size.to_bytes(11, "big")
    block[148:156], block[156:157] = b" " * 8, kind
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def refused(tmp_path, data, words):
    path = tmp_path / "d.tar.gz"
    path.write_bytes(gzip.compress(data, 1))
    with pytest.raises(DataError, match=words):
        ilsvrc.read_devkit(path)
    (tmp_path / evaluate.ARCHIVE).write_bytes(data)
    try:
        for _, read in evaluate.open_images(tmp_path):
            read()
    except DataError:
        pass


@pytest.mark.parametrize("kind", [b"x", b"L", b"g", b"K"])
def test_headers_of_gigabytes_are_not_read(tmp_path, kind):
    refused(tmp_path, header(b"long", 2 << 30, kind) + bytes(1024), "a name or pax header of 2,147,483,648 bytes")


def test_a_sparse_file_and_a_huge_member_are_not_read(tmp_path):
    refused(tmp_path, header(b"data/meta.mat", 1 << 40) + bytes(1024), "claims|this is not the devkit")
    refused(tmp_path, header(b"meta.mat", 1 << 29) + bytes(1024), "this is not the devkit")
    sparse = {"GNU.sparse.major": "1", "GNU.sparse.realsize": str(1 << 40)}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("meta.mat")
        info.pax_headers = sparse
        archive.addfile(info)
    refused(tmp_path, out.getvalue(), "no meta.mat")


def test_headers_without_end_are_refused(tmp_path):
    record = b"20 comment=abcdefgh\n"
    one = header(b"pax", len(record), b"x") + record.ljust(512, b"\0")
    refused(tmp_path, one * 100 + header(b"meta.mat", 0) + bytes(1024), "more than 8 headers for one member")


def test_a_gzip_of_many_bytes_ends_where_no_devkit_would(tmp_path, monkeypatch):
    monkeypatch.setattr(ilsvrc, "MAX_BYTES", 1 << 20)
    member = header(b"data/a.txt", 1 << 19) + bytes(1 << 19)
    refused(tmp_path, member * 4 + bytes(1024), "member 2, .*this is not the devkit")


@pytest.mark.parametrize("line", [b"1\n" * 100_001, b"1" * 5000 + b"\n", b"\xb2\n", b"-1\n", b"1 2\n"])
def test_a_truth_list_that_is_none_is_refused_at_once(tmp_path, line):
    path = devkit(tmp_path / "d.tar.gz", synsets(10), [1])
    with gzip.open(path) as file:
        archive = tarfile.open(fileobj=io.BytesIO(file.read()))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as new:
        for member in archive:
            data = (
                line if "ground_truth" in member.name else archive.extractfile(member).read() if member.isreg() else b""
            )
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))
    path.write_bytes(gzip.compress(out.getvalue()))
    with pytest.raises(DataError, match="lines; this is not the devkit|is not the ILSVRC2012_ID"):
        ilsvrc.read_devkit(path)


def test_a_list_of_more_images_than_there_are_is_refused(tmp_path):
    (tmp_path / "val.txt").write_text("".join(f"{number}.jpg 1\n" for number in range(100_002)))
    with pytest.raises(DataError, match="more than 100,000 images"):
        ilsvrc.find_targets(tmp_path)


# MAT-files


def element(kind, data):
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def array(kind, dims, *parts, dims_type=5):
    flags = element(6, struct.pack("<II", kind, 0))
    name = element(1, b"x")
    return element(14, flags + element(dims_type, dims) + name + b"".join(parts))


def mat(*elements):
    return b"MATLAB 5.0".ljust(124) + struct.pack("<H", 0x0100) + b"IM" + b"".join(elements)


NAN = struct.pack("<dd", float("nan"), 1.0)
BAD_MATS = {
    "NaN for a side": (array(6, NAN, element(9, bytes(8)), dims_type=9), "fractions where whole numbers"),
    "65 dimensions": (array(6, struct.pack("<65i", *[1] * 65), element(9, bytes(8))), "without class or shape"),
    "33 empty dimensions": (array(6, struct.pack("<33i", *[0] * 33), element(9, b"")), "without class or shape"),
    "cells": (
        array(1, struct.pack("<2i", 1, 250_000), bytes(8) * 0 + element(14, b"") * 250_000),
        "arrays within arrays",
    ),
}


@pytest.mark.parametrize("case", BAD_MATS)
def test_mat_files_of_odd_shapes_are_refused(case):
    data, words = BAD_MATS[case]
    with pytest.raises(DataError, match=words):
        matfile.read_mat(mat(data))


def test_many_compressed_variables_share_one_allowance():
    one = array(6, struct.pack("<2i", 1, 1 << 18), element(9, bytes(8 << 18)))
    packed = zlib.compress(one)
    compressed = struct.pack("<II", 15, len(packed)) + packed
    assert matfile.read_mat(mat(compressed))["x"].shape == (1, 1 << 18)
    with pytest.raises(DataError, match="its file larger than"):
        matfile.read_mat(mat(*[compressed] * 5))


def test_mutated_mat_files_are_read_or_refused():
    file = io.BytesIO()
    scipy.io.savemat(file, {"synsets": synsets(6), "x": np.arange(9.0), "c": np.array([[1.0, "a"]], object)})
    rng = random.Random(7)
    for _ in range(1500):
        check_mat(mutated(file.getvalue(), rng))
