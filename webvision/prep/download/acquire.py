"""One archive from the net to unpacked files, in steps that each leave a state to go on from.

In the state folder (TARGET/archives), by what exists:
    NAME.part (+ .state.json)   being fetched
    NAME                        fetched and proven whole, perhaps being unpacked
    NAME.done.json              unpacked and on the disk, only now may NAME go; in archives: NAME is in TARGET/<split>/
    NAME.quarantine             what came instead of the file, kept until a good one has come
"""

import json
import os
import shutil
from typing import NamedTuple

from webvision.data.archives.tarstream import TarError
from webvision.errors import DataError
from webvision.files import write_json
from webvision.prep.arrange import placing
from webvision.prep.arrange.in_archives import split_of
from webvision.prep.download import follow, proof, unpack
from webvision.prep.download.fetch import fetch

ROUNDS = 3  # fetches of one file in one run before its server is said to have a bad copy


class Job(NamedTuple):
    """What acquiring needs beside the archive."""

    target: str
    state: str
    transfer: object  # fetch.Transfer
    manifest: proof.Manifest
    keep: bool = False
    skip_odd: bool = False
    unpacked: object = lambda count: None
    in_archives: bool = False  # pictures stay inside the archives, which go to their split's folder


def done_mark(archive, state):
    """The facts of an archive that is unpacked, or None."""
    try:
        with open(os.path.join(state, archive.name + ".done.json"), encoding="utf-8") as file:
            facts = json.load(file)
        return facts if isinstance(facts, dict) and "sha256" in facts else None
    except (FileNotFoundError, ValueError):
        return None


def acquire(archive, job):
    """Fetch, prove, unpack, mark and clear away; returns the facts for the report. Does only what is not done yet."""
    done, place = done_mark(archive, job.state), _place(archive, job)
    if done and (os.path.exists(place) if place else not done.get("in_archive")):
        job.manifest.check(archive.name, done)
        if archive.name not in job.manifest.entries:
            job.manifest.record(archive.name, done)
        _clear(archive, job)
        return {**done, "status": "was done"}
    path = os.path.join(job.state, archive.name)
    kept = _place(archive, job._replace(in_archives=True))
    given = next((one for one in (path, kept) if one and os.path.exists(one)), None)
    facts, fetched = _proven(archive, given, job) if given else _fetched(archive, path, job)
    odd = _put(archive, given or path, place, job)
    if place and archive.packed:
        facts["in_archive"] = True
    write_json(path + ".done.json", facts)
    if archive.name not in job.manifest.entries:
        job.manifest.record(archive.name, facts)
    _clear(archive, job)
    return {**facts, **fetched, "status": "done", **({"left_out": odd} if odd else {})}


def _proven(archive, path, job):
    """A whole file that an earlier run, or the user, put there."""
    try:
        facts = proof.prove(archive, path, skip_odd=job.skip_odd)
        job.manifest.check(archive.name, facts)
    except TarError as error:
        _save_good_members(archive, path, job)
        raise DataError(
            f"{error}. The members before the damage are unpacked, the archive stays; delete {path} to fetch it again"
        ) from None
    except proof.Mismatch as error:
        raise DataError(f"{error}. It stays; delete {path} to fetch it again") from None
    return facts, {}


def _fetched(archive, path, job):
    """Fetch until the proof holds; what fails it goes into quarantine, once, then is an error."""
    part = path + ".part"
    for last in [False] * (ROUNDS - 1) + [True]:
        fetched = fetch(
            archive.urls,
            part,
            job.transfer,
            looks_right=proof.first_bytes_check(archive),
            follower=lambda: follow.follower(archive),
        )
        whole = _stated_size(part) == os.path.getsize(part)
        try:
            facts = proof.prove(archive, part, skip_odd=job.skip_odd, size_stated=whole)
            job.manifest.check(archive.name, facts)
        except (TarError, proof.Mismatch) as error:
            if not whole and not last:
                continue  # the server never said how long it is: perhaps the rest comes
            again = os.path.exists(path + ".quarantine")
            os.replace(part, path + ".quarantine")
            if again or last:
                if isinstance(error, TarError):
                    _save_good_members(archive, path + ".quarantine", job)
                raise DataError(
                    f"{error}; fetched again with the same outcome, so the server's copy is not the file that it was. "
                    f"Kept as {path}.quarantine; another server (--mirror) may have a good one"
                ) from None
            job.transfer.remark(f"{error}; set aside as {archive.name}.quarantine and fetched once more")
        else:
            os.rename(part, path)
            return facts, {"attempts": fetched["attempts"], "restarts": fetched["restarts"], "url": fetched["url"]}
    raise AssertionError("the last round returns or raises")


def _stated_size(part):
    try:
        with open(part + ".state.json", encoding="utf-8") as file:
            return json.load(file).get("size")
    except (FileNotFoundError, ValueError):
        return None


def _put(archive, path, place, job):
    """The archive's content at its place and on the disk; returns the names left out."""
    if not place:
        return unpack.unpack(
            archive, path, job.target, state=job.state, progress=job.unpacked, stop=job.transfer.patience.check
        )
    os.makedirs(os.path.dirname(place), exist_ok=True)
    if archive.packed:
        os.rename(path, place)  # also where it is there already
    else:
        temporary = os.path.join(job.state, archive.name + ".member")
        shutil.copyfile(path, temporary)
        os.replace(temporary, place)
    placing.sync_file_system(job.target)
    return []


def _place(archive, job):
    """Where the file itself stays: a list, and in archives those of pictures; None: it is unpacked."""
    if not archive.packed:
        return os.path.join(job.target, archive.into, archive.name)
    stays = job.in_archives and archive.packed == "tar" and not archive.nested and split_of(archive.name)
    return os.path.join(job.target, stays, archive.name) if stays else None


def _save_good_members(archive, path, job):
    try:
        unpack.unpack(
            archive, path, job.target, state=job.state, progress=job.unpacked, stop=job.transfer.patience.check
        )
    except DataError:
        unpack.finish(archive, job.state)  # expected: the damage. The done-mark is not written


def _clear(archive, job):
    """After the done-mark: everything that was only the way there."""
    path = os.path.join(job.state, archive.name)
    for name in (
        path + ".part",
        path + ".part.state.json",
        path + ".quarantine",
        path + ".unpacking.json",
        path + ".member",
        *(() if job.keep else (path,)),
    ):
        if os.path.exists(name):
            os.unlink(name)
