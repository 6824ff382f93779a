"""Memory or descriptors run out: that is said of the machine (exit code 7), and no sound picture is called damaged."""

import ctypes
import errno
import os
import resource
import subprocess
import sys

import cv2
import pytest

from tests.support.data_set import ROOT
from tests.support.loader_fixtures import files_are_read_singly, make_tree, parts, picture
from webvision.data.loader import kernel
from webvision.data.loader.batches import EvalBatches, TrainBatches
from webvision.data.loader.spec import BatchSpec
from webvision.data.native import library
from webvision.data.pictures import images
from webvision.data.pictures.images import ImageError
from webvision.data.views.augment import Augmentation
from webvision.data.views.presets import PRESETS
from webvision.errors import ResourceError

PICTURES = ("baseline", "progressive", "png", "webp", "animated webp", "gif")

# Decodes with less and less memory until nothing is left, and says how often each thing happened.
STARVE = """
import collections, gc, io, os, resource, sys
import numpy as np
from PIL import Image
from tests.support.loader_fixtures import jpeg, picture
from webvision.data.loader.spec import BatchSpec
from webvision.data.pictures.folder import PictureFolder
from webvision.data.pictures import images
from webvision.data.views.augment import Augmentation
from webvision.data.loader.builder import BatchBuilder, Job, new_slot

image = picture(0, 2400, 1800)
os.chdir(sys.argv[1])

def saved(kind, **options):
    out = io.BytesIO()
    Image.fromarray(image).save(out, kind, **options)
    return out.getvalue()

again = [Image.fromarray(image[::-1].copy())]
data = {"baseline": lambda: jpeg(image), "progressive": lambda: jpeg(image, progressive=True),
        "png": lambda: saved("PNG"),
        "webp": lambda: saved("WEBP", method=0),
        "animated webp": lambda: saved("WEBP", method=0, save_all=True, append_images=again),
        "gif": lambda: saved("GIF")}[sys.argv[2]]()
with open("a.jpg", "wb") as file:
    file.write(data)
view = Augmentation(image_size=64, shrink=True)
spec = BatchSpec(view, 1)
builder, slot = BatchBuilder(PictureFolder("."), spec), new_slot(spec)

def build():
    builder.build(Job(0, 5, 0, (b"a.jpg",), 1), slot)
    if slot.status[0]:
        raise images.ImageError(images.REASONS[slot.status[0]], "in a batch")

header = images.inspect(data)
ways = {"whole": lambda: images.read_image(data),
        "window": lambda: images.read_window(data, header, (300, 200, 2000, 1500)),
        "batch": build}
for way in ways.values():
    way()
del image, again
gc.collect()
found = collections.Counter()
soft, hard = resource.getrlimit(resource.RLIMIT_AS)
for name, way in ways.items():
    for megabytes in (1, 3, 6, 10, 15, 20, 25, 30, 40, 50, 60, 400):
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        try:
            resource.setrlimit(resource.RLIMIT_AS, (used + (megabytes << 20), hard))
            way()
            what = "ok"
        except BaseException as error:
            what = f"{type(error).__name__} {error}" if isinstance(error, images.ImageError) else type(error).__name__
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        found[name, what] += 1
for (name, what), count in found.items():
    print(name, what, count, sep="|")
"""


@pytest.mark.parametrize(
    "kind, decoder",
    [
        (kind, decoder)
        for kind in PICTURES
        for decoder in ("", "simplejpeg", "opencv")
        if not decoder or kind in ("baseline", "progressive")
    ],
)
def test_a_sound_picture_is_read_or_memory_ran_out(tmp_path, kind, decoder):
    # What is given back is the system's at once, or a limit on addresses would not bind.
    environment = {
        **os.environ,
        "WEBVISION_DECODER": decoder,
        "MALLOC_MMAP_THRESHOLD_": "65536",
        "MALLOC_TRIM_THRESHOLD_": "0",
    }
    done = subprocess.run(
        [sys.executable, "-c", STARVE, tmp_path, kind],
        cwd=ROOT,
        env={**environment, "PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = {tuple(line.split("|")[:2]) for line in done.stdout.splitlines()}
    assert {what for _, what in found} == {"ok", "OutOfMemoryError"}, found
    assert {("whole", "OutOfMemoryError"), ("window", "OutOfMemoryError")} < found


def test_a_decoder_that_wants_more_than_the_picture_is_worth_was_given_damaged_data(monkeypatch):
    """Or a file of 100 bytes could end a training."""
    data = cv2.imencode(".png", picture(1))[1].tobytes()

    def greedy(data, flags):
        error = cv2.error("(-4:Insufficient memory) Failed to allocate 2147483648 bytes")
        error.code = -4
        raise error

    monkeypatch.setattr(cv2, "imdecode", greedy)
    with pytest.raises(ImageError, match="Insufficient memory") as caught:
        images.read_image(data)
    assert caught.value.reason == "corrupt"


@pytest.mark.skipif(not kernel.usable(Augmentation()), reason="no compiled decoder, or no AVX2, here")
def test_a_batch_for_which_the_compiled_code_has_no_memory_is_not_built_another_way(tmp_path, monkeypatch):
    make_tree(tmp_path, count=10)
    for wv_batch in (
        lambda *arguments: 1,  # at the start
        lambda *arguments: ctypes.memset(arguments[9], 2, 1) and 0,
    ):  # at the batch's first picture
        monkeypatch.setattr(library.loaded(), "wv_batch", wv_batch)
        with pytest.raises(MemoryError):
            next(iter(TrainBatches(*parts(tmp_path), BatchSpec(Augmentation(image_size=32), 4))))


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_errors_of_the_machine_are_no_verdict_on_a_file(number):
    error = images.unreadable(OSError(number, os.strerror(number)))
    assert isinstance(error, ResourceError) and error.exit_code == 7 and os.strerror(number) in str(error)


def test_no_descriptor_left_ends_training_and_evaluation(tmp_path, monkeypatch):
    make_tree(tmp_path, count=20)
    files_are_read_singly(monkeypatch)
    split, order = parts(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    for batches in (
        TrainBatches(split, order, BatchSpec(Augmentation(image_size=32), 4)),
        EvalBatches(split, BatchSpec(PRESETS["webvision"].scaled(32), 4)),
    ):
        rest = iter(batches)
        next(rest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        try:
            with pytest.raises(ResourceError, match="Too many open files.*ulimit -n"):
                next(rest)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
