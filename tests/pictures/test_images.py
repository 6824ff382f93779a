"""read_image: what is let in, how it is shown, and why the rest is refused. I1-I5, I8; Pillow writes and reads the odd
files."""

import errno
import io
import os
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from tests.support.data_set import ROOT
from tests.support.loader_fixtures import jpeg, picture
from tests.support.sampled_jpeg import sampled_jpeg
from webvision.data.native import library
from webvision.data.pictures import decode, images
from webvision.data.pictures.images import REASONS, ImageError, ImagePolicy, inspect, read_image, read_image_file

SHOWN = picture(1, 60, 44)


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def as_bgr(image):
    return np.asarray(image.convert("RGB"))[..., ::-1]


def pil(bgr=SHOWN):
    return Image.fromarray(np.ascontiguousarray(bgr[..., ::-1]))


def reason_of(data, policy=images.DEFAULT_POLICY):
    with pytest.raises(ImageError) as caught:
        read_image(data, policy)
    assert caught.value.reason in REASONS
    return caught.value.reason


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_lossless_formats_come_in_exactly(kind):
    assert (read_image(saved(pil(), kind)) == SHOWN).all()
    assert (read_image(saved(pil(), "WEBP", lossless=True)) == SHOWN).all()


def test_grey_palette_alpha_and_sixteen_bits():
    grey = pil().convert("L")
    assert (read_image(saved(grey, "PNG")) == as_bgr(grey)).all()
    assert (read_image(saved(grey, "JPEG")) == as_bgr(Image.open(io.BytesIO(saved(grey, "JPEG"))))).all()
    palette = pil().quantize(64)
    for kind in ("PNG", "GIF", "BMP"):
        assert (read_image(saved(palette, kind)) == as_bgr(palette)).all()
    seen_through = pil().convert("RGBA")
    seen_through.putalpha(Image.fromarray(np.tile(np.arange(60, dtype=np.uint8), (44, 1))))
    assert (read_image(saved(seen_through, "PNG")) == SHOWN).all()  # dropped, not blended
    deep = cv2.imencode(".png", SHOWN.astype(np.uint16) * 257)[1].tobytes()
    assert (read_image(deep) == SHOWN).all()


UNCOMMON = (
    "4x2,1x1,1x1",
    "3x1,1x1,1x1",
    "3x2,1x1,1x1",
    "1x3,1x1,1x1",
    "1x4,1x1,1x1",
    "2x4,1x1,1x1",
    "1x1,2x1,1x1",
    "2x2,2x1,1x2",
    "4x1,2x1,1x1",
)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("sampling", [*UNCOMMON, "1x1,1x1,1x1", "2x2,1x1,1x1"])
def test_a_picture_is_read_whole_wherever_its_window_is_read(monkeypatch, sampling, progressive):
    """simplejpeg knows six samplings; evaluation read through it, training past it. With a compiler or without."""
    data = sampled_jpeg(1, 70, 50, sampling, progressive=progressive)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).astype(int)
    header = inspect(data)
    assert header.plain
    for found in (library.loaded() or False, False):
        monkeypatch.setattr(library, "_library", found)
        assert np.abs(read_image(data) - expected).max() <= 1
        window = images.read_window(data, header, (9, 7, 40, 30))
        assert np.abs(window - expected[7:37, 9:49]).max() <= 1


def test_damage_in_an_uncommon_sampling_is_noticed():
    if not decode.fast_path():
        pytest.skip("no compiled decoder here, and OpenCV does not tell")
    data = sampled_jpeg(1, 70, 50, "4x2,1x1,1x1")
    assert reason_of(data[:-200]) == "truncated" and reason_of(data[:-200] + data[-2:]) == "corrupt"


def test_cmyk_becomes_colour():
    image = read_image(saved(pil().convert("CMYK"), "JPEG", quality=95))
    assert np.abs(image.astype(int) - SHOWN).mean() < 4


