"""The member index of a folder of archives, made and kept up to date.

Archives are walked side by side, in processes of their own (names and digests keep the interpreter busy), each lot into
a sorted file; then the sorted files are merged. A killed run leaves the lots that were finished, and the next one takes
them. Of archives that have not changed since the last index nothing is walked again.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np

from webvision.data.archives.folder import ArchiveFolder
from webvision.data.archives.members import (
    Archive,
    Facts,
    Members,
    SortedFile,
    StaleMembers,
    look_at,
    sort_records,
    sorted_file,
    write_members,
)
from webvision.data.archives.tarstream import BLOCK
from webvision.data.archives.walk import RECORD, walk
from webvision.data.lists.index import cache_folders
from webvision.devices import cpu_cores
from webvision.errors import DataError, ResourceError, printable
from webvision.files import atomic_write, remove_leftovers
from webvision.processes import end_with_parent
from webvision.progress import Progress

LOT_BYTES = 8 << 30  # of archives that are walked in one go: 300,000 pictures, a second
_IN_PROCESS = 256 << 20  # below, starting processes takes longer than the walk
_COMPARED = 1 << 20
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
_CODE = "import sys; sys.path.insert(0, sys.argv.pop(1)); from webvision.data.archives.building import main; main()"


def archive_names(folder):
    """The names of the archives in a split's folder, sorted; none: its pictures are loose, or not there."""
    return ArchiveFolder(folder).names


def open_members(folder, *, beside=None, jobs=None):
    """The Members of the archives in `folder`, from their index or from one made now.

    It lies in the folder `beside` (the data set's meta/), or in a cache folder of the user if that cannot be written.
    DataError: an archive that must not be read from; of one that is cut off, `archives[i].damage` tells.
    """
    places = _places(folder, beside)
    facts = ArchiveFolder(folder).facts()
    if (found := _up_to_date(places, facts)) and not os.path.lexists(_work_of(found.path)):
        return found
    with _build_lock(folder):
        found = _up_to_date(places, facts) or _build(folder, facts, places, jobs or cpu_cores())
        shutil.rmtree(_work_of(found.path), ignore_errors=True)  # of the builder, killed or not
        return found


def _work_of(place):
    """Where the lots of an index in the making lie."""
    return place + ".lots"


def _places(folder, beside):
    """Where its index may lie, best first."""
    name = os.path.basename(os.path.abspath(folder))
    own = [os.path.join(beside, f".{name}.members")] if beside else []
    whole = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:32] + ".members"
    return own + [os.path.join(cache, whole) for cache in cache_folders()]


def _open_first(places):
    for place in places:
        with contextlib.suppress(StaleMembers):
            return Members(place)
    return None


def _up_to_date(places, facts):
    found = _open_first(places)
    return found if found and [archive.facts for archive in found.archives] == facts else None


def _build(folder, facts, places, jobs):
    problems = []
    for place in places:
        try:
            remove_leftovers(*os.path.split(place))  # of killed builders: we hold the lock
            os.makedirs(_work_of(place), mode=0o700, exist_ok=True)
            write_from(folder, facts, place, known=_open_first(places), jobs=jobs)
            return Members(place)
        except (OSError, StaleMembers) as error:
            problems.append(f"{place}: {error}")
    raise ResourceError(
        f"no room for the index of the archives in {printable(folder)}; set XDG_CACHE_HOME to a folder that can be "
        "written:\n" + "\n".join(problems)
    )


def write_from(folder, facts, place, *, known, jobs):
    """Write the index of the archives `facts` at `place`; what `known`, an older index, has of them is taken over."""
    before = {archive.facts: archive for archive in known.archives} if known else {}
    lots = _lots([one for one in facts if one not in before])
    walked = _walk_lots(folder, lots, _work_of(place), jobs)
    number_of = {one: number for number, one in enumerate(facts)}
    archives = dict(before)
    sources = []
    for lot, (path, about) in zip(lots, walked, strict=True):
        sources.append(SortedFile(path, numbers=[number_of[one] for one in lot]))
        archives |= {one: Archive(one, *found) for one, found in zip(lot, about, strict=True)}
    if known:
        sources.append(sorted_file(known, [number_of.get(archive.facts, -1) for archive in known.archives]))
    write_members(
        place, [archives[one] for one in facts], sources, settle=lambda records: _settle(folder, facts, records)
    )


def _lots(facts):
    """Archives to walk in one go: neighbours by name, of about LOT_BYTES together."""
    lots, room = [], 0
    for one in facts:
        if one.size > room:
            lots.append([])
            room = LOT_BYTES
        lots[-1].append(one)
        room -= one.size
    return lots


def _lot_path(work, lot):
    return os.path.join(work, hashlib.sha256(json.dumps(lot).encode("ascii")).hexdigest()[:32])


