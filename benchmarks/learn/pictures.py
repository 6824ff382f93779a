"""The experiment's data sets: Fashion-MNIST as Debian has it, or any folder in the ILSVRC layout, made noisy."""

import gzip
import json
import os
import shutil

import numpy as np

from benchmarks.learn.noise import Noisy, class_sizes, likeness, web_noise
from webvision.errors import DataError

KNOWN = 8  # classes; the others are the pictures of no class
REFERENCE = 500  # clean pictures of a class that tell likeness and are never trained on
NAMES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")


def read_idx(path):
    """The array of one gzipped idx file."""
    with gzip.open(path, "rb") as file:
        data = file.read()
    shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(data[3])]
    return np.frombuffer(data, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def read_fashion(folder):
    """{split: (pictures uint8 [n, 28, 28], labels)} of the four files of Debian's dataset-fashion-mnist."""
    return {
        split: tuple(
            read_idx(os.path.join(folder, f"{name}-{kind}-ubyte.gz")) for kind in ("images-idx3", "labels-idx1")
        )
        for split, name in (("train", "train"), ("val", "t10k"))
    }


def make_task(fashion, out, *, seed, largest, noisy=True):
    """Write the data set of one seed into `out`: noisy lists, the clean official test pictures as val.

    meta/truth.txt holds the true class of each row of train.txt, -1 for none; meta/oracle/ the lists without wrong
    rows. With `noisy` False: right labels and classes of equal size.
    """
    rng = np.random.default_rng(seed)
    classes = rng.permutation(10)
    known = np.full(10, -1)
    known[classes[:KNOWN]] = np.arange(KNOWN)
    images, labels = fashion["train"][0], known[fashion["train"][1]]
    reference = np.concatenate([np.flatnonzero(labels == c)[-REFERENCE:] for c in range(KNOWN)])
    pool = np.setdiff1d(np.arange(len(labels)), reference)
    flat = images.reshape(len(images), -1).astype(np.float32) / 255
    if noisy:
        alike = likeness(flat[pool], flat[reference], labels[reference], KNOWN)
        found = web_noise(labels[pool], alike, class_sizes(largest, KNOWN, rng), seed)
        found = found._replace(pictures=pool[found.pictures])
    else:
        chosen = np.concatenate([np.flatnonzero(labels[pool] == c)[:largest] for c in range(KNOWN)])
        chosen = rng.permutation(pool[chosen])
        found = Noisy(chosen, labels[chosen], labels[chosen])
    _write(out, images, found, [NAMES[c] for c in classes[:KNOWN]])
    test_images, test_labels = fashion["val"][0], known[fashion["val"][1]]
    _write_split(out, "val", test_images, np.flatnonzero(test_labels >= 0), test_labels)


def _write(out, images, found, names):
    meta = os.path.join(out, "meta")
    os.makedirs(meta, exist_ok=True)
    with open(os.path.join(meta, "synsets.txt"), "w") as file:
        file.writelines(f"{name}\n" for name in names)
    labels = np.full(len(images), -1)
    labels[found.pictures] = found.folders
    _write_split(out, "train", images, found.pictures, labels)
    with open(os.path.join(meta, "truth.txt"), "w") as file:
        file.writelines(f"{label}\n" for label in found.truth)
    wrong = float((found.truth != found.folders).mean())
    with open(os.path.join(meta, "task.json"), "w") as file:
        json.dump({"rows": len(found.folders), "wrong": wrong, "sizes": np.bincount(found.folders).tolist()}, file)


def link_set(data, truth, out):
    """The set at `data` as a task at `out`: its pictures and lists as links, `truth` beside them."""
    os.makedirs(os.path.join(out, "meta"))
    for split in ("train", "val"):
        os.symlink(os.path.abspath(os.path.join(data, split)), os.path.join(out, split))
    for name in ("synsets.txt", "train.txt", "val.txt"):
        shutil.copyfile(os.path.join(data, "meta", name), os.path.join(out, "meta", name))
    shutil.copyfile(truth, os.path.join(out, "meta", "truth.txt"))
    with open(truth) as true, open(os.path.join(out, "meta", "train.txt")) as told:
        rows = sum(1 for _ in true), sum(1 for _ in told)
    if rows[0] != rows[1]:
        raise DataError(f"{truth} has {rows[0]} lines and the training list {rows[1]}: one true class for each line")


def make_oracle(folder, out):
    """The task in `folder` without its wrong rows; the pictures are linked."""
    with (
        open(os.path.join(folder, "meta", "truth.txt")) as truth,
        open(os.path.join(folder, "meta", "train.txt")) as list,
    ):
        right = [line for line, true in zip(list, truth) if line.rsplit(" ", 1)[1].strip() == true.strip()]
    os.makedirs(os.path.join(out, "meta"))
    for split in ("train", "val"):
        os.symlink(os.path.abspath(os.path.join(folder, split)), os.path.join(out, split))
    for name in ("synsets.txt", "val.txt"):
        os.link(os.path.join(folder, "meta", name), os.path.join(out, "meta", name))
    with open(os.path.join(out, "meta", "train.txt"), "w") as file:
        file.writelines(right)


def _write_split(out, split, images, pictures, labels):
    import cv2

    folder = os.path.join(out, split)
    os.makedirs(folder, exist_ok=True)
    for picture in pictures:
        cv2.imwrite(os.path.join(folder, f"{picture:05d}.jpg"), images[picture], [cv2.IMWRITE_JPEG_QUALITY, 95])
    with open(os.path.join(out, "meta", f"{split}.txt"), "w") as file:
        file.writelines(f"{picture:05d}.jpg {labels[picture]}\n" for picture in pictures)