def test_of_an_animation_the_first_frame():
    frames = [Image.fromarray(np.full((20, 30, 3), level, np.uint8)) for level in (40, 200, 90)]
    for kind in ("GIF", "WEBP", "PNG"):
        options = {"lossless": True} if kind == "WEBP" else {}
        data = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        image = read_image(data)
        assert image.shape == (20, 30, 3) and (image == 40).all(), kind


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_applied_in_every_format(kind, orientation):
    """I4; Pillow's exif_transpose is the independent reference."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(pil(), kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    expected = as_bgr(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    image = read_image(data)
    assert image.shape == expected.shape and np.abs(image.astype(int) - expected).max() <= 1
    header = inspect(data)
    assert header.shown_size == expected.shape[1::-1]
    for x, y, width, height in ((3, 5, 20, 11), (0, 0, *header.shown_size), (30, 2, 1, 7)):
        window = images.read_window(data, header, (x, y, width, height))
        assert (window == image[y : y + height, x : x + width]).all()
    if kind == "JPEG":
        assert image.shape == cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape


def png_of_size(width, height):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def jpeg_of_size(width, height):
    data = bytearray(jpeg(SHOWN))
    start = data.index(b"\xff\xc0")
    data[start + 5 : start + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def test_bombs_are_refused_by_their_header():
    """I5: before anything is allocated; measured below by address space."""
    assert reason_of(png_of_size(50000, 50000)) == "too-many-pixels"
    assert reason_of(png_of_size(16000, 16000)) == "too-many-pixels"
    assert reason_of(jpeg_of_size(65535, 65535)) == "too-many-pixels"
    assert reason_of(jpeg_of_size(65535, 1)) == "side-ratio"
    assert reason_of(png_of_size(0, 5)) == "header"
    assert reason_of(b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\0" * 30 + b";") == "too-many-pixels"
    assert (
        reason_of(b"BM" + b"\0" * 12 + struct.pack("<IiiHHI", 40, 1 << 30, 1 << 30, 1, 24, 0) + b"\0" * 40)
        == "too-many-pixels"
    )
    webp = b"RIFF" + struct.pack("<I", 50) + b"WEBPVP8X" + struct.pack("<I", 10) + b"\0" * 4 + b"\xff" * 6 + b"\0" * 30
    assert reason_of(webp) == "too-many-pixels"
    assert reason_of(saved(pil(), "PNG"), ImagePolicy(max_pixels=100)) == "too-many-pixels"


def test_what_is_no_picture():
    """I1, I3."""
    assert reason_of(b"") == "empty"
    for data in (
        b"<html><body>404</body></html>",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        os.urandom(100),
        saved(pil(), "TIFF"),
        b"\0" * 5000,
    ):
        assert reason_of(data) == "format"
    assert reason_of(b"\xff\xd8\xff\xe0\0\x10JFIF") == "header"
    assert reason_of(jpeg(SHOWN)[:120]) == "header"
    assert reason_of(b"\xff\xd8\xff\xe0\0\x02" + b"\0" * 50) == "header"
    assert reason_of(saved(pil(), "GIF"), ImagePolicy(formats=("jpeg",))) == "format"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_truncation_is_noticed_at_any_length(kind):
    data = saved(pil(), kind)
    for length in (len(data) // 2, len(data) - 60, len(data) - 2, len(data) - 1):
        if kind == "PNG" and length == len(data) - 60:
            continue
        assert reason_of(data[:length]) in ("truncated", "corrupt"), length


def test_a_cut_file_is_let_in_on_request():
    data = jpeg(picture(2, 90, 120))
    image = read_image(data[: len(data) // 2], ImagePolicy(accept_truncated=True))
    assert image.shape == (120, 90, 3) and np.abs(image[:8].astype(int) - read_image(data)[:8]).max() <= 1


def test_a_cut_png_cannot_ask_for_gigabytes(tmp_path):
    """Found by `make fuzz`: OpenCV allocated the two gigabytes that a damaged chunk of a 60 x 44 picture claimed."""
    data = saved(pil(), "PNG")
    at = data.index(b"IDAT") - 4
    cut = data[:at] + struct.pack(">I", 0x7FFFFFF0) + data[at + 4 :]
    assert reason_of(cut, ImagePolicy(accept_truncated=True)) == "corrupt" == reason_of(cut)


def test_a_thumbnail_does_not_hide_a_missing_end():
    """The end marker of an embedded picture is not the file's."""
    data = jpeg(SHOWN)
    exif = b"Exif\0\0II*\0\x08\0\0\0\0\0" + jpeg(SHOWN[:8, :8])
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
    assert read_image(data).shape == SHOWN.shape
    assert reason_of(data[:-2]) == "truncated"


