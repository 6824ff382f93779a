"""Each file of an own folder looked at once, in limited processes: is it a picture, what are its bytes, does it have to
be converted? Goes on where it was killed, and looks only at what is new or changed when pictures were added.
"""

import contextlib
import functools
import hashlib
import json
import os
import resource
from dataclasses import asdict, dataclass

import cv2
import numpy as np

from webvision import faults
from webvision.data.pictures.images import (
    DEFAULT_POLICY,
    ImageError,
    OutOfMemoryError,
    data_folders,
    inspect,
    read_bytes,
    read_image,
)
from webvision.errors import ResourceError, printable
from webvision.files import atomic_write, open_own
from webvision.prep.check.pool import ScanPool
from webvision.prep.check.scan import DECODED, READ, RECORD, look_of
from webvision.prep.own_folder.foreign import decode_foreign, kind_of, on_white, transparent
from webvision.progress import Progress

JPEG_QUALITY = 95
MEMORY_BYTES = 3 << 30  # more than a process may map beyond what it has: 64 megapixels take 1.3 GB in OpenCV
FILE_BYTES = 256 << 20  # what a converted picture may take
BLOCK = 16  # pictures: half a second or so, what a kill costs
CONVERTED = "converted"  # folder of pictures below DATA/pictures
OWN = "own"  # link to the folder itself, there too


@dataclass(frozen=True)
class Finding:
    """What is known of one file."""

    path: str  # below the folder
    size: int
    modified: int  # ns; with the size, whether the file is still the one that was looked at
    content: str  # SHA-256 of its bytes, '' if they could not be read
    look: int  # check.scan.look_of
    shown: str  # where training finds it, below DATA/pictures; '': it is no picture
    why: str  # it is none, or it was converted: 'heic', 'transparent', ...

    @property
    def usable(self):
        return bool(self.shown)


