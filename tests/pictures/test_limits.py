"""What decoding takes is known before it begins: memory by the kind of picture, walks over it by its scans."""

import functools
import io
import json
import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.support.data_set import ROOT
from tests.support.loader_fixtures import jpeg, picture
from webvision.data.loader import batch_files
from webvision.data.native import library
from webvision.data.pictures import decode, images
from webvision.data.pictures.folder import PictureFolder
from webvision.data.pictures.headers import read_header

PATHS = [path for path in decode.PATHS if path != "window" or library.loaded()]


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(side, *, depth=8, colour=2, frames=0):
    """A black PNG; with `frames` an animated one."""
    channels = {0: 1, 2: 3, 6: 4}[colour]
    rows = zlib.compress((b"\0" + bytes(side * channels * depth // 8)) * side, 1)
    control = struct.Struct(">IIIIIHHBB")
    chunks = [chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, 0))]
    if frames:
        chunks += [chunk(b"acTL", struct.pack(">II", frames, 0))]
        chunks += [chunk(b"fcTL", control.pack(0, side, side, 0, 0, 1, 10, 0, 0))]
    chunks += [chunk(b"IDAT", rows)]
    for number in range(1, 2 * frames - 1, 2):
        chunks += [chunk(b"fcTL", control.pack(number, side, side, 0, 0, 1, 10, 0, 0))]
        chunks += [chunk(b"fdAT", struct.pack(">I", number + 1) + rows)]
    return b"\x89PNG\r\n\x1a\n" + b"".join([*chunks, chunk(b"IEND", b"")])


def tiny_gif(side):
    """35 bytes that claim side x side pixels."""
    screen = b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + bytes(6)
    return screen + b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00;"


@functools.cache
def kinds(side):
    """{kind: bytes} of pictures of side x side; every way of decoding that takes memory of its own."""
    noise = np.random.default_rng(0).integers(0, 256, (side // 4, side // 4, 3), np.uint8)
    flat = Image.fromarray(noise.repeat(4, 0).repeat(4, 1))
    clear = flat.convert("RGBA")
    clear.putalpha(flat.convert("L"))
    moving = {"save_all": True, "append_images": [flat.rotate(90)]}
    return {
        "baseline": saved(flat, "JPEG"),
        "progressive 4:2:0": saved(flat, "JPEG", progressive=True),
        "progressive 4:4:4": saved(flat, "JPEG", progressive=True, subsampling=0),
        "CMYK": saved(flat.convert("CMYK"), "JPEG"),
        "progressive CMYK": saved(flat.convert("CMYK"), "JPEG", progressive=True),
        "PNG": png(side),
        "deep PNG": png(side, depth=16, colour=6),
        "moving PNG": png(side, frames=2),
        "deep moving PNG": png(side, depth=16, colour=6, frames=2),
        "lossy WebP": saved(clear, "WEBP", method=0),
        "lossless WebP": saved(clear, "WEBP", lossless=True, method=0),
        "moving WebP": saved(flat, "WEBP", method=0, **moving),
        "GIF": saved(flat.quantize(64), "GIF"),
        "tiny GIF": tiny_gif(side),
        "BMP": saved(flat, "BMP"),
    }


# Grows by what one decoding takes, in a process of its own for each file: a peak only ever rises.
MEASURE = """
import json, os, resource, sys
sys.path.insert(0, sys.argv[1])
import cv2, numpy, simplejpeg
from webvision.data.pictures import decode, images
cv2.setNumThreads(0)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
images.read_image(open(sys.argv[2], "rb").read())
for path in sys.argv[3:]:
    if not os.fork():
        data = open(path, "rb").read()
        before = peak()
        images.read_image(data)
        print(json.dumps([os.path.basename(path), peak() - before]), flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.mark.parametrize("decoder", PATHS)
def test_no_picture_takes_more_memory_than_its_header_said(tmp_path, decoder):
    side = 1536
    files = {kind: data for kind, data in kinds(side).items() if decoder == PATHS[0] or data[:2] == b"\xff\xd8"}
    (tmp_path / "small").write_bytes(jpeg(picture(1)))
    for kind, data in files.items():
        (tmp_path / kind).write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, ROOT, tmp_path / "small", *(tmp_path / kind for kind in files)],
        env={**os.environ, "WEBVISION_DECODER": decoder},
        capture_output=True,
        text=True,
        check=True,
    )
    taken = dict(map(json.loads, done.stdout.splitlines()))
    assert taken.keys() == files.keys()
    for kind, data in files.items():
        said = read_header(data).pixel_bytes * side**2 + len(data)
        assert taken[kind] < said + 6_000_000, f"{kind}: {taken[kind] / side**2:.1f} bytes a pixel"


@pytest.mark.parametrize(
    "side, kind", [(8192, "tiny GIF"), (8192, "PNG"), (5000, "moving PNG"), (3600, "deep moving PNG")]
)
def test_the_largest_pictures_by_kind(side, kind):
    made = {"tiny GIF": tiny_gif, "PNG": png, "moving PNG": lambda side: png(side, frames=2)}
    made["deep moving PNG"] = lambda side: png(side, depth=16, colour=6, frames=2)
    memory = images.inspect(made[kind](1024)).pixel_bytes * side**2
    if kind == "tiny GIF":
        assert memory > images.DEFAULT_POLICY.max_memory
        with pytest.raises(images.ImageError, match="MB to decode it") as caught:
            images.inspect(tiny_gif(side))
        assert caught.value.reason == "too-many-pixels"
    else:
        assert memory < images.DEFAULT_POLICY.max_memory


def with_sides(data, side):
    """A JPEG whose frame header claims side x side pixels."""
    at = next(data.find(mark) for mark in (b"\xff\xc0", b"\xff\xc2") if mark in data)
    return data[: at + 5] + struct.pack(">HH", side, side) + data[at + 9 :]


def test_progressive_pictures_may_have_fewer_pixels():
    whole = Image.fromarray(picture(1, 64, 64))
    for options, accepted in (
        ({}, True),
        ({"progressive": True}, True),
        ({"progressive": True, "subsampling": 0}, False),
    ):
        data = with_sides(saved(whole, "JPEG", **options), 8192)
        if accepted:
            images.inspect(data)
        else:
            with pytest.raises(images.ImageError, match="MB to decode it"):
                images.inspect(data)
    moving = saved(whole, "WEBP", save_all=True, append_images=[whole.rotate(90)])
    assert moving[12:16] == b"VP8X"
    canvas = (8191).to_bytes(3, "little") * 2
    with pytest.raises(images.ImageError, match="8192 x 8192 as this webp: up to 1074 MB"):
        images.inspect(moving[:24] + canvas + moving[30:])


def with_scans(data, count):
    """The JPEG's last scan again and again, before its end."""
    last = data.rfind(b"\xff\xda")
    return data[:-2] + data[last:-2] * count + data[-2:]


@pytest.mark.parametrize("decoder", PATHS)
@pytest.mark.parametrize("side, count", [(64, 600), (8000, 40)])
def test_a_scan_bomb_is_refused_by_its_header_whatever_decodes(monkeypatch, decoder, side, count):
    monkeypatch.setenv("WEBVISION_DECODER", decoder)
    data = with_scans(with_sides(saved(Image.fromarray(picture(1, 64, 64)), "JPEG", progressive=True), side), count)
    for policy in (images.DEFAULT_POLICY, images.ImagePolicy(accept_truncated=True)):
        with pytest.raises(images.ImageError, match="scans of") as caught:
            images.read_image(data, policy)
        assert caught.value.reason == "corrupt"


def test_the_compiled_reader_leaves_what_it_is_not_sure_of():
    if not library.loaded():
        pytest.skip("no compiled decoder here")
    plain, progressive = (
        saved(Image.fromarray(picture(1, 64, 64)), "JPEG", progressive=several) for several in (False, True)
    )
    surely = {"plain": plain, "progressive": progressive}
    unsure = {
        "scans": with_scans(progressive, 40),
        "large": with_sides(progressive, 8000),
        "no scan": plain[: plain.find(b"\xff\xda")] + plain[-2:],
    }
    taken = {name: bool(len(read_by_arena(data).rows)) for name, data in {**surely, **unsure}.items()}
    assert taken == {**dict.fromkeys(surely, True), **dict.fromkeys(unsure, False)}


def read_by_arena(data):
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        beats = np.zeros(4, np.int64)
        folder, name = os.path.split(os.fsencode(file.name))
        return batch_files.Arena().read([0], [name], PictureFolder(folder), beats=beats)


@pytest.mark.parametrize("decoder", PATHS)
@pytest.mark.parametrize("revision", [b"\x01\x02", b"\x09\x09", b"\x00\xff"])
def test_an_odd_jfif_revision_is_harmless_whatever_decodes(decoder, revision):
    plain = jpeg(picture(3))
    at = plain.find(b"JFIF\0") + 5
    data = plain[:at] + revision + plain[at + 2 :]
    header = images.inspect(data)
    for window in (None, (5, 7, 40, 30)):
        odd, sound = (decode.decode(one, header, window=window, path=decoder) for one in (data, plain))
        assert (odd == sound).all()
    cut = data[: len(data) // 2] + b"\xff\xd9"
    if decoder != "opencv":
        with pytest.raises(decode.DecodeError):
            decode.decode(cut, header, path=decoder)
