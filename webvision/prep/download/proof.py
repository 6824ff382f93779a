"""Whether a fetched file is the file: its first bytes, its end, its members, and the checksum seen the first time."""

import json
import os
import threading

from webvision.data.archives import tarstream
from webvision.errors import DataError
from webvision.files import file_sha256, write_json
from webvision.prep.download import unpack


class Mismatch(DataError):
    """The file is not the one that the manifest records."""


def first_bytes_check(archive):
    """A function of the first bytes: None, or in words why they can't begin `archive`."""

    def check(head):
        start = head[:512].lstrip()[:15].lower()
        if not head:
            return "sends an empty file"
        if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
            return "sends a web page instead of the file: a login page, or an error page?"
        if archive.packed == "tar.gz" and head[:2] != b"\x1f\x8b":
            return "sends something that is not gzip"
        if archive.packed == "tar":
            if head[:2] == b"\x1f\x8b":
                return "sends gzip where a plain tar is expected"
            try:
                tarstream.Reader(_Head(head)).check_first()
            except tarstream.TarError:
                return "sends something that is not a tar"
        if archive.packed is None and b"\0" in head:
            return "sends binary data where a text list is expected"
        return None

    return check


class _Head:
    def __init__(self, data):
        self._data = data

    def read(self, size):
        data, self._data = self._data[:size], self._data[size:]
        return data


def prove(archive, path, *, skip_odd, size_stated=True):
    """The facts of a whole file: {'size', 'sha256'} and for archives {'members', 'unpacked_bytes'}; DataError if it is
    none.

    A text list can prove its end only by its size; where the server never stated it, by the last line's end.
    """
    facts = {"size": os.path.getsize(path)}
    if not facts["size"]:
        raise tarstream.TarError(f"{path}: is empty")
    if archive.packed:
        content = unpack.inspect(archive, path, skip_odd=skip_odd)
        facts.update(members=content.members, unpacked_bytes=content.bytes)
    elif not size_stated:
        with open(path, "rb") as file:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                raise tarstream.TarError(f"{path}: a list must end with a line end; cut off?")
    facts["sha256"] = file_sha256(path)
    return facts


class Manifest:
    """Checksums by file name: written the first time a file is proven whole, compared ever after, here and
    elsewhere."""

    FORMAT = "webvision-manifest"

    def __init__(self, path, others=()):
        self.path = path
        self._lock = threading.Lock()
        self.entries = self._read(path) if os.path.exists(path) else {}
        self.known = dict(self.entries)
        for other in others:
            for name, entry in self._read(other).items():
                if self.known.setdefault(name, entry)["sha256"] != entry["sha256"]:
                    raise DataError(
                        f"{other} and {path if name in self.entries else 'another --manifest'} record different "
                        "checksums for "
                        f"{name}; find out which copy is right, then delete that entry from the other"
                    )

    def check(self, name, facts):
        """Mismatch if `facts` are not the recorded ones. Says whether the file was recorded."""
        entry = self.known.get(name)
        if entry and entry["sha256"] != facts["sha256"]:
            raise Mismatch(
                f"{name}: its SHA-256 is {facts['sha256'][:16]}..., but the manifest ({self.path}) records "
                f"{entry['sha256'][:16]}... from the first time"
            )
        return entry is not None

    def record(self, name, facts):
        with self._lock:
            self.entries[name] = self.known[name] = facts
            write_json(self.path, {"format": self.FORMAT, "version": 1, "archives": dict(sorted(self.entries.items()))})

    def _read(self, path):
        try:
            with open(path, encoding="utf-8") as file:
                found = json.load(file)
            if found["format"] != self.FORMAT or not all(
                isinstance(entry["sha256"], str) for entry in found["archives"].values()
            ):
                raise ValueError("wrong format")
            return found["archives"]
        except FileNotFoundError:
            raise DataError(f"{path}: not found; --manifest names a manifest.json of an earlier download") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path}: not a manifest ({error}); delete it to record checksums anew, or restore it"
            ) from None
