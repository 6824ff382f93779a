#!/usr/bin/env python3
"""Mutate pictures, archives, lists and their indexes for a while each: no crash, no hang, nothing outside the
target, memory bounded.

make fuzz                      # a minute each; SECONDS=600 SEED=7 for more
"""

import argparse
import collections
import gzip
import io
import json
import multiprocessing
import os
import random
import resource
import signal
import sys
import tarfile
import tempfile
import time
import traceback
from pathlib import Path

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)

CASE_SECONDS = 10  # more for one input is a hang
PICTURE_BYTES = 100_000_000  # what decoding one may take
GROWTH_KB = 200_000
NUMBERS = (0, 1, 0x20, 0x2E, 0x2F, 0x30, 0x35, 0x37, 0x4C, 0x78, 0x7F, 0x80, 0xD8, 0xD9, 0xFF)


def mutated(data, rng):
    """`data` (bytes) with one to eight bytes or runs of bytes changed, removed, repeated or swapped."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(data) or 1)
        how = rng.randrange(6)
        if how == 0:
            data[at : at + 1] = bytes([rng.choice(NUMBERS)])
        elif how == 1 and data:
            data[at] ^= 1 << rng.randrange(8)
        elif how == 2:
            del data[at : at + rng.randint(1, 40)]
        elif how == 3:
            data[at:at] = data[max(0, at - rng.randint(1, 200)) : at]
        elif how == 4:
            data[at : at + 4] = rng.randbytes(4)
        else:
            other = rng.randrange(len(data) or 1)
            data[at : at + 8], data[other : other + 8] = data[other : other + 8], data[at : at + 8]
    return bytes(data[: rng.randint(0, len(data))] if rng.random() < 0.05 else data)


class Pictures:
    """read_image, a window of it, and both policies."""

    def __init__(self, folder):
        from tests.pictures import test_images, test_limits
        from webvision.data.pictures import images

        self.images, self.corpus = images, [*test_images.CORPUS, *test_limits.kinds(64).values()]
        self.policies = [
            images.ImagePolicy(max_memory=PICTURE_BYTES, accept_truncated=tolerant) for tolerant in (False, True)
        ]

    def one(self, rng):
        data = mutated(rng.choice(self.corpus), rng)
        return data, lambda: self.run(data, rng)

    def run(self, data, rng):
        images, policy = self.images, rng.choice(self.policies)
        try:
            header = images.inspect(data, policy)
            try:
                image = images.read_image(data, policy)
            except images.ImageError as error:
                self.expect(error, data, header, policy)
                raise
            assert image.shape[1::-1] == header.shown_size and image.shape[2] == 3 and image.dtype == "uint8"
            width, height = rng.randint(1, image.shape[1]), rng.randint(1, image.shape[0])
            window = (rng.randint(0, image.shape[1] - width), rng.randint(0, image.shape[0] - height), width, height)
            assert images.read_window(data, header, window, policy=policy).shape == (height, width, 3)
            return "a picture"
        except images.ImageError as error:
            assert error.reason in images.REASONS
            return error.reason

    def expect(self, error, data, header, policy):
        """A part of the picture has the verdict of the whole: training decodes no more than it shows."""
        try:
            self.images.read_window(data, header, (0, 0, 1, 1), policy=policy)
        except self.images.ImageError as other:
            assert other.reason == error.reason, (other.reason, error.reason)
        else:
            assert policy.accept_truncated or not header.plain, f"a window of it is sound: {error}"


class Tars:
    """Inspection and unpacking: whatever the headers say, files come to lie below the target only."""

    def __init__(self, folder):
        from tests.prep import test_unpack
        from webvision.errors import WebvisionError

        self.tests, self.error, self.folder = test_unpack, WebvisionError, folder
        files = {"google/q1/a.jpg": b"x" * 700, "flickr/" + "long" * 30 + "/b.jpg": b"y", "n\u00e9.jpg": b""}
        odd = [
            test_unpack.special("link", tarfile.SYMTYPE, "/etc/passwd"),
            test_unpack.special("hard", tarfile.LNKTYPE, "../x"),
        ]
        planted = ["json.py", "numpy/__init__.py", "a/.git/config", "x.so", "Makefile", "archives/y.tar.done.json"]
        self.corpus = [
            test_unpack.make_tar([*files.items(), *extra], form=form)
            for extra in ((), odd, [(name, b"x") for name in planted[:-1]], [(planted[-1], b"{}")])
            for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
        ]
        self.count = 0

    def one(self, rng):
        tar = bytearray(rng.choice(self.corpus))
        block = rng.randrange(max(1, len(tar) // 512 - 2)) * 512
        tar[block : block + 512] = (mutated(tar[block : block + 512], rng) + bytes(512))[:512]
        if rng.random() < 0.7:  # a lie with a right checksum goes further
            tar[block + 148 : block + 156] = b" " * 8
            tar[block + 148 : block + 156] = b"%06o\0 " % sum(tar[block : block + 512])
        tar = bytes(tar[: rng.choice([len(tar), len(tar), 700, 1536])])
        return tar, lambda: self.run(tar, rng)

    def run(self, tar, rng):
        self.count += 1
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        try:
            self.tests.unpack_bytes(folder, tar, skip_odd=rng.random() < 0.5)
            verdict = "unpacked"
        except self.error:
            verdict = "refused"
        assert set(os.listdir(folder)) <= {"target", "state", "a.tar"} and len(os.listdir(self.folder)) == 1
        for parent, folders, files in os.walk(folder, topdown=False):
            for name in files + folders:
                path = os.path.join(parent, name)
                assert not os.path.islink(path), path
                if os.path.isfile(path) and path.startswith(f"{folder}/target/"):
                    assert not name.startswith(".") and not name.endswith((".py", ".so")) and name != "Makefile", path
                    assert "/archives/" not in path.lower() and "/.git/" not in path, path
                (os.rmdir if os.path.isdir(path) else os.unlink)(path)
        os.rmdir(folder)
        return verdict


class Lists:
    """Both readers agree in what they accept and in what they say, and accept nothing outside."""

    def __init__(self, folder):
        from tests.lists import test_lists
        from webvision.errors import DataError

        self.tests, self.error, self.folder = test_lists, DataError, folder
        self.corpus = [
            b"n0/a.jpg 1\nn1/my cat.jpg 2\nn0/b.jpg 0\n",
            b"test1.jpg\ntest 2.jpg\n",
            b"a 1\n" * 50 + b"n/../x 3\n",
            "caf\u00e9/\u4e2d.jpg 10\n".encode() * 3 + b"\xff\xfe.jpg 4",
            b"#c 1\r\nx\t2\n",
            b"/abs 1\n 2\n \n",
        ]

    def one(self, rng):
        data = mutated(rng.choice(self.corpus), rng)
        return data, lambda: self.run(data, rng)

    def run(self, data, rng):
        outside = rng.random() < 0.3
        try:
            path = self.tests.write(self.folder, data)
            entries = self.tests.both_readers(path, 11, allow_outside=outside)
        except self.error as error:
            assert str(error).startswith(path), error
            return "refused"
        assert outside or not any(e.name.startswith("/") or ".." in e.name.split("/") for e in entries)
        assert all(e.label is None or 0 <= e.label < 11 for e in entries)
        return "read"


class Indexes:
    """Side files that are whole and say anything: what comes out is a line of the list, with its own label."""

    def __init__(self, folder):
        from tests.lists import test_planted_index
        from tests.support import index_fixtures
        from webvision.errors import DataError

        self.tests, self.error = test_planted_index, DataError
        self.path = index_fixtures.a_list(folder, rows=200)
        opened = self.tests.open_index(self.path, 7)
        self.truth, self.tables = set(opened.entries()), self.tests.tables_of(opened)

    def one(self, rng):
        which = rng.choice(["offsets", "labels", "rows_by_class", "class_starts"])
        table = getattr(self.tables, which)
        changed = (mutated(table.tobytes(), rng) + bytes(table.nbytes))[: table.nbytes]
        if rng.random() < 0.3:
            changed = table.tobytes()[table.itemsize :] + table.tobytes()[: table.itemsize]
        forged = self.tables._replace(**{which: self.tests.np.frombuffer(changed, table.dtype)})
        return changed, lambda: self.run(forged, rng)

    def run(self, forged, rng):
        opened = self.tests.forge(self.path, lambda tables: forged)
        rows = [rng.randrange(200) for _ in range(8)]
        try:
            if rng.random() < 0.5:
                rows = [int(row) for row in opened.rows_by_class[rows]]
            assert {opened.entry(row) for row in rows} <= self.truth
            assert set(opened.entries()) <= self.truth
            assert opened.lines(rows).tobytes().count(b"\n") == 8
            return "read"
        except self.error:
            return "refused"


class Archives:
    """.npz files: an array of numbers or a reason, and no more memory than the file's own."""

    def __init__(self, folder):
        from tests.model import test_npz

        self.tests, self.path = test_npz, folder / "w.npz"
        members = {"a.npy": test_npz.npy([[1.5, 2], [3, 4]]), "b.npy": test_npz.npy(range(99))}
        self.corpus = [test_npz.archive_of(members, method=method) for method in (0, 8)]

    def one(self, rng):
        data = mutated(rng.choice(self.corpus), rng)
        return data, lambda: self.run(data)

    def run(self, data):
        self.path.write_bytes(data)
        try:
            weights = self.tests.open_weights(self.path)
            assert all(weights[name].shape == weights.shapes[name] for name in weights.shapes)
            return "read"
        except self.tests.CheckpointError:
            return "refused"


