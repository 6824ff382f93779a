"""A folder of somebody's own pictures for the demo: a real set where one is installed, else one that is drawn.

Real: the stamps of the drawing program Tux Paint (Debian's tuxpaint-stamps-default), mostly cut-out photographs, about
a thousand in nested folders of all sizes, with transparency; eight of its folders make eight classes.
"""

import os
import shutil

import cv2
import numpy as np

from webvision.files import atomic_write
from webvision.prep.demo import pictures

STAMPS = "/usr/share/tuxpaint/stamps"
STAMP_CLASSES = (
    "animals/birds",
    "plants/flowers",
    "food/fruit",
    "town/houses",
    "animals/insects",
    "animals/mammals",
    "symbols/money",
    "food/vegetables",
)
DRAWN = ("goldfish", "ladybug", "clock", "umbrella", "daisy")
DRAWN_EACH, DRAWN_SIDE = 40, 240


def make_own_folder(out, *, stamps=STAMPS):
    """Fill the folder `out` with a folder of pictures for each class, and return what they are, in words."""
    found = {os.path.basename(name): os.path.join(stamps, name) for name in STAMP_CLASSES}
    if all(map(os.path.isdir, found.values())):
        for name, source in found.items():
            if not os.path.isdir(os.path.join(out, name)):
                shutil.copytree(source, os.path.join(out, name), ignore=_all_but_pngs)
        return "cut-out photographs, the stamps of Tux Paint"
    for name in DRAWN:
        os.makedirs(os.path.join(out, name), exist_ok=True)
        for number in range(DRAWN_EACH):
            path = os.path.join(out, name, f"{name} {number:02d}.jpg")
            if not os.path.exists(path):
                rng = np.random.default_rng([DRAWN.index(name), number])
                image = pictures.photograph(getattr(pictures, name), rng, DRAWN_SIDE, DRAWN_SIDE)
                with atomic_write(path, "wb") as file:
                    file.write(cv2.imencode(".jpg", image)[1].tobytes())
    return f"drawings: no real set is installed (Debian's tuxpaint-stamps-default puts one into {STAMPS})"


def _all_but_pngs(folder, names):
    return [name for name in names if not name.endswith(".png") and not os.path.isdir(os.path.join(folder, name))]
