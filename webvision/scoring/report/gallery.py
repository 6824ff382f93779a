"""Thumbnails for the report: found below DATA/<split>, decoded like every picture, shrunk and encoded again."""

import base64
import os

from webvision.data.archives.store import open_pictures
from webvision.data.lists.text import encode_name
from webvision.data.pictures.images import read_image
from webvision.errors import DataError

SIDE = 168  # pixels; shown at 150 on a screen
QUALITY = 72
BUDGET = 3 << 20  # bytes of base64 in all: the page stays below 5 MB whatever the pictures are
SPLITS = ("train", "val", "test")


class Thumbnails:
    """Makes `data:` addresses of pictures below `data_dir`, until the budget is spent; counts what could not be
    shown."""

    def __init__(self, data_dir):
        self._data_dir = data_dir
        self._spent = 0
        self._opened = {}  # split -> its pictures
        self.missing = 0

    def address(self, name, split):
        """The `data:` address of the picture `name`, or None if there is no data folder, no such picture, or no room
        left."""
        if self._data_dir is None or self._spent >= BUDGET:
            return None
        if os.path.isabs(name) or ".." in name.split("/") or "\0" in name:
            self.missing += 1  # a name that leaves the data folder is not followed
            return None
        try:
            image = read_image(self._pictures(split, name).read(encode_name(name)))
        except (DataError, OSError):
            self.missing += 1
            return None
        address = "data:image/jpeg;base64," + base64.b64encode(_encode(image)).decode("ascii")
        self._spent += len(address)
        return address

    def _pictures(self, split, name):
        if split not in self._opened:
            self._opened[split] = open_pictures(
                os.path.join(self._data_dir, split),
                beside=os.path.join(self._data_dir, "meta"),
                sample=[encode_name(name)],
            )
        return self._opened[split]


def _encode(image):
    import cv2  # 0.1 s that a report without pictures need not spend

    height, width = image.shape[:2]
    scale = SIDE / max(height, width)
    if scale < 1:
        image = cv2.resize(
            image, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA
        )
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


def split_of(run):
    """The folder below DATA that a run's names lie in: 'train', 'val' or 'test', by its header or the name of its
    list."""
    said = run.header.get("split")
    if said in SPLITS:
        return said
    stem = os.path.basename(str(run.header.get("list", {}).get("path", "")))
    return next((split for split in SPLITS if stem.startswith(split)), "val")