class Members:
    """Pictures read inside an archive: what unpacking would write, or its refusal, with and without compiled code; a
    forged index of members gives bytes as they are in the archive, or an error."""

    def __init__(self, folder):
        from tests.archives import test_members as tests
        from webvision.data.archives import building, store, tarstream, walk
        from webvision.data.native import library
        from webvision.errors import DataError

        self.store, self.tarstream, self.walk, self.library = store, tarstream, walk, library
        self.refusals, self.path = DataError, folder / "x.tar"
        self.corpus = [path.read_bytes() for path in map(Path, tests.odd_archive(folder / "odd"))]
        self.files = {f"{number}.jpg": bytes([number]) * (50 + number) for number in range(40)}
        tests.write_tar(folder / "set" / "0.tar", self.files)
        self.members = building.open_members(str(folder / "set"), beside=str(folder))
        self.index, self.set = open(self.members.path, "rb").read(), folder / "set"

    def one(self, rng):
        if rng.random() < 0.3:
            data = bytearray(self.index)
            for _ in range(rng.randint(1, 6)):  # behind the header: a torn one is made anew
                at = rng.randrange(128, len(data))
                data[at] = rng.randrange(256)
            return bytes(data), lambda: self.forged(bytes(data))
        data = mutated(rng.choice(self.corpus), rng)
        return data, lambda: self.walked(data)

    def forged(self, data):
        with open(self.members.path, "wb") as file:
            file.write(data)
        try:
            pictures = self.store.PictureArchives(str(self.set), self.store.Members(self.members.path))
        except self.store.StaleMembers:
            return "forged index made anew"
        whole = (self.set / "0.tar").read_bytes()
        for name in self.files:
            try:
                assert pictures.read(name.encode()) in whole
            except self.refusals:
                continue
        return "forged index read"

    def walked(self, data):
        self.path.write_bytes(data)
        found = [self.outcome()]
        self.library._library, kept = False, self.library.loaded()
        try:
            found.append(self.outcome())
        finally:
            self.library._library = kept
        assert found[0] == found[1]
        state, members = self.as_unpacked(data)
        assert found[0][0] == state or (found[0][0], state) == ("archive cut off", "archive refused"), (found[0], state)
        assert state != "archive read" or found[0][1] == members
        return state

    def outcome(self):
        try:
            records, damage = self.walk.walk(str(self.path), 0)
        except self.refusals:
            return "archive refused", None
        sizes = {record.tobytes()[:12]: int(record["size"]) for record in records}
        return ("archive cut off" if damage else "archive read"), sizes

    def as_unpacked(self, data):
        members = {}
        try:
            for member in self.tarstream.Reader(io.BytesIO(data)):
                name = self.tarstream.checked_name(member.name)
                if member.odd:
                    return "archive refused", None
                if not member.folder and not name.endswith(self.walk.SIDECARS):
                    members[self.walk.digest(name)] = member.size
        except self.tarstream.TarError:
            return "archive cut off", members
        except self.refusals:
            return "archive refused", None
        return "archive read", members