def examine_folder(found, pictures, journal, *, jobs, timeout_s=60.0, policy=DEFAULT_POLICY):
    """{path: Finding} of each picture of `found`; `pictures`: the folder DATA/pictures, `journal`: file of findings."""
    known = _still_true(found, _read_journal(journal), pictures)
    todo = [picture.path for picture in found.pictures if picture.path not in known]
    inside = data_folders(os.fsencode(found.folder))

    def examine_block(block, row_begins, verdicts):
        limit_process()
        lines = []
        for row in range(block * BLOCK, min(len(todo), (block + 1) * BLOCK)):
            row_begins(row)
            path = todo[row]
            finding = (
                _condemned(found.folder, path, verdicts[row])
                if row in verdicts
                else examine(found.folder, path, pictures, inside=inside, policy=policy)
            )
            lines.append(_line(finding))
        return "".join(lines).encode("ascii")

    blocks = range(-(-len(todo) // BLOCK))
    pool = ScanPool(examine_block, jobs=max(1, min(jobs, len(blocks))), timeout_s=timeout_s)
    with (
        open(open_own(journal, os.O_WRONLY | os.O_APPEND), "ab") as file,
        Progress("looking at", len(found.pictures), "pictures") as progress,
        contextlib.closing(pool.run(blocks)) as answers,
    ):
        for _, lines in answers:
            file.write(lines)
            file.flush()
            faults.point("own-folder")
            for line in lines.splitlines():
                finding = _parse(line)
                known[finding.path] = finding
            progress.update(len(known))
    ordered = {picture.path: known[picture.path] for picture in found.pictures}
    with atomic_write(journal) as file:
        file.writelines(map(_line, ordered.values()))
    return ordered


def examine(folder, path, pictures, *, inside=None, policy=DEFAULT_POLICY):
    """The Finding of one file; writes its conversion, if it needs one, below `pictures`."""
    full = os.path.join(folder, path)
    state = os.stat(full)
    content = ""
    try:
        data = read_bytes(full, policy, inside=inside)
        content = hashlib.sha256(data).hexdigest()
        image, why = _picture(data, policy)
        why = why or ("" if _can_be_listed(path) else "a name that no list can hold")
        shown = f"{OWN}/{path}" if not why else _convert(image, path, content, pictures)
        return Finding(path, state.st_size, state.st_mtime_ns, content, look_of(image), shown, why)
    except ImageError as error:
        why = f"{error.reason}: {error}"
    except (OutOfMemoryError, MemoryError):  # of the limited process: another picture has room
        why = "too-many-pixels: it needs more memory than a picture may take"
    return Finding(path, state.st_size, state.st_mtime_ns, content, 0, "", why)


def _picture(data, policy):
    """(BGR pixels, why the file has to be converted or '') of a file's bytes; ImageError if it is no picture."""
    if kind := kind_of(data):
        return on_white(decode_foreign(data, kind, policy)), kind
    header = inspect(data, policy)
    image = read_image(data, policy)
    see_through = transparent(data, header)
    return (image, "") if see_through is None else (on_white(see_through), "transparent")


def _can_be_listed(path):
    """Whether a list line can say this name: no control character that the format forbids, no ' 12' at its end that
    reads as a second label, no blank at its borders."""
    name = f"{OWN}/{path}"
    last = name.rpartition(" ")[2]
    return not (set(name) & set("\0\t\r\n")) and not last.lstrip("-").isdigit() and not name.endswith(" ")


def _convert(image, path, content, pictures):
    """Write the picture as JPEG; returns its name. The name holds the content's hash, so a changed original has a new
    one, and two processes can only write the same bytes."""
    name = os.path.basename(path)
    plain = "".join(c if c.isprintable() and c not in "\\" else "_" for c in name)[:100].strip()
    shown = "/".join([CONVERTED, content[:2], f"{plain}.{content[:12]}.jpg"])
    target = os.path.join(pictures, shown)
    if not os.path.exists(target):
        jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
        try:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with atomic_write(target, "wb") as file:
                file.write(jpeg)
        except OSError as error:
            raise ResourceError(
                f"{printable(target)}: {error.strerror}; the same command continues from here"
            ) from None
    return shown


def _condemned(folder, path, reason):
    """The Finding of a file at which decoders died or hung."""
    state = os.stat(os.path.join(folder, path))
    return Finding(path, state.st_size, state.st_mtime_ns, "", 0, "", f"{reason}: its decoder did not survive it")


@functools.cache
def limit_process():
    """Bounds for what a decoder can be made to do: memory, file size, no core file. For a worker, once in its life."""
    with open("/proc/self/statm", encoding="ascii") as file:
        mapped = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    cv2.setNumThreads(0)  # the parent's threads did not come along with the fork


def _still_true(found, findings, pictures):
    """The findings of files that are as they were, and whose conversions are there."""
    known = {}
    for picture in found.pictures:
        finding = findings.get(picture.path)
        if finding is None:
            continue
        state = os.stat(os.path.join(found.folder, picture.path))
        unchanged = (state.st_size, state.st_mtime_ns) == (finding.size, finding.modified)
        there = not finding.shown.startswith(f"{CONVERTED}/") or os.path.exists(os.path.join(pictures, finding.shown))
        if unchanged and there:
            known[picture.path] = finding
    return known


def _line(finding):
    return json.dumps(asdict(finding)) + "\n"  # ASCII: surrogates of undecodable names survive as escapes


def _parse(line):
    return Finding(**json.loads(line))


def _read_journal(path):
    """{path: Finding} of an earlier look; a line that a kill cut short is left out."""
    findings = {}
    try:
        with open(path, "rb") as file:
            for line in file:
                with contextlib.suppress(ValueError, TypeError):
                    finding = _parse(line)
                    findings[finding.path] = finding
    except FileNotFoundError:
        pass
    except OSError as error:
        raise ResourceError(f"{printable(path)}: {error.strerror}") from None
    return findings


def records(findings):
    """What check.same compares: an array of RECORD, a row for each of a sequence of usable findings."""
    rows = np.zeros(len(findings), RECORD)
    for row, finding in zip(rows, findings, strict=True):
        row["content"] = np.frombuffer(bytes.fromhex(finding.content)[:16], "<u8")
        row["look"], row["flags"] = finding.look, READ | DECODED
    return rows
