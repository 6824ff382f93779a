"""The files of a batch: the compiled reader against read_bytes and image_headers, one by one."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.support.data_set import ROOT
from tests.support.loader_fixtures import jpeg, picture
from webvision.data.loader import batch_files, kernel
from webvision.data.loader.batch_files import Arena, read_singly
from webvision.data.loader.builder import BatchBuilder, Job, new_slot
from webvision.data.loader.spec import BatchSpec
from webvision.data.native import library
from webvision.data.pictures import images
from webvision.data.pictures.folder import PictureFolder
from webvision.data.pictures.images import DEFAULT_POLICY, ImagePolicy
from webvision.data.views.augment import Augmentation

pytestmark = pytest.mark.skipif(library.loaded() is None, reason="no compiled decoder here")


def read(paths, policy=DEFAULT_POLICY, arena=None):
    """{row: (bytes, (width, height))} of the files that the compiled reader takes."""
    names = [os.fsencode(path) for path in paths]
    files = (arena or Arena()).read(range(len(paths)), names, PictureFolder("", policy), np.zeros(4, np.int64))
    return {
        row: (bytes(memory_at(address, length)), tuple(sides))
        for row, address, length, sides in zip(
            files.rows.tolist(), files.addresses.tolist(), files.lengths.tolist(), files.sides.tolist()
        )
    }


def memory_at(address, length):
    import ctypes

    return (ctypes.c_ubyte * length).from_address(address)


def test_whatever_it_takes_is_what_python_reads(tmp_path):
    """Thousands of damaged headers: it may take fewer than Python, never another size, never one that Python
    refuses."""
    draw = np.random.Generator(np.random.Philox(key=4))
    whole = [
        jpeg(picture(1, 70, 50), 90, sampling, progressive, restart)
        for sampling in ("420", "444")
        for progressive in (False, True)
        for restart in (0, 2)
    ]
    whole.append(jpeg(picture(1, 70, 50)[..., 0]))
    paths = []
    for number in range(3000):
        data = bytearray(whole[number % len(whole)])
        for _ in range(draw.integers(0, 3)):
            at = int(draw.integers(0, min(700, len(data))))
            if draw.random() < 0.8:
                data[at] = draw.integers(0, 256)
            else:
                del data[at : at + int(draw.integers(1, 4))]
        paths.append(tmp_path / f"{number}.jpg")
        paths[-1].write_bytes(data)
    taken = read(paths)
    assert 1000 < len(taken) < 3000
    for row, (data, sides) in taken.items():
        header = images.inspect(data)
        assert data == paths[row].read_bytes()
        assert header.plain and header.orientation == 1 and header.complete and (header.width, header.height) == sides


def test_what_needs_a_decision_is_left_to_python(tmp_path):
    plain = jpeg(picture(1, 80, 60))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(2, 80, 60)).save(tmp_path / "exif.jpg", exif=exif)
    Image.fromarray(picture(2, 80, 60)).save(tmp_path / "a.png")
    Image.fromarray(picture(2, 80, 60)).convert("CMYK").save(tmp_path / "cmyk.jpg")
    (tmp_path / "plain.jpg").write_bytes(plain)
    (tmp_path / "link.jpg").symlink_to("plain.jpg")
    (tmp_path / "cut.jpg").write_bytes(plain[:-9])
    (tmp_path / "thin.jpg").write_bytes(jpeg(picture(1, 3, 160)))
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    names = [
        "plain.jpg",
        "exif.jpg",
        "a.png",
        "cmyk.jpg",
        "link.jpg",
        "cut.jpg",
        "thin.jpg",
        "empty.jpg",
        "folder.jpg",
        "pipe.jpg",
        "absent.jpg",
        "plain.jpg\0.txt",
    ]
    assert list(read([tmp_path / name for name in names])) == [0]
    assert not read([tmp_path / "plain.jpg"], ImagePolicy(formats=("png",)))
    assert not read([tmp_path / "plain.jpg"], ImagePolicy(max_pixels=80 * 60 - 1))
    assert not read([tmp_path / "plain.jpg"], ImagePolicy(max_bytes=len(plain) - 1))
    beats = np.zeros(4, np.int64)
    closer = read_singly(
        [3, 8, 9],
        [os.fsencode(tmp_path / name) for name in ("exif.jpg", "link.jpg", "cut.jpg")],
        PictureFolder("", ImagePolicy(allow_outside=True)),
        beats=beats,
    )
    assert closer.rows.tolist() == [8] and bytes(memory_at(int(closer.addresses[0]), int(closer.lengths[0]))) == plain


def test_memory_grows_with_the_batch_and_is_used_again(tmp_path):
    paths = []
    for number in range(12):
        paths.append(tmp_path / f"{number}.jpg")
        paths[-1].write_bytes(jpeg(picture(number, 60 + 20 * number, 64)))
    arena = Arena()
    for first, last in ((0, 1), (0, 12), (3, 5)):
        taken = read(paths[first:last], arena=arena)
        assert [data for data, _ in taken.values()] == [path.read_bytes() for path in paths[first:last]]


def padded(data, size):
    """The JPEG `data` with comments before its picture, so that its file has about `size` bytes; decoded as fast."""
    comment = b"\xff\xfe\xff\xff" + b"x" * 65533
    return data[:2] + comment * (size // len(comment)) + data[2:]


def link_to(path, name, symbolic):
    if symbolic:
        name.symlink_to(path)
    else:
        os.link(path, name)


@pytest.mark.parametrize("linked", [False, True])
def test_a_batch_read_in_parts_has_the_same_bytes(tmp_path, monkeypatch, linked):
    """Whatever the parts are; and none holds more than there is room for, but for a file that is larger by itself."""
    for number in range(12):
        (tmp_path / f"{number}.file").write_bytes(padded(jpeg(picture(number, 80, 60)), number % 5 * 100_000))
    (tmp_path / "5.file").write_bytes(jpeg(picture(5, 80, 60))[:-700])  # damaged, in the middle
    Image.fromarray(picture(2, 80, 60)).save(tmp_path / "7.file", "PNG")
    for number in range(12):
        link_to(tmp_path / f"{number}.file", tmp_path / f"{number}.jpg", linked)
    view, job = Augmentation(image_size=32), Job(0, 5, 0, tuple(b"%d.jpg" % number for number in range(12)), 12)
    if not kernel.usable(view):
        pytest.skip("no AVX2 here")
    held, slots, show = [], [], kernel.show
    monkeypatch.setattr(
        kernel, "show", lambda files, *rest, **options: held.append(files.lengths) or show(files, *rest, **options)
    )
    for room in (32 << 20, 1_000_000, 450_000):
        monkeypatch.setattr(batch_files, "PART", room)
        slots.append(new_slot(BatchSpec(view, 12)))
        held.clear()
        BatchBuilder(PictureFolder(tmp_path), BatchSpec(view, 12)).build(job, slots[-1])
        assert (
            all(lengths[:-1].sum() < room for lengths in held)
            if linked
            else all(lengths.sum() <= room for lengths in held)
        )
        assert sum(map(len, held)) == 10 and (len(held) == 1) == (room == 32 << 20)
        for mine, first in zip(slots[-1], slots[0]):
            assert mine is None or (mine == first).all()


HUNGRY = """
import sys
from webvision.data.loader.spec import BatchSpec
from webvision.data.pictures.folder import PictureFolder
from webvision.data.views.augment import Augmentation
from webvision.data.loader.builder import BatchBuilder, Job, new_slot
def memory():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) >> 10 for line in status if line.startswith("VmHWM"))
view = Augmentation(image_size=32)
spec = BatchSpec(view, 100)
builder, slot = BatchBuilder(PictureFolder(sys.argv[1]), spec), new_slot(spec)
builder.build(Job(0, 5, 0, (b"small.jpg",) * 100, 100), slot)
before = memory()
builder.build(Job(0, 5, 0, tuple(b"%d.jpg" % number for number in range(100)), 100), slot)
assert slot.source.tolist() == list(range(100)) and not slot.status.any()
print(memory() - before)
"""


@pytest.mark.parametrize("linked", [False, True])
def test_memory_does_not_grow_with_the_size_of_photographs(tmp_path, linked):
    """400 MB of files in a batch."""
    (tmp_path / "small.jpg").write_bytes(jpeg(picture(1, 80, 60)))
    (tmp_path / "large.jpg").write_bytes(padded(jpeg(picture(1, 80, 60)), 4_000_000))
    for number in range(100):
        link_to(tmp_path / "large.jpg", tmp_path / f"{number}.jpg", linked)
    done = subprocess.run(
        [sys.executable, "-c", HUNGRY, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, timeout=60, check=True
    )
    assert int(done.stdout) < 100


def test_a_link_is_shown_by_the_compiled_code_too(tmp_path, monkeypatch):
    """Folders of links are common; only the reading of them is Python's."""
    if not kernel.usable(Augmentation()):
        pytest.skip("no AVX2 here")
    (tmp_path / "a.jpg").write_bytes(jpeg(picture(1, 80, 60)))
    (tmp_path / "b.jpg").symlink_to("a.jpg")
    view = Augmentation(image_size=32)
    spec = BatchSpec(view, 2)
    builder, slot = BatchBuilder(PictureFolder(tmp_path), spec), new_slot(spec)
    monkeypatch.setattr(builder, "_build_row", None)
    builder.build(Job(0, 5, 0, (b"a.jpg", b"b.jpg"), 2), slot)
    assert slot.source.tolist() == [0, 1] and slot.images[1].std() > 1


def test_a_batch_without_any_plain_jpeg_is_built(tmp_path):
    Image.fromarray(picture(2, 80, 60)).save(tmp_path / "a.png")
    spec = BatchSpec(Augmentation(image_size=32), 2)
    slot = new_slot(spec)
    BatchBuilder(PictureFolder(tmp_path), spec).build(Job(0, 5, 0, (b"a.png", b"a.png"), 2), slot)
    assert slot.source.tolist() == [0, 1] and not slot.status.any() and slot.images.std() > 1
