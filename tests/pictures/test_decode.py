"""Window decode against the whole picture, and the paths against one another."""

import ctypes
import itertools
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.support.data_set import ROOT
from tests.support.loader_fixtures import jpeg, picture
from tests.support.sampled_jpeg import sampled_jpeg
from webvision.data.native import build, compiler, library
from webvision.data.pictures import decode
from webvision.data.pictures.headers import read_header

needs_library = pytest.mark.skipif(
    library.loaded() is None, reason="the compiled decoder is not there: " + decode.describe()
)
KINDS = [
    ("444", False, 0),
    ("422", False, 0),
    ("420", False, 0),
    ("440", False, 0),
    ("411", False, 0),
    ("420", True, 0),
    ("444", True, 0),
    ("420", False, 3),
    ("422", False, 1),
    ("422", True, 2),
]


def windows(draw, width, height, count):
    for _ in range(count):
        wide, high = draw.integers(1, width + 1), draw.integers(1, height + 1)
        yield int(draw.integers(0, width - wide + 1)), int(draw.integers(0, height - high + 1)), int(wide), int(high)


@needs_library
@pytest.mark.parametrize("scale", [1, 2, 4, 8])
@pytest.mark.parametrize("sampling, progressive, restart", KINDS)
def test_a_window_equals_the_whole_pictures_window(sampling, progressive, restart, scale):
    draw = np.random.Generator(np.random.Philox(key=5))
    for width, height in ((131, 97), (64, 48), (17, 33), (1, 9)):
        data = jpeg(picture(3, width, height), 92, sampling, progressive, restart)
        header = read_header(data)
        whole = decode.decode(data, header, scale=scale, path="simplejpeg")
        assert (decode.decode(data, header, scale=scale, path="window") == whole).all()
        for x, y, wide, high in windows(draw, whole.shape[1], whole.shape[0], 25):
            window = decode.decode(data, header, window=(x, y, wide, high), scale=scale, path="window")
            assert (window == whole[y : y + high, x : x + wide]).all(), (x, y, wide, high)


FACTORS = ("1x1", "2x1", "1x2", "2x2", "4x1", "1x4", "4x2", "2x4", "3x1", "1x3")
SAMPLINGS = [
    ",".join(parts)
    for parts in itertools.product(FACTORS, FACTORS, ("1x1", "2x1", "4x1"))
    if sum(int(part[0]) * int(part[2]) for part in parts) <= 10
]  # the format allows ten blocks


@needs_library
@pytest.mark.parametrize("scale", [1, 2, 4, 8])
def test_a_window_of_any_sampling_equals_the_whole_pictures_window(scale):
    """libjpeg cuts shrunk rows of 4x2 and 2x4 wrongly, and some mixtures even unshrunk."""
    draw = np.random.Generator(np.random.Philox(key=6))
    decoded = 0
    for number, sampling in enumerate(SAMPLINGS):
        data = sampled_jpeg(
            number, *(int(side) for side in draw.integers(30, 160, 2)), sampling, progressive=number % 3 == 0
        )
        header = read_header(data)
        try:
            whole = decode.decode(data, header, scale=scale, path="window")
        except decode.DecodeError as error:
            assert "Fractional sampling" in str(error)  # 3:2, which libjpeg-turbo does not do
            continue
        decoded += 1
        for x, y, wide, high in windows(draw, whole.shape[1], whole.shape[0], 8):
            window = decode.decode(data, header, window=(x, y, wide, high), scale=scale, path="window")
            assert (window == whole[y : y + high, x : x + wide]).all(), (sampling, whole.shape, (x, y, wide, high))
    assert decoded > 120


@pytest.mark.parametrize("sampling, progressive, restart", KINDS)
def test_the_paths_agree(sampling, progressive, restart):
    data = jpeg(picture(4, 150, 101), 88, sampling, progressive, restart)
    header = read_header(data)
    paths = [path for path in decode.PATHS if path != "window" or library.loaded()]
    for scale in (1, 2, 4, 8):
        one, *others = (decode.decode(data, header, scale=scale, path=path).astype(int) for path in paths)
        for other in others:
            assert np.abs(one - other).max() <= 1


def test_grey_pictures_on_all_paths():
    data = jpeg(picture(4, 90, 70)[..., 1])
    header = read_header(data)
    assert header.channels == 1 and header.plain
    for path in decode.PATHS if library.loaded() else decode.PATHS[1:]:
        window = decode.decode(data, header, window=(11, 7, 30, 40), path=path)
        whole = decode.decode(data, header, path="opencv")
        assert (window == whole[7:47, 11:41]).all() and (window[..., 0] == window[..., 2]).all()


@needs_library
def test_windows_outside_the_picture_and_wrong_sizes_are_errors():
    """The C side trusts no number: not the caller's, not the header parser's."""
    data = jpeg(picture(4, 90, 70))
    header = read_header(data)
    for window in ((80, 0, 11, 5), (0, 69, 3, 2), (-1, 0, 5, 5), (0, 0, 0, 0)):
        with pytest.raises((decode.DecodeError, ValueError)):
            decode.decode(data, header, window=window, path="window")
    with pytest.raises(decode.DecodeError, match="different sizes"):
        decode.decode(data, header._replace(width=91), path="window")


