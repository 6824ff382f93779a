"""Pictures of a data set's state: how large its classes are, and what its worst pictures look like."""

import cv2
import numpy as np

from webvision.data.pictures.images import ImageError, ImagePolicy, read_image
from webvision.errors import printable
from webvision.files import atomic_write
from webvision.prep.check.pool import ScanPool

_WIDTH, _HEIGHT, _MARGIN = 1000, 400, 60
_TILE, _CAPTION, _COLUMNS = 160, 44, 6
_INK, _BAR, _PAPER, _BAD = (40, 40, 40), (170, 110, 40), (255, 255, 255), (215, 215, 235)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_TOLERANT = ImagePolicy(accept_truncated=True)  # half a picture shows more than none


def bars(counts, width=60, height=8):
    """Lines of text: class sizes, largest to smallest, as `width` columns on a linear scale, with the largest on the
    left."""
    ordered = np.sort(counts)[::-1].astype(float)
    columns = np.array([part.mean() for part in np.array_split(ordered, min(width, len(ordered)))])
    eighths = np.ceil(columns / max(ordered[0], 1) * height * 8).astype(int)
    blocks = " ▁▂▃▄▅▆▇█"
    lines = [
        "".join(blocks[min(max(value - 8 * level, 0), 8)] for value in eighths) for level in reversed(range(height))
    ]
    label = f"{int(ordered[0]):,}"
    return [
        f"{label if i == 0 else '0' if i == height - 1 else '':>{len(label)}} {line}".rstrip()
        for i, line in enumerate(lines)
    ]


def write_imbalance(path, counts):
    """A PNG of the class sizes, largest to smallest, on a logarithmic scale, with median and mean marked."""
    ordered = np.sort(counts)[::-1]
    top = max(int(ordered[0]), 10)
    image = np.full((_HEIGHT + 2 * _MARGIN, _WIDTH + 2 * _MARGIN, 3), 255, np.uint8)

    def height_of(count):
        return int(round(_HEIGHT * np.log10(count + 1) / np.log10(top + 1)))

    for column in range(_WIDTH):
        count = ordered[column * len(ordered) // _WIDTH]
        if count:
            cv2.line(
                image,
                (_MARGIN + column, _MARGIN + _HEIGHT),
                (_MARGIN + column, _MARGIN + _HEIGHT - height_of(count)),
                _BAR,
            )
    for power in range(len(str(top))):
        y = _MARGIN + _HEIGHT - height_of(10**power)
        cv2.line(image, (_MARGIN - 4, y), (_MARGIN + _WIDTH, y), (200, 200, 200))
        cv2.putText(image, f"{10**power:,}", (4, y + 4), _FONT, 0.4, _INK, 1, cv2.LINE_AA)
    title = (
        f"{len(ordered):,} classes, largest {ordered[0]:,}, median {np.median(ordered):,.0f}, smallest "
        f"{ordered[-1]:,}, "
        f"empty {int((ordered == 0).sum()):,}"
    )
    cv2.putText(image, title, (_MARGIN, 30), _FONT, 0.6, _INK, 1, cv2.LINE_AA)
    cv2.putText(
        image,
        "pictures per class, largest class first",
        (_MARGIN, _HEIGHT + 2 * _MARGIN - 20),
        _FONT,
        0.45,
        _INK,
        1,
        cv2.LINE_AA,
    )
    _write_png(path, image)


def write_sheet(path, tiles, *, jobs):
    """A PNG contact sheet. `tiles`: (pictures, name, two caption lines) each; what cannot be decoded is a blank tile.

    Decoded in worker processes: these are the pictures that kill decoders.
    """

    def work(tile, begins, verdicts):
        begins(tile)
        return b"" if verdicts else _thumbnail(*tiles[tile][:2])

    rows = max(1, -(-len(tiles) // _COLUMNS))
    image = np.full((rows * (_TILE + _CAPTION) + 8, _COLUMNS * (_TILE + 8) + 8, 3), 255, np.uint8)
    for i, data in ScanPool(work, jobs=jobs).run(range(len(tiles))):
        x, y = 8 + i % _COLUMNS * (_TILE + 8), 8 + i // _COLUMNS * (_TILE + _CAPTION)
        image[y : y + _TILE, x : x + _TILE] = _BAD
        if data:
            w, h = data[:2]
            picture = np.frombuffer(data, np.uint8, offset=2).reshape(h, w, 3)
            image[y + (_TILE - h) // 2 :, x + (_TILE - w) // 2 :][:h, :w] = picture
        for line, text in enumerate(tiles[i][2]):
            shown = printable(text).encode("ascii", "replace").decode()
            shown = shown if len(shown) <= 26 else f"{shown[:12]}..{shown[-12:]}"
            cv2.putText(image, shown, (x, y + _TILE + 14 + 15 * line), _FONT, 0.35, _INK, 1, cv2.LINE_AA)
    _write_png(path, image)


def _thumbnail(pictures, name):
    """Width, height and BGR pixels of a small copy of a picture, as bytes; none if it cannot be decoded."""
    try:
        picture = read_image(pictures.read(name), _TOLERANT)
    except ImageError:
        return b""
    scale = _TILE / max(picture.shape[:2])
    width, height = (max(1, round(side * scale)) for side in picture.shape[1::-1])
    return bytes([width, height]) + cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA).tobytes()


def _write_png(path, image):
    done, data = cv2.imencode(".png", image)
    if not done:
        raise RuntimeError(f"{path}: OpenCV cannot write PNG")
    with atomic_write(path, "wb") as file:
        file.write(data.tobytes())