class Devkits:
    """MAT-files, and the archives that they come in: labels or a reason."""

    def __init__(self, folder):
        from tests.challenges import test_ilsvrc
        from tests.support.sotabench_fixtures import devkit, synsets

        self.tests, self.path = test_ilsvrc, folder / "d.tar.gz"
        self.plain = gzip.decompress(devkit(self.path, synsets(8), [1, 2, 3]).read_bytes())

    def one(self, rng):
        block = rng.randrange(len(self.plain) // 512) * 512
        tar = bytearray(self.plain)
        tar[block : block + 512] = (mutated(tar[block : block + 512], rng) + bytes(512))[:512]
        return bytes(tar), lambda: self.run(bytes(tar))

    def run(self, tar):
        self.path.write_bytes(gzip.compress(tar, 1))
        try:
            self.tests.ilsvrc.read_devkit(self.path)
            return "read"
        except self.tests.DataError:
            return "refused"


class Runs:
    """The JSON files of a run folder and the card of a checkpoint: read, or one error; values exchanged, bytes too."""

    VALUES = (None, True, -1, 1.5, 10**400, "x", "\udcff", [], {}, [[]], {"a": 1}, float("inf"))

    def __init__(self, folder):
        from tests.training import test_state_files
        from webvision.data.views.presets import PRESETS
        from webvision.inference import provenance
        from webvision.model import card
        from webvision.model.backbones import Network

        self.tests, self.provenance, self.folder, self.parse_card = (
            test_state_files,
            provenance,
            folder,
            card.parse_card,
        )
        whole = card.card_of(
            Network("resnet18", 3, 32), PRESETS["webvision"], classes=("a", "b", "c"), words=("", "x", "y")
        )
        state = {"step": 4, "seed": 0, "epoch": 0, "position": 4, "list_hash": "ab"}
        files = {name: {"bytes": 1, "sha256": "ab"} for name in ("model-4.index", "model-4.data-00000-of-00001")}
        network = {"mode": "resnet", "depth": 18, "num_classes": 2, "image_size": 32}
        self.whole = {
            "run.json": {"network": network, "classes": ["a", "b"], "class_counts": [3, 4], "seed": 0},
            "stats.json": [{"epoch_num": 1, "global_step": 4, "val-error-top1": 0.5}],
            "best.json": {"step": 4, "error": 0.25},
            "rollbacks.json": [[3, 1], [7, 4]],
            "model-4.json": {"state": state, "files": files},
            "card": json.loads(whole.to_bytes()),
        }

    def one(self, rng):
        name = rng.choice(list(self.whole))
        place = document = [json.loads(json.dumps(self.whole[name]))]
        key = 0
        while isinstance(place[key], (dict, list)) and place[key] and rng.random() < 0.8:
            place, key = (
                place[key],
                rng.choice(list(place[key] if isinstance(place[key], dict) else range(len(place[key])))),
            )
        place[key] = rng.choice(self.VALUES)
        data = json.dumps(document[0]).encode()
        data = mutated(data, rng) if rng.random() < 0.3 else data
        return data, lambda: self.run(name, data)

    def run(self, name, data):
        if name == "card":
            try:
                return "read" if self.parse_card(data) else "refused"
            except (ValueError, RecursionError):
                return "refused"
        try:
            (self.folder / name).write_bytes(data)
            self.tests.READERS[name](self.folder)
            if name == "run.json":
                self.provenance._from_run_folder(str(self.folder / "model-4"))
            return "read"
        except self.tests.WebvisionError:
            return "refused"


def fuzz(kind, seconds, seed, kept, results):
    """Runs in a process of its own. The input at work is always in the file `kept`."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the decoders complain there
    with tempfile.TemporaryDirectory() as folder:
        target, rng = kind(Path(folder)), random.Random(seed)
        verdicts, slowest, start = collections.Counter(), 0.0, None
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            data, run = target.one(rng)
            with open(kept, "wb") as file:
                file.write(data)
            signal.alarm(CASE_SECONDS)  # its default action ends the process: a decoder may not return to Python
            began = time.monotonic()
            try:
                verdicts[run()] += 1
            except Exception:
                print(traceback.format_exc(), flush=True)
                os._exit(1)
            slowest = max(slowest, time.monotonic() - began)
            signal.alarm(0)
            if start is None and verdicts.total() == 100:
                start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - (start or 0)
        results.put((verdicts, slowest, grown))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="for each [60]")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    failed = False
    for kind in (Pictures, Tars, Lists, Indexes, Archives, Members, Devkits, Runs):
        kept = os.path.join(tempfile.gettempdir(), f"fuzz-{kind.__name__.lower()}-{os.getpid()}")
        results = multiprocessing.SimpleQueue()
        child = multiprocessing.Process(target=fuzz, args=(kind, args.seconds, args.seed, kept, results))
        child.start()
        child.join()
        if child.exitcode:
            failed = True
            how = f"hung for {CASE_SECONDS} s" if child.exitcode == -signal.SIGALRM else f"ended with {child.exitcode}"
            print(f"{kind.__name__}: {how}; the input is in {kept}, seed {args.seed}")
            continue
        os.unlink(kept)
        verdicts, slowest, grown = results.get()
        failed |= grown > GROWTH_KB
        print(
            f"{kind.__name__}: {verdicts.total():,} inputs, slowest {slowest * 1000:.0f} ms, memory grew by "
            f"{grown / 1000:.0f} MB: " + ", ".join(f"{count:,} {verdict}" for verdict, count in verdicts.most_common()),
            flush=True,
        )
    return failed


if __name__ == "__main__":
    sys.exit(main())
