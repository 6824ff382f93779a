"""The compiled batch against the general path, picture by picture through OpenCV."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.support.loader_fixtures import jpeg, picture
from webvision.data.loader import kernel
from webvision.data.loader.builder import BatchBuilder, Job, new_slot
from webvision.data.loader.spec import BatchSpec
from webvision.data.native import library
from webvision.data.pictures.folder import PictureFolder
from webvision.data.pictures.images import REASONS
from webvision.data.views.augment import Augmentation

pytestmark = pytest.mark.skipif(not kernel.usable(Augmentation()), reason="no compiled decoder, or no AVX2, here")


def both(folder, names, view, fed=(), seed=5):
    """(slot of the compiled path, slot of the general path) for the same job."""
    job = Job(0, seed, 0, tuple(name.encode() for name in names), len(names))
    slots = []
    for fast in (True, False):
        spec = BatchSpec(view, len(names), ("images", "labels", *fed))
        builder = BatchBuilder(PictureFolder(folder), spec)
        assert builder._fast
        builder._fast = fast
        slots.append(new_slot(spec))
        builder.build(job, slots[-1])
    return slots


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    for number in range(40):
        size = ((341, 256), (256, 341), (300, 300), (90, 70), (40, 400))[number % 5]
        data = jpeg(picture(number, *size), 90, ("420", "444", "422", "411")[number % 4], number % 7 == 0)
        (root / f"{number}.jpg").write_bytes(data)
    (root / "large.jpg").write_bytes(jpeg(picture(99, 1900, 1700)))
    (root / "grey.jpg").write_bytes(jpeg(picture(98, 200, 210)[..., 0]))
    return root


SMALL_SET = [f"{number}.jpg" for number in range(40)] + ["grey.jpg"]


@pytest.mark.parametrize("size", [224, 64, 33])
def test_resized_and_mirrored_as_opencv_does_within_one_level(folder, size):
    fast, slow = both(folder, SMALL_SET, Augmentation(image_size=size, colours=False))
    off = np.abs(fast.images.astype(int) - slow.images)
    assert off.max() <= 1 and (off > 0).mean() < 0.004
    assert (fast.source == slow.source).all() and not fast.status.any()


def test_colours_as_opencv_does_within_what_one_level_becomes(folder):
    """One level before a matrix is up to 1.4 ** 3 after it; almost everywhere the two are within rounding."""
    fast, slow = both(folder, SMALL_SET, Augmentation())
    off = np.abs(fast.images.astype(int) - slow.images)
    assert off.max() <= 4 and (off > 1).mean() < 0.001


def test_matrices_for_the_device(folder):
    fast, slow = both(folder, SMALL_SET, Augmentation(), ["matrices"])
    assert np.abs(fast.matrices - slow.matrices).max() < 0.01
    assert np.abs(fast.images.astype(int) - slow.images).max() <= 1


def test_crops_much_larger_than_the_target_are_decoded_shrunk(folder):
    """Both paths shrink alike; the picture is that of a full decode, averaged."""
    names = ["large.jpg"] * 30
    fast, slow = both(folder, names, Augmentation(colours=False))
    assert np.abs(fast.images.astype(int) - slow.images).max() <= 1
    whole = both(folder, names, Augmentation(colours=False, shrink=True, area=(1, 1), aspect=(1, 1)))[0]
    assert whole.images.std() > 5


def test_what_is_no_plain_upright_jpeg_goes_the_general_way(tmp_path):
    image = Image.fromarray(picture(1, 80, 60)[..., ::-1].copy())
    exif = Image.Exif()
    exif[0x0112] = 6
    files = {"turned.jpg": {"format": "JPEG", "exif": exif}, "a.png": {"format": "PNG"}, "b.webp": {"format": "WEBP"}}
    for name, options in files.items():
        image.save(tmp_path / name, **options)
    image.convert("CMYK").save(tmp_path / "cmyk.jpg")
    (tmp_path / "plain.jpg").write_bytes(jpeg(picture(1, 80, 60)))
    (tmp_path / "thin.jpg").write_bytes(jpeg(picture(1, 3, 60)))
    (tmp_path / "cut.jpg").write_bytes(jpeg(picture(1, 80, 60))[:-500])
    flipped = bytearray(jpeg(picture(2, 200, 160)))
    start = flipped.index(b"\xff\xda") + 40
    flipped[start : start + 8] = b"\xff\xd0\xff\xd5\xff\xd9\x12\x34"
    (tmp_path / "corrupt.jpg").write_bytes(flipped)
    names = [*files, "cmyk.jpg", "plain.jpg", "thin.jpg", "cut.jpg", "absent.jpg", "corrupt.jpg"]
    fast, slow = both(tmp_path, names, Augmentation(image_size=48, colours=False))
    assert (fast.status == slow.status).all() and (fast.source == slow.source).all()
    assert [REASONS[code] for code in fast.status] == ["ok"] * 6 + ["truncated", "missing", "corrupt"]
    assert np.abs(fast.images.astype(int) - slow.images).max() <= 1


def test_a_flat_picture_stays_flat_to_its_edges(tmp_path):
    out = io.BytesIO()
    Image.fromarray(np.full((77, 91, 3), 255, np.uint8)).save(out, "JPEG", quality=100)
    (tmp_path / "white.jpg").write_bytes(out.getvalue())
    fast, _ = both(tmp_path, ["white.jpg"] * 50, Augmentation(colours=False))
    assert (fast.images == 255).all()


def test_avx2_and_avx512_give_the_same_bytes(folder):
    compiled = library.loaded()
    if compiled.wv_kernel() < 2:
        pytest.skip("no AVX-512 with VNNI here")
    for view in (Augmentation(), Augmentation(image_size=100), Augmentation(image_size=33, colours=False)):
        first = both(folder, SMALL_SET, view)[0]
        compiled.wv_use(1)
        try:
            assert compiled.wv_kernel() == 1
            assert (both(folder, SMALL_SET, view)[0].images == first.images).all()
        finally:
            compiled.wv_use(2)


def test_only_training_goes_this_way():
    from webvision.data.views.presets import PRESETS

    assert not any(kernel.usable(preset) for preset in PRESETS.values())