def test_damage_inside_the_data_is_noticed():
    data = bytearray(jpeg(picture(2, 200, 160)))
    start = data.index(b"\xff\xda") + 300
    data[start : start + 8] = b"\xff\xd0\xff\xd5\xff\xd9\x12\x34"
    assert reason_of(bytes(data)) == "corrupt"
    png = bytearray(saved(pil(), "PNG"))
    png[len(png) // 2] ^= 0x10
    assert reason_of(bytes(png)) == "corrupt"


def test_files_that_are_none(tmp_path):
    """I1, L5: nothing blocks, every failure is a reason, messages name the file in printable characters."""
    good = tmp_path / os.fsdecode(b"n\xe4me \xff\n.jpg")
    good.write_bytes(jpeg(SHOWN))
    assert read_image_file(good).shape == SHOWN.shape
    (tmp_path / "link").symlink_to(good)
    assert read_image_file(tmp_path / "link").shape == SHOWN.shape
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "long").write_bytes(jpeg(SHOWN))
    expected = {
        "fifo": "not-a-file",
        ".": "not-a-file",
        "/dev/zero": "not-a-file",
        "dangling": "missing",
        "loop": "missing",
        "absent": "missing",
        "x" * 300: "missing",
        "zero\0": "missing",
    }
    for name, reason in expected.items():
        with pytest.raises(ImageError) as caught:
            read_image_file(os.path.join(tmp_path, name))
        assert caught.value.reason == reason, name
    with pytest.raises(ImageError) as caught:
        read_image_file(tmp_path / "long", ImagePolicy(max_bytes=100))
    assert caught.value.reason == "file-too-large"
    good.write_bytes(b"")
    with pytest.raises(ImageError, match=r"\\n\.jpg: an empty file"):
        read_image_file(good)


def test_a_passing_error_of_the_storage_is_tried_once_more(tmp_path, monkeypatch):
    """I8."""
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg(SHOWN))
    calls = []
    original = images._read

    def flaky(*arguments):
        calls.append(1)
        if len(calls) in failing:
            raise OSError(errno.ESTALE, "Stale file handle")
        return original(*arguments)

    monkeypatch.setattr(images, "_read", flaky)
    failing = {1}
    assert read_image_file(path).shape == SHOWN.shape
    failing = {3, 4}
    with pytest.raises(ImageError) as caught:
        read_image_file(path)
    assert caught.value.reason == "io"


CORPUS = [
    jpeg(SHOWN),
    jpeg(SHOWN, progressive=True),
    jpeg(SHOWN, restart=2, sampling="422"),
    saved(pil(), "PNG"),
    saved(pil(), "GIF"),
    saved(pil(), "WEBP"),
    saved(pil(), "BMP"),
    saved(pil().convert("CMYK"), "JPEG"),
    saved(pil().quantize(16), "PNG"),
]


@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_mutated_files_give_a_picture_or_a_reason(data):
    """Z6: flipped, cut, spliced and repeated bytes never crash, and never allocate beyond the cap."""
    body = bytearray(data.draw(st.sampled_from(CORPUS)))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(body) - 1))
        how = data.draw(st.integers(0, 3))
        if how == 0:
            body[at] = data.draw(st.integers(0, 255))
        elif how == 1:
            body[at] ^= 1 << data.draw(st.integers(0, 7))
        elif how == 2 and len(body) > 20:
            del body[at : at + data.draw(st.integers(1, 40))]
        else:
            body[at:at] = body[max(0, at - data.draw(st.integers(1, 40))) : at]
        if not body:
            body = bytearray(b"\xff")
    for policy in (ImagePolicy(max_pixels=1 << 20), ImagePolicy(max_pixels=1 << 20, accept_truncated=True)):
        try:
            header = inspect(bytes(body), policy)
            image = read_image(bytes(body), policy)
            assert image.dtype == np.uint8 and image.ndim == 3 and image.size <= 3 << 20
            assert image.shape[1::-1] == header.shown_size
            images.read_window(bytes(body), header, (0, 0, 1, 1), policy=policy)
        except ImageError as error:
            assert error.reason in REASONS


def test_reading_needs_no_tensorflow():
    modules = "webvision.data.pictures.images, webvision.data.loader.batches"
    code = f"import sys, {modules}; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
