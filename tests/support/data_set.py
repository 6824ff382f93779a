"""A tiny data set in the ILSVRC layout, whose classes a person can tell by their colour."""

import os

import cv2
import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CLASSES = ("n01440764", "n02084071", "n03790512")
TRAIN_COUNTS = (12, 6, 3)


def picture(label, number):
    """A JPEG whose mean colour tells its class; no two are alike."""
    rng = np.random.default_rng([label, number])
    image = rng.integers(0, 90, (48 + number % 5, 56, 3), dtype=np.uint8)
    image[:, :, label % 3] += 150
    return cv2.imencode(".jpg", image)[1].tobytes()


def write_data_set(root):
    """DATA/{train,val,test,meta} with three imbalanced classes, 12 + 6 + 3 training pictures, 9 val, 4 test."""
    rows = {"train": [], "val": [], "test": []}
    for label, (name, count) in enumerate(zip(CLASSES, TRAIN_COUNTS)):
        rows["train"] += [(f"{name}/{i}.jpg", label) for i in range(count)]
    rows["val"] = [(f"val{i:06d}.jpg", i % 3) for i in range(1, 10)]
    rows["test"] = [(f"test{i:06d}.jpg", i % 3) for i in range(1, 5)]
    for split, entries in rows.items():
        for number, (name, label) in enumerate(entries):
            path = root / split / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(label, number + len(split)))
    meta = root / "meta"
    meta.mkdir()
    (meta / "synsets.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    for split in ("train", "val"):
        (meta / f"{split}.txt").write_text("".join(f"{name} {label}\n" for name, label in rows[split]))
    (meta / "test.txt").write_text("".join(f"{name}\n" for name, _ in rows["test"]))
    return root