def _walk_lots(folder, lots, work, jobs):
    """[(path of the sorted records, [(members, damage) of each archive])] of each lot; what is there from before
    stays."""
    paths = [_lot_path(work, lot) for lot in lots]
    left = [at for at, path in enumerate(paths) if not os.path.exists(path + ".json")]
    jobs = min(jobs, len(left), 1 + sum(one.size for at in left for one in lots[at]) // _IN_PROCESS)
    with Progress("indexing archives", len(lots), "lots") as progress:
        if jobs <= 1:
            for done, at in enumerate(left):
                progress.update(len(lots) - len(left) + done)
                walk_lot(folder, [tuple(one) for one in lots[at]], paths[at])
        else:
            _walk_in_processes(folder, [(lots[at], paths[at]) for at in left], jobs, lambda done: progress.update(done))
    found = []
    for path in paths:
        with open(path + ".json", encoding="ascii") as file:
            found.append((path, json.load(file)))
    return found


def walk_lot(folder, lot, path):
    """Walk the archives of `lot` (tuples of Facts' fields) and leave their records, sorted, at `path`, then what is to
    say about each at `path`.json."""
    parts, about, archives = [np.empty(0, RECORD)], [], ArchiveFolder(folder)
    for number, one in enumerate(Facts(*fields) for fields in lot):
        records, damage = walk(archives.path(one), number)
        if not one.is_remote and look_at(folder, one.name) != one:
            raise DataError(
                f"{printable(os.path.join(folder, one.name))}: changed while it was indexed; is another program "
                "writing it? Start again once it is whole"
            )
        parts.append(records)
        about.append((len(records), damage))
    with atomic_write(path, "wb") as file:
        file.write(sort_records(np.concatenate(parts)).tobytes())
    with atomic_write(path + ".json") as file:
        json.dump(about, file)


def _walk_in_processes(folder, tasks, jobs, progress):
    """Each process walks every `jobs`th lot; an error of one is ours."""
    command = [sys.executable, "-P", "-c", _CODE, _ROOT]
    workers = []
    try:
        for number in range(jobs):
            worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            workers.append(worker)
            json.dump({"folder": folder, "tasks": tasks[number::jobs], "parent": os.getpid()}, worker.stdin)
            worker.stdin.close()
        for worker in workers:
            answer = worker.stdout.read()
            if worker.wait() or answer:
                raise _error_of(answer, worker.returncode)
            progress(sum(os.path.exists(path + ".json") for _, path in tasks))
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
            worker.stdout.close()


def _error_of(answer, code):
    kind, _, message = answer.partition(" ")
    if kind == "DataError":
        return DataError(message)
    return ResourceError(f"archives cannot be indexed: {message or f'the process ended with {code}'}")


def main():
    """A process of _walk_in_processes: lots in, nothing out but the first error."""
    text = sys.stdin.read()
    if not text:  # whoever started it died first
        return
    task = json.loads(text)
    end_with_parent(task["parent"])
    try:
        for lot, path in task["tasks"]:
            walk_lot(task["folder"], lot, path)
    except DataError as error:
        print("DataError", error, end="")
    except OSError as error:
        print("OSError", error, end="")


def _settle(folder, facts, records):
    """Which of members of one name stay: the first, if all are the same bytes, as in unpacking."""
    keep = np.ones(len(records), bool)
    same = (records["key"][1:] == records["key"][:-1]) & (records["tag"][1:] == records["tag"][:-1])
    for at in np.flatnonzero(same).tolist():
        one, two = records[at], records[at + 1]
        if _bytes_of(folder, facts, one) != _bytes_of(folder, facts, two):
            where = [
                f"{facts[record['archive']].name} at byte {int(record['block']) * BLOCK:,}" for record in (one, two)
            ]
            raise DataError(
                f"{printable(folder)}: {printable(' and '.join(where))}: two members of one name, with different "
                "content; which is the picture?"
            )
        keep[at + 1] = False
    return keep


def _bytes_of(folder, facts, record):
    """The SHA-256 of a member's bytes."""
    found, left = hashlib.sha256(), int(record["size"])
    with open(ArchiveFolder(folder).path(facts[record["archive"]]), "rb") as file:
        file.seek(int(record["block"]) * BLOCK)
        while left and (data := file.read(min(left, _COMPARED))):
            found.update(data)
            left -= len(data)
    return found.digest(), left


class _build_lock:
    """One process at a time indexes a folder; the others wait for it. Where folders take no locks, everyone does: the
    same bytes, atomically."""

    def __init__(self, folder):
        self._folder = folder

    def __enter__(self):
        self._fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                time.sleep(0.05)
            except OSError:
                return

    def __exit__(self, *error):
        os.close(self._fd)