def test_the_user_is_told_which_path_decodes(monkeypatch):
    for name, word in (("simplejpeg", "simplejpeg"), ("opencv", "OpenCV")):
        monkeypatch.setenv("WEBVISION_DECODER", name)
        assert word in decode.describe()


@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler here")
def test_build_tries_the_library_and_replaces_it_whole(tmp_path, monkeypatch):
    if library.loaded() is None:
        pytest.skip("no headers of libjpeg-turbo here")
    monkeypatch.setattr(library, "LIBRARY", str(tmp_path / "_decode_window.so"))
    assert build.build() is None
    assert os.listdir(tmp_path) == ["_decode_window.so"]
    assert ctypes.CDLL(str(tmp_path / "_decode_window.so")).wv_version() == library._VERSION


def test_without_a_compiler_setup_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(library, "LIBRARY", str(tmp_path / "_decode_window.so"))
    assert "status 1" in build.build("false")
    assert "no-such-compiler" in build.build("/no-such-compiler")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.delenv("CC", raising=False)
    assert build.build() == "no C compiler"
    assert os.listdir(tmp_path) == []
    monkeypatch.setattr(build, "build", lambda: "no C compiler")
    assert build.main([]) == 0


def test_a_library_of_another_version_is_not_used(tmp_path):
    (tmp_path / "x.so").write_bytes(b"not a library")
    assert library._load(str(tmp_path / "x.so")) is None


@needs_library
@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler here")
def test_hostile_bytes_under_the_address_sanitizer(tmp_path):
    """Mutated files through the C code, built with -fsanitize=address,undefined: no report, no crash."""
    sanitized = tmp_path / "asan.so"
    flags = ["-O1", "-g", "-shared", "-fPIC", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    built = subprocess.run(
        ["cc", *flags, *compiler.SOURCES, "-o", sanitized, "-ljpeg", "-lm"], capture_output=True, check=False
    )
    runtime = subprocess.run(
        ["cc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if built.returncode or not os.path.exists(runtime):
        pytest.skip("this compiler has no address sanitizer")
    environment = {**os.environ, "LD_PRELOAD": runtime, "ASAN_OPTIONS": "detect_leaks=0"}
    done = subprocess.run(
        [sys.executable, "-c", HOSTILE, str(sanitized), str(tmp_path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0 and "ERROR" not in done.stderr, done.stderr[-3000:]
    assert int(done.stdout) > 100  # files that still decoded: the mutations were not all caught by the header


HOSTILE = """
import sys
import numpy as np
from tests.support.loader_fixtures import jpeg, picture
from webvision.data.loader.spec import BatchSpec
from webvision.data.loader import kernel
from webvision.data.native import library
from webvision.data.pictures import decode
from webvision.data.views.augment import Augmentation
from webvision.data.loader.batch_files import Arena, read_singly
from webvision.data.pictures.folder import PictureFolder
from webvision.data.loader.builder import new_slot
from webvision.data.pictures.headers import HeaderError, read_header
from webvision.data.pictures.images import ImagePolicy
library.use(sys.argv[1])
draw = np.random.Generator(np.random.Philox(key=9))
corpus = [jpeg(picture(1, 70, 50), 90, sampling, progressive, restart)
          for sampling in ("420", "444", "411") for progressive in (False, True) for restart in (0, 2)]
decoded = 0
paths = []
for number in range(1500):
    data = bytearray(corpus[number % len(corpus)])
    for _ in range(draw.integers(1, 8)):
        at = int(draw.integers(2, len(data)))
        if draw.random() < 0.8:
            data[at] = draw.integers(0, 256)
        else:
            del data[at:at + int(draw.integers(1, 30))]
    data = bytes(data)
    paths.append(f"{sys.argv[2]}/{number}.jpg".encode())
    with open(paths[-1], "wb") as file:
        file.write(data)
    try:
        header = read_header(data)
        if not header.plain or header.width * header.height > 1 << 22:
            continue
        scale = int(draw.choice([1, 2, 8]))
        width, height = -(-header.width // scale), -(-header.height // scale)
        wide, high = int(draw.integers(1, width + 1)), int(draw.integers(1, height + 1))
        window = (int(draw.integers(0, width - wide + 1)), int(draw.integers(0, height - high + 1)), wide, high)
        decode.decode(data, header, window=window, scale=scale, tolerant=bool(number % 2), path="window")
        decoded += 1
    except (HeaderError, decode.DecodeError):
        pass
view, beats, rows = Augmentation(image_size=37), np.zeros(4, np.int64), range(len(paths))
policy = ImagePolicy(accept_truncated=True, max_pixels=1 << 22)
files = PictureFolder("", policy)
together, singly = Arena().read(rows, paths, files, beats), read_singly(rows, paths, files, beats=beats)
assert 0 < len(together.rows) < len(singly.rows) and set(together.rows) <= set(singly.rows)
for level in (2, 1) if kernel.usable(view) else ():
    library.loaded().wv_use(level)
    for tolerant in (False, True):
        for files in (together, singly):
            slot = new_slot(BatchSpec(view, len(paths)))
            kernel.show(files, view.plan(1, 0, len(paths)), slot, tolerant=tolerant)
print(decoded)
"""
