"""The demo's data set: WebVision in small, drawn, in the shape in which WebVision is distributed.

    OUT/info/synsets.txt  train_filelist_{all,google,flickr}.txt  val_filelist.txt  test_filelist.txt  true_labels.json
    OUT/{google,flickr}/q00001/...   OUT/val_images_resized/   OUT/test_images_resized/

It has the real set's troubles in known amounts: classes 20:1, rows with a wrong label (true_labels.json says which, and
what the test pictures show), grey pictures, PNG called .jpg, turned pictures whose EXIF tag says so, equal base names
in several folders, and a few files that are no picture. Bytes are a function of the seed.
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import cv2
import numpy as np

from webvision.devices import cpu_cores
from webvision.errors import DataError, UsageError
from webvision.files import atomic_write, remove_leftovers, write_json
from webvision.prep.demo import pictures as demo_pictures
from webvision.progress import Progress

MARKER = ".demo.json"
VERSION = 1  # part of the marker: a set drawn by other code is not continued

LARGEST_CLASS, IMBALANCE = 440, 20  # pictures of the most frequent class, and how many times the rarest has fewer
WRONG_SHARE = 0.08  # of each class's rows show another class
VAL_PER_CLASS, TEST_PER_CLASS = 20, 10
QUERIES_PER_CLASS = 2  # in each source
SHORT_SIDE = 80, 201  # pixels: [from, to)
ODD_SHARES = {"grey": 0.05, "png": 0.02, "exif": 0.06}  # of all pictures, in train, val and test
BROKEN = ("empty", "html", "html", "half", "half", "half")  # training files that are no (whole) picture
CLASHES = 14  # pairs of pictures of one class with one base name, across sources or queries

# EXIF orientation -> how the stored pixels lie, seen from upright (CIPA DC-008: 6 is shown turned 90 degrees clockwise)
STORED_TURN = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_COUNTERCLOCKWISE, 8: cv2.ROTATE_90_CLOCKWISE}


class Picture(NamedTuple):
    """One file to draw; everything about it is decided before the first pixel, so drawing can go in any order."""

    path: str  # relative to OUT
    label: int  # what the lists say
    shows: int  # what it shows
    kind: str  # 'plain', 'grey', 'png', 'exif', or one of BROKEN
    seed: tuple  # of its own generator


def draw(out, *, seed=1):
    """Draw the set into `out`; returns the number of files, 0 if exactly this set already lies there.

    `out` is new, empty, or holds this set, perhaps unfinished; anything else is refused untouched.
    """
    if _claim(out, seed):
        return 0
    train, val, test = plan(seed)
    pictures = train + val + test
    for folder in sorted({os.path.dirname(picture.path) for picture in pictures} | {"info"}):
        os.makedirs(os.path.join(out, folder), exist_ok=True)
    for folder in (out, os.path.join(out, "info")):
        remove_leftovers(folder)

    def write(picture):
        with open(os.path.join(out, picture.path), "wb") as file:
            file.write(encode(picture))

    with ThreadPoolExecutor(cpu_cores()) as pool, Progress("drawing", len(pictures), "files") as progress:
        for done, _ in enumerate(pool.map(write, pictures), 1):
            progress.update(done)
    _write_info(os.path.join(out, "info"), train, val, test)
    write_json(os.path.join(out, MARKER), _marker(seed, complete=True))
    return len(pictures)


def class_counts():
    """Training pictures by class, geometric from LARGEST_CLASS down to 1/IMBALANCE of it, the frequent ones
    scattered."""
    num_classes = len(demo_pictures.CLASSES)
    counts = LARGEST_CLASS * IMBALANCE ** (-np.arange(num_classes) / (num_classes - 1))
    return [round(counts[i * 5 % num_classes]) for i in range(num_classes)]  # 5 and 12 have no common divisor


def plan(seed):
    """(train, val, test): lists of Picture in the order of the file lists."""
    rng = np.random.default_rng([seed, 0])
    train = _plan_train(rng, seed)
    splits = [train]
    for number, (split, per_class) in enumerate((("val", VAL_PER_CLASS), ("test", TEST_PER_CLASS)), 1):
        labels = rng.permutation(np.repeat(np.arange(len(demo_pictures.CLASSES)), per_class)).tolist()
        splits.append(
            [
                Picture(
                    f"{split}_images_resized/{split}{i + 1:06d}.jpg", label, label, _draw_kind(rng), (seed, number, i)
                )
                for i, label in enumerate(labels)
            ]
        )
    return splits


def _plan_train(rng, seed):
    num_classes = len(demo_pictures.CLASSES)
    rows = []
    for label, count in enumerate(class_counts()):
        shows = np.full(count, label)
        wrong = rng.choice(count, round(count * WRONG_SHARE), replace=False)
        shows[wrong] = (label + rng.integers(1, num_classes, len(wrong))) % num_classes
        for shown in shows.tolist():
            source = "google" if rng.random() < 0.55 else "flickr"
            query = label * QUERIES_PER_CLASS + int(rng.integers(QUERIES_PER_CLASS)) + 1
            rows.append([source, query, _web_name(rng, source), label, shown, _draw_kind(rng)])
    _give_equal_names(rng, rows)
    for row, kind in zip(rng.choice(len(rows), len(BROKEN), replace=False), BROKEN, strict=True):
        rows[row][5] = kind
    rows.sort(key=lambda row: (row[0] != "google", row[1]))  # stable: by source, then query, as crawled
    return [
        Picture(f"{source}/q{query:05d}/{name}", label, shown, kind, (seed, 3, i))
        for i, (source, query, name, label, shown, kind) in enumerate(rows)
    ]


def _web_name(rng, source):
    """A base name as the two sources give them: Google's are hashes, Flickr's are photo numbers."""
    if source == "flickr":
        return f"{rng.integers(10**9, 10**10)}.jpg"
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return "".join(letters[i] for i in rng.integers(len(letters), size=14)) + ".jpg"


def _give_equal_names(rng, rows):
    """Rename pairs of one class, lying in different folders, to one base name per pair."""
    made = 0
    while made < CLASHES:
        one, other = (rows[i] for i in rng.choice(len(rows), 2, replace=False))
        if one[3] == other[3] and one[:2] != other[:2] and not (one[2] + other[2]).count("IMG_"):
            made += 1
            one[2] = other[2] = f"IMG_{made:04d}.jpg"


def _draw_kind(rng):
    point = rng.random()
    for kind, share in ODD_SHARES.items():
        if point < share:
            return kind
        point -= share
    return "plain"


def encode(picture):
    """The bytes of one file of the set."""
    if picture.kind == "empty":
        return b""
    if picture.kind == "html":
        return (
            b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body>This photo is gone.</body></html>\n"
        )
    rng = np.random.default_rng(picture.seed)
    short = int(rng.integers(*SHORT_SIDE))
    sides = short, round(short * rng.uniform(1, 1.6))
    height, width = sides if rng.random() < 0.6 else sides[::-1]
    image = demo_pictures.photograph(demo_pictures.CLASSES[picture.shows][2], rng, height, width)
    quality = int(rng.integers(80, 96))
    if picture.kind == "png":
        return cv2.imencode(".png", image)[1].tobytes()
    if picture.kind == "grey":
        image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    if picture.kind == "exif":
        orientation = int(rng.choice(list(STORED_TURN)))
        return _with_orientation(_jpeg(cv2.rotate(image, STORED_TURN[orientation]), quality), orientation)
    data = _jpeg(image, quality)
    return data[: len(data) // 2] if picture.kind == "half" else data


def _jpeg(image, quality):
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def _with_orientation(jpeg, orientation):
    """`jpeg` with an APP1 segment right after SOI: big-endian TIFF, one entry, tag 0x0112, SHORT."""
    tiff = (
        b"MM\x00\x2a\x00\x00\x00\x08"
        + b"\x00\x01"
        + b"\x01\x12\x00\x03\x00\x00\x00\x01"
        + orientation.to_bytes(2, "big")
        + b"\x00\x00"
        + b"\x00\x00\x00\x00"
    )
    body = b"Exif\x00\x00" + tiff
    return jpeg[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + jpeg[2:]


def _write_info(info, train, val, test):
    lists = {
        "synsets.txt": [f"{wnid} {words}" for wnid, words, _ in demo_pictures.CLASSES],
        "train_filelist_all.txt": [f"{p.path} {p.label}" for p in train],
        "train_filelist_google.txt": [f"{p.path} {p.label}" for p in train if p.path.startswith("google/")],
        "train_filelist_flickr.txt": [f"{p.path} {p.label}" for p in train if p.path.startswith("flickr/")],
        "val_filelist.txt": [f"{os.path.basename(p.path)} {p.label}" for p in val],
        "test_filelist.txt": [os.path.basename(p.path) for p in test],
    }
    for name, lines in lists.items():
        with atomic_write(os.path.join(info, name)) as file:
            file.writelines(f"{line}\n" for line in lines)
    write_json(
        os.path.join(info, "true_labels.json"),
        {
            "wrong": {p.path: p.shows for p in train if p.shows != p.label},
            "broken": {p.path: p.kind for p in train if p.kind in BROKEN},
            "test": {os.path.basename(p.path): p.shows for p in test},
        },
    )


def _marker(seed, *, complete):
    return {"format": "webvision-demo", "version": VERSION, "seed": seed, "complete": complete}


def _claim(out, seed):
    """Make `out` ours; True if this very set already lies there complete."""
    if os.path.lexists(out) and not os.path.isdir(out):
        raise UsageError(f"{out}: is a file; --out names the folder to draw into")
    os.makedirs(out, exist_ok=True)
    path = os.path.join(out, MARKER)
    if not os.path.exists(path):
        if os.listdir(out):
            raise UsageError(f"{out}: holds something that is not the demo's data set; choose a new or empty folder")
        write_json(path, _marker(seed, complete=False))
        return False
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
        same = {**found, "complete": None} == _marker(seed, complete=None)
    except (ValueError, TypeError):
        raise DataError(f"{path}: is not what this command wrote; delete {out} and draw again") from None
    if not same:
        raise UsageError(
            f"{out}: holds the demo's data set drawn with other settings ({path}); choose another folder, "
            "or delete this one first"
        )
    return found["complete"] is True
