"""Tar files as others write them, and a set's folder of pictures packed into some."""

import io
import os
import tarfile


def write_tar(path, members, form=tarfile.USTAR_FORMAT):
    """A tar at `path` of `members`: {name: bytes}, or pairs (name or TarInfo, bytes)."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for name, data in members.items() if isinstance(members, dict) else members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def put_into_archives(root, split, count=3):
    """The pictures of DATA/<split>/ go into `count` tars there, and their files away; returns the tars' paths."""
    folder = os.path.join(root, split)
    files = {}
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(place, name)
            with open(path, "rb") as file:
                files[os.path.relpath(path, folder)] = file.read()
            os.unlink(path)
    names = sorted(files, key=lambda name: name[::-1])  # classes are mixed, as WebVision's archives have them
    return [
        write_tar(os.path.join(folder, f"part {number}.tar"), {name: files[name] for name in names[number::count]})
        for number in range(count)
    ]
