"""I1-I8 and L4: whatever is wrong with a file, check, training and evaluation say the same of it."""

import errno
import io
import os
import socket
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.support.loader_fixtures import files_are_read_singly, jpeg, picture
from webvision.data.data_set import Split
from webvision.data.lists.index import open_index
from webvision.data.loader.batches import EvalBatches, TrainBatches
from webvision.data.loader.spec import BatchSpec
from webvision.data.pictures import decode, images
from webvision.data.pictures.folder import PictureFolder
from webvision.data.pictures.images import DEFAULT_POLICY, REASONS, ImageError, ImagePolicy
from webvision.data.views.augment import Augmentation
from webvision.data.views.presets import PRESETS
from webvision.errors import IncompleteError, ResourceError
from webvision.prep.check.scan import RECORD, ScanOptions, examine

SHOWN = picture(1, 120, 90)
WHOLE = jpeg(SHOWN)


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def pil():
    return Image.fromarray(np.ascontiguousarray(SHOWN[..., ::-1]))


def png(chunks):
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def png_claiming(width, height):
    return png(
        [
            (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(b"\0" * 100)),
            (b"IEND", b""),
        ]
    )


def animated_png(frames):
    """A PNG of 60 x 50 with so many frames; of the first only is anything decoded."""
    pixels = zlib.compress(bytes(50 * (1 + 3 * 60)))
    control = struct.Struct(">IIIIIHHBB")
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 60, 50, 8, 2, 0, 0, 0)),
        (b"acTL", struct.pack(">II", frames, 0)),
        (b"fcTL", control.pack(0, 60, 50, 0, 0, 1, 10, 0, 0)),
        (b"IDAT", pixels),
    ]
    for number in range(1, 2 * frames - 1, 2):
        chunks += [
            (b"fcTL", control.pack(number, 60, 50, 0, 0, 1, 10, 0, 0)),
            (b"fdAT", struct.pack(">I", number + 1) + pixels),
        ]
    return png([*chunks, (b"IEND", b"")])


def flipped(share=0.5, whole=WHOLE):
    data, at = bytearray(whole), int(len(whole) * share)
    data[at : at + 8] = b"\xff\xd0\xff\xd5\xff\xd9\x12\x34"
    return bytes(data)


def odd_jfif():
    at = WHOLE.find(b"JFIF\0") + 5
    return WHOLE[:at] + b"\x09\x09" + WHOLE[at + 2 :]


def scan_bomb():
    data = saved(pil(), "JPEG", progressive=True)
    return data[:-2] + data[data.rfind(b"\xff\xda") : -2] * 600 + data[-2:]


def rotated():
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(pil(), "JPEG", exif=exif, dpi=(1, 9999), icc_profile=b"no profile")


def socket_at(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)


