"""A small list of photograph-like pictures on disk, and the loader's parts over it."""

import hashlib
import itertools
import os

import cv2
import numpy as np

from webvision.data.data_set import Split
from webvision.data.lists.index import open_index
from webvision.data.loader import batch_files
from webvision.data.pictures.folder import PictureFolder

CLASSES = 5


def files_are_read_singly(monkeypatch):
    """By Python, whose functions a test can make fail; the compiled reader leaves to Python whatever it cannot read."""
    monkeypatch.setattr(batch_files, "_LARGEST", -1)


def picture(seed, width=80, height=64):
    """A smooth random picture with some grain: uint8 BGR."""
    draw = np.random.Generator(np.random.Philox(key=seed))
    coarse = draw.integers(0, 256, (5, 6, 3), np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    return np.clip(smooth + draw.integers(-8, 9, (height, width, 1)), 0, 255).astype(np.uint8)


def jpeg(image, quality=90, sampling="420", progressive=False, restart=0):
    """`image` as the bytes of a JPEG file."""
    factor = {"444": 0x111111, "422": 0x211111, "420": 0x221111, "440": 0x121111, "411": 0x411111}[sampling]
    done, data = cv2.imencode(
        ".jpg",
        image,
        [
            cv2.IMWRITE_JPEG_QUALITY,
            quality,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
            factor,
            cv2.IMWRITE_JPEG_PROGRESSIVE,
            int(progressive),
            cv2.IMWRITE_JPEG_RST_INTERVAL,
            restart,
        ],
    )
    assert done
    return data.tobytes()


def make_tree(root, count=53, broken=()):
    """`count` pictures of CLASSES classes (of unequal size) below root/train, listed in root/meta/train.txt."""
    os.makedirs(root / "meta")
    lines = []
    for number in range(count):
        label = int(np.sqrt(number)) % CLASSES
        name = f"c{label}/picture {number}.jpg"
        os.makedirs(root / "train" / f"c{label}", exist_ok=True)
        data = jpeg(picture(number, *((80, 64), (64, 96), (50, 50))[number % 3]))
        (root / "train" / name).write_bytes(data[: len(data) // 2] if number in broken else data)
        lines.append(f"{name} {label}")
    (root / "meta" / "train.txt").write_text("\n".join(lines) + "\n")
    return root


def parts(root, balance="none", seed=7):
    """(split, order) of a tree that make_tree made."""
    split = Split(open_index(root / "meta" / "train.txt", CLASSES), PictureFolder(root / "train"))
    return split, split.order(balance, seed=seed)


def take(batches, count):
    """The first `count` batches, copied, and the hash over all their bytes."""
    digest, taken = hashlib.sha256(), []
    for batch in itertools.islice(batches, count):
        taken.append(batch._replace(images=batch.images.copy()))
        for field in batch:
            if field is not None:
                digest.update(np.ascontiguousarray(field))
    return taken, digest.hexdigest()
