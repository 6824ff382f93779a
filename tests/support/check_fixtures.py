"""A data set in which every kind of problem occurs, known by name. Deterministic: the same seed gives the same
files."""

import os

import cv2
import numpy as np

CLASSES = ["n0", "n1", "n2", "n3", "n4"]  # n4 stays empty


def photo(seed, size=(48, 40)):
    """Smooth shapes, different for each seed: like photographs, their looks differ in many bits."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 6, 3)).astype(np.uint8)
    return cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)


def jpeg(image, quality=90):
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def put(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


def make(root, per_class=30):
    """Write the set below `root` (str); returns {kind: names of train pictures}."""
    root = os.fsencode(root)
    train, val, test = [], [], []
    for label in range(4):
        for i in range(per_class // (label + 1)):
            name = b"n%d/a %d.jpg" % (label, i)
            train.append((name, label))
            put(os.path.join(root, b"train", name), jpeg(photo(label * 1000 + i)))
    for i in range(12):
        val.append((b"v%d.jpg" % i, i % 4))
        put(os.path.join(root, b"val", b"v%d.jpg" % i), jpeg(photo(90_000 + i)))
    for i in range(5):
        test.append(b"t%d.jpg" % i)
        put(os.path.join(root, b"test", b"t%d.jpg" % i), jpeg(photo(91_000 + i)))
    whole = jpeg(photo(5, (200, 160)))
    damaged = {
        b"n0/empty.jpg": b"",
        b"n0/page.jpg": b"<html>gone</html>",
        b"n1/cut.jpg": whole[: len(whole) // 2],
        b"n1/caf\xe9.jpg": b"\xff\xd8\xff\xe0 damaged",
    }
    for name, data in damaged.items():
        train.append((name, int(name[1:2])))
        put(os.path.join(root, b"train", name), data)
    train += [(b"n0/missing.jpg", 0), (b"n0/folder.jpg", 0), (b"n2/linked out.jpg", 2)]
    os.makedirs(os.path.join(root, b"train/n0/folder.jpg"))
    put(root + b".outside.jpg", jpeg(photo(77)))
    os.symlink(root + b".outside.jpg", os.path.join(root, b"train/n2/linked out.jpg"))
    train += [(b"n0/a 1.jpg", 0), (b"n0/a 2.jpg", 1)]  # a duplicate and a conflict
    for name, data in (
        (b"n3/leak.jpg", jpeg(photo(90_003))),
        (b"n3/leak again.jpg", jpeg(photo(90_003))),
        (b"n3/near.jpg", jpeg(cv2.resize(photo(90_004), (60, 52)), 70)),
        (b"n3/copy.jpg", jpeg(photo(2))),
    ):
        train.append((name, 3))
        put(os.path.join(root, b"train", name), data)
    put(os.path.join(root, b"train/n1/not listed.jpg"), jpeg(photo(3)))
    put(os.path.join(root, b"meta/synsets.txt"), "\n".join(CLASSES).encode())
    put(os.path.join(root, b"meta/train.txt"), b"".join(b"%s %d\n" % row for row in train))
    put(os.path.join(root, b"meta/val.txt"), b"".join(b"%s %d\n" % row for row in val))
    put(os.path.join(root, b"meta/test.txt"), b"".join(b"%s\n" % name for name in test))
    return {name: number for number, (name, _) in enumerate(train, 1)}  # the last line of each name