# ID, file name -> (bytes or what makes the file, the verdict)
FILES = {
    ("I1", "zero-byte.jpg"): (b"", "empty"),
    ("I1", "page.jpg"): (b"<!DOCTYPE html><html><body>404</body></html>", "format"),
    ("I1", "drawing.jpg"): (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "format"),
    ("I1", "random.jpg"): (np.random.default_rng(0).bytes(3000), "format"),
    ("I1", "folder.jpg"): (os.mkdir, "not-a-file"),
    ("I1", "fifo.jpg"): (os.mkfifo, "not-a-file"),
    ("I1", "socket.jpg"): (socket_at, "not-a-file"),
    ("I1", "dangling.jpg"): (lambda path: os.symlink("nowhere.jpg", path), "missing"),
    ("I1", "loop.jpg"): (lambda path: os.symlink("loop.jpg", path), "missing"),
    ("I1", "absent.jpg"): (lambda path: None, "missing"),
    ("I2", "half.jpg"): (WHOLE[: len(WHOLE) // 2], "truncated"),
    ("I2", "two bytes short.jpg"): (WHOLE[:-2], "truncated"),
    ("I2", "flipped.jpg"): (flipped(), "corrupt"),
    # Below most crops of training, which decode no more than they show.
    **{("I2", f"flipped at {share}%.jpg"): (flipped(share / 100), "corrupt") for share in (80, 85, 90, 94, 97)},
    ("I2", "flipped in restarts.jpg"): (flipped(0.9, jpeg(SHOWN, restart=1)), "corrupt"),
    ("I2", "flipped scans.jpg"): (flipped(0.9, jpeg(SHOWN, progressive=True)), "corrupt"),
    ("I2", "odd revision.jpg"): (odd_jfif(), "ok"),
    ("I5", "scans.jpg"): (scan_bomb(), "corrupt"),
    ("I2", "header only.jpg"): (WHOLE[:120], "header"),
    ("I2", "cut.png.jpg"): (saved(pil(), "PNG")[:-300], "truncated"),
    ("I3", "cmyk.jpg"): (saved(pil().convert("CMYK"), "JPEG"), "ok"),
    ("I3", "grey.jpg"): (saved(pil().convert("L"), "JPEG"), "ok"),
    ("I3", "deep.jpg"): (saved(Image.fromarray(np.arange(10800, dtype=np.uint16).reshape(90, 120)), "PNG"), "ok"),
    ("I3", "alpha.jpg"): (saved(pil().convert("RGBA"), "PNG"), "ok"),
    ("I3", "palette.jpg"): (saved(pil().quantize(16), "PNG"), "ok"),
    ("I3", "animated.jpg"): (saved(pil(), "GIF", save_all=True, append_images=[pil().rotate(90)]), "ok"),
    ("I3", "webp.jpg"): (saved(pil(), "WEBP"), "ok"),
    ("I3", "tiff.jpg"): (saved(pil(), "TIFF"), "format"),
    ("I3", "avif.jpg"): (b"\0\0\0\x1cftypavif\0\0\0\0" + b"\0" * 200, "format"),
    ("I4", "rotated.jpg"): (rotated(), "ok"),
    ("I5", "bomb.jpg"): (png_claiming(50000, 50000), "too-many-pixels"),
    ("I5", "line.jpg"): (png_claiming(65535, 1), "side-ratio"),
    ("I5", "frames.jpg"): (animated_png(100_000), "ok"),
    ("I5", "thin.jpg"): (saved(Image.new("RGB", (8000, 2)), "PNG"), "side-ratio"),
    ("L4", "out.jpg"): (lambda path: os.symlink("/etc/hostname", path), "outside"),
    ("L4", "device.jpg"): (lambda path: os.symlink("/dev/zero", path), "outside"),
    ("L4", "beside.jpg"): (lambda path: os.symlink("../../../data-other/a.jpg", path), "outside"),
    ("L4", "within.jpg"): (lambda path: os.symlink("../../val/good.jpg", path), "ok"),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data set whose class folder n0 holds FILES, and n1 enough sound pictures that no limit is met."""
    data = tmp_path_factory.mktemp("bad") / "data"
    for folder in ("train/n0", "train/n1", "val", "meta", "../data-other"):
        os.makedirs(data / folder)
    (data / "val" / "good.jpg").write_bytes(WHOLE)
    (data / ".." / "data-other" / "a.jpg").write_bytes(WHOLE)
    lines = []
    for (_, name), (content, _) in FILES.items():
        path = data / "train" / "n0" / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            content(str(path))
        lines.append(f"n0/{name} 0")
    for number in range(20):
        (data / "train" / "n1" / f"{number}.jpg").write_bytes(jpeg(picture(number)))
        lines.append(f"n1/{number}.jpg 1")
    (data / "meta" / "train.txt").write_text("\n".join(lines) + "\n")
    return data


def split_of(data, policy=DEFAULT_POLICY):
    return Split(open_index(data / "meta" / "train.txt", 2), PictureFolder(data / "train", policy))


def train_batches(data, policy=DEFAULT_POLICY, **options):
    split = split_of(data, policy)
    return TrainBatches(split, split.order(seed=3), BatchSpec(Augmentation(image_size=32), len(split.index)), **options)


def eval_batches(data, policy=DEFAULT_POLICY, **options):
    return EvalBatches(split_of(data, policy), BatchSpec(PRESETS["webvision"].scaled(32), 20), **options)


def verdicts(batches):
    """{row: reason} of one pass."""
    found = {}
    for batch in batches:
        found |= {int(row): REASONS[status] for row, status in zip(batch.rows, batch.status)}
        if len(found) == len(FILES) + 20:
            return found
    raise AssertionError("the pass ended early")


@pytest.fixture(scope="module")
def judged(data):
    """Each road's verdict on every row."""
    index = open_index(data / "meta" / "train.txt", 2)
    records = b"".join(
        examine(PictureFolder(data / "train"), path, ScanOptions("decode")) for path in index.paths(range(len(index)))
    )
    roads = {"check": {row: REASONS[code] for row, code in enumerate(np.frombuffer(records, RECORD)["reason"])}}
    for workers in (0, 2):
        for kind, make in (("train", train_batches), ("eval", eval_batches)):
            batches = make(data, workers=workers)
            roads[f"{kind}, {workers} workers"] = verdicts(batches)
            batches.close()
    return roads


@pytest.mark.parametrize("row", range(len(FILES)), ids=[f"{fault} {name}" for fault, name in FILES])
def test_one_verdict_in_check_train_and_eval(judged, row):
    expected = list(FILES.values())[row][1]
    assert {road: found[row] for road, found in judged.items()} == dict.fromkeys(judged, expected)


def test_the_verdict_is_the_same_in_every_epoch_and_looked_for_once(data):
    """A picture is gone through whole when a run first meets it; the sound ones not again."""
    batches = train_batches(data, workers=2, max_bad=1)
    stream = iter(batches)
    first = [verdicts(stream), verdicts(stream), verdicts(stream)]
    batches.close()
    sound = [row for row, reason in first[0].items() if reason == "ok"]
    assert first[0] == first[1] == first[2] and sorted(sound) == np.flatnonzero(batches._proven).tolist()
    rows, job = next(batches._jobs())
    assert set(rows[list(job.proven)].tolist()) == set(sound) & set(rows.tolist())


@pytest.mark.skipif(not decode.fast_path(), reason="no compiled decoder here: whole pictures are decoded in any case")
def test_of_a_picture_that_is_proven_only_the_window_is_decoded(data):
    """What the second epoch saves; damage that the window does not show tells."""
    damaged = flipped(0.97)
    header = images.inspect(damaged)
    images.read_window(damaged, header, (0, 0, 60, 20), whole=False)
    with pytest.raises(ImageError):
        images.read_window(damaged, header, (0, 0, 60, 20))


def test_sound_pictures_beside_them_are_sound(judged):
    for found in judged.values():
        assert all(found[row] == "ok" for row in range(len(FILES), len(FILES) + 20))


def test_i1_no_permission(data, monkeypatch):
    """Root may read everything, so the refusal is the kernel's in name only."""
    files_are_read_singly(monkeypatch)
    real = os.open

    def refuse(path, *rest, **options):
        if os.fsencode(path).endswith(b"n1/4.jpg"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, *rest, **options)

    monkeypatch.setattr(os, "open", refuse)
    row = len(FILES) + 4
    assert verdicts(train_batches(data))[row] == verdicts(eval_batches(data))[row] == "permission"
    record = np.frombuffer(examine(PictureFolder(data / "train"), "n1/4.jpg", ScanOptions("decode")), RECORD)[0]
    assert REASONS[record["reason"]] == "permission"


def test_l4_links_out_are_followed_on_request(data):
    policy = ImagePolicy(allow_outside=True)
    for make in (train_batches, eval_batches):
        found = verdicts(make(data, policy=policy))
        names = [name for _, name in FILES]
        assert found[names.index("beside.jpg")] == "ok" and found[names.index("out.jpg")] == "format"
        assert found[names.index("device.jpg")] == "not-a-file"


def test_l4_linked_class_and_split_folders_are_the_users_own(data, tmp_path):
    """DATA/train on another disk, one class on a third: nothing in an archive or of ours makes such links."""
    (tmp_path / "meta").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "n1").symlink_to(data / "train" / "n1")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "meta" / "train.txt").write_text("n1/3.jpg 1\n")
    index = open_index(tmp_path / "meta" / "train.txt", 2)
    (batch,) = EvalBatches(
        Split(index, PictureFolder(tmp_path / "set" / "train")), BatchSpec(PRESETS["webvision"].scaled(32), 4)
    )
    assert not batch.status.any()


def test_l4_a_link_put_in_place_of_a_looked_at_file_is_not_followed(tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(WHOLE)
    real = os.open

    def swap(path, *rest, **options):
        os.unlink(tmp_path / "a.jpg")
        os.symlink("/etc/hostname", tmp_path / "a.jpg")
        return real(path, *rest, **options)

    monkeypatch.setattr(os, "open", swap)
    with pytest.raises(ImageError) as caught:
        images.read_bytes(tmp_path / "a.jpg", inside=images.data_folders(os.fsencode(tmp_path)))
    assert caught.value.reason == "missing"


# ---- I6 (a decoder that crashes or does not end): tests/loader/test_ring.py for training and evaluation,
# tests/prep/test_check.py for check

# ---- I7


def test_i7_a_folder_that_is_gone_stops_training_and_is_told_in_evaluation(data, tmp_path):
    index = open_index(data / "meta" / "train.txt", 2)
    split = Split(index, PictureFolder(tmp_path / "gone"))
    gone = TrainBatches(split, split.order(seed=3), BatchSpec(Augmentation(image_size=32), 8))
    with pytest.raises(IncompleteError, match="in a row.*webvision check"):
        for _ in zip(range(100), gone):
            pass
    batches = EvalBatches(Split(index, PictureFolder(tmp_path / "gone")), BatchSpec(PRESETS["webvision"].scaled(32), 8))
    assert set(verdicts(batches).values()) == {"missing"} and batches.bad.count == len(index)


# ---- I8


def failing_reads(monkeypatch, number, fails):
    """Reads fail with `number` while fails(count of reads so far) says so."""
    files_are_read_singly(monkeypatch)
    real, reads = images._read, []

    def read(*arguments):
        reads.append(1)
        if fails(len(reads)):
            raise OSError(number, os.strerror(number))
        return real(*arguments)

    monkeypatch.setattr(images, "_read", read)
    return reads


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_i8_a_passing_error_is_tried_once_more(data, monkeypatch, number):
    reads = failing_reads(monkeypatch, number, lambda count: count % 2)  # every first attempt
    expected = [verdict for _, verdict in FILES.values()] + ["ok"] * 20
    assert list(verdicts(eval_batches(data)).values()) == expected and len(reads) > 40


def test_i8_a_file_that_vanishes_between_look_and_read_is_missing(data, monkeypatch):
    failing_reads(monkeypatch, errno.ENOENT, lambda count: True)
    found = verdicts(eval_batches(data))
    assert found[len(FILES)] == "missing"


@pytest.mark.parametrize("make", [train_batches, eval_batches])
def test_i8_storage_that_fails_on_and_on_stops_with_its_own_code(tmp_path, monkeypatch, make):
    (tmp_path / "train").mkdir()
    (tmp_path / "meta").mkdir()
    for number in range(70):
        (tmp_path / "train" / f"{number}.jpg").write_bytes(WHOLE)
    (tmp_path / "meta" / "train.txt").write_text("".join(f"{number}.jpg {number % 2}\n" for number in range(70)))
    failing_reads(monkeypatch, errno.EIO, lambda count: True)
    with pytest.raises(ResourceError, match="input/output errors.*mount") as caught:
        for _ in zip(range(9), make(tmp_path)):
            pass
    assert caught.value.exit_code == 7
