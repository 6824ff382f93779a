"""Somebody's own folder of pictures, as messy as such folders are."""

import io

import cv2
import numpy as np


def photograph(label, number, size=(60, 80)):
    """uint8 BGR whose mean colour tells its class, and whose coarse look no other number's has."""
    rng = np.random.default_rng([label, number, 7])
    image = cv2.resize(rng.integers(0, 110, (6, 7, 3), dtype=np.uint8), size[::-1], interpolation=cv2.INTER_CUBIC)
    image[:, :, label % 3] = np.minimum(image[:, :, label % 3].astype(int) + 140, 255)
    return image


def encoded(image, suffix=".jpg"):
    return cv2.imencode(suffix, image)[1].tobytes()


def write_classes(folder, counts, suffix=".jpg"):
    """FOLDER/<class>/<number>.jpg, as many of each class as `counts` {class: number} says."""
    for label, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (folder / name / f"{number:03d}{suffix}").write_bytes(encoded(photograph(label, number), suffix))
    return folder


def heic(image):
    from PIL import Image
    from pillow_heif import from_pillow

    file = io.BytesIO()
    from_pillow(Image.fromarray(image[..., ::-1])).save(file, quality=90)
    return file.getvalue()


def see_through(image):
    """A PNG whose left half shows what is behind it."""
    alpha = np.full(image.shape[:2], 255, np.uint8)
    alpha[:, : image.shape[1] // 2] = 0
    return encoded(np.dstack([image, alpha]), ".png")


def messy_folder(folder):
    """Three classes with every kind of file a phone, a browser and an editor leave behind."""
    write_classes(folder, {"ants": 12, "fire truck": 12, "Bienen é": 12})
    ants, truck = folder / "ants", folder / "fire truck"
    (ants / "deep" / "er").mkdir(parents=True)
    (ants / "deep" / "er" / "a b 7.webp").write_bytes(encoded(photograph(0, 50), ".webp"))
    (ants / "IMG_0001.HEIC").write_bytes(heic(photograph(0, 51)))
    (ants / "scan.tif").write_bytes(encoded(photograph(0, 52), ".tiff"))
    (ants / "new.avif").write_bytes(encoded(photograph(0, 53), ".avif"))
    (ants / "old.jp2").write_bytes(encoded(photograph(0, 54), ".jp2"))
    (ants / "cut-out.png").write_bytes(see_through(photograph(0, 55)))
    (ants / "moving.gif").write_bytes(encoded(photograph(0, 56), ".gif"))
    (ants / "name.jpg 12").write_bytes(encoded(photograph(0, 57)))
    (ants / "two\nlines.jpg").write_bytes(encoded(photograph(0, 58)))
    (ants / "empty.jpg").write_bytes(b"")
    (ants / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (truck / "cut.jpg").write_bytes(encoded(photograph(1, 60))[:-300])
    (truck / "notes.txt").write_text("which of these are red?")
    (truck / "Thumbs.db").write_bytes(b"x")
    (truck / "copy of 003.jpg").write_bytes((truck / "003.jpg").read_bytes())
    (truck / "smaller 004.jpg").write_bytes(
        encoded(cv2.resize(photograph(1, 4), (72, 54), interpolation=cv2.INTER_AREA))
    )
    for name in (".ipynb_checkpoints", "__MACOSX", "later"):
        (folder / name).mkdir()
    (folder / ".ipynb_checkpoints" / "x.jpg").write_bytes(encoded(photograph(2, 99)))
    (folder / "index.html").write_text("<p>")
    return folder
