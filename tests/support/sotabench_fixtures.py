"""Label lists and devkit archives as ILSVRC 2012 has them, in miniature."""

import io
import os
import random
import tarfile

import numpy as np
import scipy.io


def leave_server(monkeypatch, folder):
    """No variable of sotabench's is set, and caches go below `folder`."""
    for name in ("SERVER", "CHECK", "STORE_FILENAME", "LABELS"):
        monkeypatch.delenv(f"SOTABENCH_{name}", raising=False)
    monkeypatch.delenv("WEBVISION_RESULT_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))


def image_ids(count):
    return [f"ILSVRC2012_val_{number:08d}" for number in range(1, count + 1)]


def write_labels(folder, labels, name="val.txt"):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(f"{image_id}.JPEG {label}\n" for image_id, label in zip(image_ids(len(labels)), labels))
    return path


def synsets(leaves, inner=2, seed=0):
    """A `synsets` structure as in meta.mat: leaves first, in no order of WNIDs, then inner nodes with children."""
    fields = [
        "ILSVRC2012_ID",
        "WNID",
        "words",
        "gloss",
        "num_children",
        "children",
        "wordnet_height",
        "num_train_images",
    ]
    wnids = random.Random(seed).sample(range(10**8), leaves + inner)
    table = np.empty((leaves + inner, 1), [(name, "O") for name in fields])
    for row, wnid in enumerate(wnids):
        leaf = row < leaves
        table[row, 0] = (
            float(row + 1),
            f"n{wnid:08d}",
            "tench, Tinca",
            "a föö",
            0.0 if leaf else 2.0,
            np.zeros((0,)) if leaf else np.array([1.0, 2.0]),
            3.0,
            1300.0,
        )
    return table


def devkit(path, table, ground_truth, compress=True, extra=()):
    mat = io.BytesIO()
    scipy.io.savemat(mat, {"synsets": table}, do_compression=compress)
    members = {
        "ILSVRC2012_devkit_t12/readme.txt": b"...",
        "ILSVRC2012_devkit_t12/data/meta.mat": mat.getvalue(),
        "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt": ground_truth
        if isinstance(ground_truth, bytes)
        else "".join(f"{number}\n" for number in ground_truth).encode(),
    }
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in extra:
            archive.addfile(info)
    return path
