"""Class names in `meta/synsets.txt`, whose first word is the class's id and whose rest is its name as people write it.

A folder 'fire truck' becomes the line 'fire_truck fire truck'; a name of one word is its own id.
"""

import contextlib
import os
import re

from webvision.data.lists.text import read_classes
from webvision.errors import printable

MAX_WORDS = 1 << 24  # bytes of a synsets.txt that are read for its words


def class_ids(names):
    """A one-word id for each name, all different: blanks become '_', and a number follows where that is taken."""
    taken, ids = {name for name in names if not re.search(r"\s", name)}, []
    for name in names:
        plain = name
        if re.search(r"\s", name):
            plain = base = re.sub(r"\s+", "_", name.strip()) or "_"
            number = 2
            while plain in taken:
                plain, number = f"{base}-{number}", number + 1
            taken.add(plain)
        ids.append(plain)
    return ids


def synset_lines(names):
    """The lines of synsets.txt for classes called `names`."""
    ids = class_ids(names)
    return [
        f"{plain}\n" if plain == name else f"{plain} {printable(name)}\n"
        for plain, name in zip(ids, names, strict=True)
    ]


def read_class_names(path):
    """The names of the classes of a synsets.txt as people write them, in class order; the id where there is no more."""
    ids = read_classes(path)
    with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        lines = [line.rstrip("\n") for line in file]
    lines = [line.removeprefix("\ufeff").strip() for line in lines]
    return [line[len(name) :].strip() or name for name, line in zip(ids, lines, strict=True)]


def read_class_words(data_dir, classes):
    """What each of `classes` means, for a person: the rest of its line in meta/synsets.txt or info/synsets.txt.

    "" for a class of which neither says more than the name; None if that is so for all of them.
    """
    words = dict.fromkeys(classes, "")
    for folder in ("info", "meta"):  # of two, what stands in meta/ counts
        with contextlib.suppress(OSError):
            with open(os.path.join(data_dir, folder, "synsets.txt"), "rb") as file:
                for line in file.read(MAX_WORDS).splitlines():
                    parts = line.decode("utf-8", "surrogateescape").split(None, 1)
                    if len(parts) == 2 and parts[0] in words:
                        words[parts[0]] = parts[1].strip()
    return tuple(words.values()) if any(words.values()) else None
