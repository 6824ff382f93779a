"""What there is to download, as data: catalogue.json, or a group's own file of the same form (--archives).

A set has mirrors (base addresses, best first) and named parts; a part lists file names, or objects with `name` and
any of `into` (folder below the target), `nested` (unpack tars inside the tar into folders of their own) and `mirrors`.
"""

import json
import os
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from webvision.errors import DataError, UsageError

CATALOGUE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "catalogue.json")


class Archive(NamedTuple):
    """One file to fetch. `urls` in the order to try; `into` is relative to the target folder ('' is the folder
    itself)."""

    name: str
    urls: tuple
    into: str = ""
    nested: bool = False

    @property
    def packed(self):
        """'tar', 'tar.gz', or None for a file that is used as it comes."""
        return next((kind for kind in ("tar.gz", "tar") if self.name.endswith("." + kind)), None)


def read_catalogue(path=CATALOGUE):
    """{set name: {about, mirrors, parts, arrange}}; DataError for anything else."""
    try:
        with open(path, encoding="utf-8") as file:
            sets = json.load(file)
        for name, one in sets.items():
            if not set(one) <= {"about", "mirrors", "parts", "arrange"} or not one["mirrors"] or not one["parts"]:
                raise ValueError(f"set '{name}' needs mirrors and parts, and may have about and arrange")
            for part in one["parts"]:
                list(_archives_of(one, part, ()))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; --archives names a list of archives") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not a list of archives: {error}") from None
    return sets


def select(sets, set_name, *, parts=None, mirrors=()):
    """The archives of a set (or of its named `parts`), the lists before the pictures; `mirrors` replace the set's,
    and go before the mirrors that a single file has of its own."""
    if set_name not in sets:
        raise UsageError(f"no set '{set_name}'; there are {', '.join(sets)}")
    one = sets[set_name]
    for part in parts or ():
        if part not in one["parts"]:
            raise UsageError(f"set {set_name} has no part '{part}'; its parts are {', '.join(one['parts'])}")
    for mirror in mirrors:
        if urlsplit(mirror).scheme not in ("http", "https") or not urlsplit(mirror).hostname:
            raise UsageError("--mirror takes an http:// or https:// address of a folder")
    found = {}
    for part in parts or one["parts"]:
        for archive in _archives_of(one, part, mirrors):
            found[archive.name] = archive
    return list(found.values())


def _archives_of(one, part, mirrors):
    for entry in one["parts"][part]:
        entry = {"name": entry} if isinstance(entry, str) else entry
        name, into = entry["name"], entry.get("into", "")
        if not set(entry) <= {"name", "into", "nested", "mirrors"}:
            raise ValueError(f"'{name}' may have name, into, nested and mirrors only")
        if os.path.basename(name) != name or name.startswith(".") or not name.isprintable():
            raise ValueError(f"'{name}' is not a plain file name")
        if os.path.isabs(into) or ".." in into.split("/"):
            raise ValueError(f"'{name}' would be unpacked outside the target: into '{into}'")
        bases = (*mirrors, *entry.get("mirrors", () if mirrors else one["mirrors"]))
        yield Archive(
            name, tuple(base.rstrip("/") + "/" + quote(name) for base in bases), into, bool(entry.get("nested"))
        )
