"""Seeded kill -9 soaks of the preparation: `python tests/soak/prep_soak.py download|preprocess --kills 300 --seed 1`.

A trial kills the program one to four times, each before a random line of its code (which finds the instants between two
system calls that a random moment hardly ever hits) or, every tenth time, the real command at a random moment; then
runs it to its end. The folder must equal that of an undisturbed run, byte for byte, with nothing left over; and at
no time may a picture be torn under its own name. Prints the number of kills and every violation by class.
"""

import argparse
import collections
import contextlib
import io
import json
import multiprocessing
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)
from tests.support.prep_fixtures import ROWS, count_lines, make_raw, picture_of, run_and_die  # noqa: E402
from tests.support.prep_server import Site, make_tar  # noqa: E402
from webvision.commands import download  # noqa: E402
from webvision.prep.arrange import arrange as arranging  # noqa: E402
from webvision.prep.arrange.arrange import arrange  # noqa: E402
from webvision.prep.download import fetch  # noqa: E402

FAULTS = [
    {},
    {},
    {},
    {"status": 503},
    {"cut": 90_000},
    {"cut": 30_000, "ranges": False},
    {"ranges": False},
    {"length": False},
    {"chunked": True, "cut": 120_000},
    {"shift": 3},
    {"status": 302, "location": "http://[::1/x"},
    {"chunked": True, "drip": (20_000, 0.001)},
]


class Preprocess:
    """Arranging a set with equal base names, a missing file and an extra one; a variant is a method."""

    variants = "move", "link", "copy"

    def __init__(self, folder, generator):
        self.folder = folder
        self.generator, self.variant = generator, None
        arranging.CHUNK = 4

    def fresh(self, name):
        arranging.SLOW_SECONDS = self.generator.choice([0, 1])  # by threads, or by one
        raw = make_raw(self.folder / name, rows=[*ROWS, ("flickr/q00001/g1000.jpg", 3), ("google/q00009/gone.jpg", 0)])
        (raw / "google/q00009/gone.jpg").unlink()
        (raw / "google/q00001/unlisted.jpg").write_bytes(b"unlisted")
        return raw

    def work(self, target):
        arrange(str(target), str(target / "data"), method=self.variant, max_missing=0.5, remark=lambda text: None)

    def command(self, target):
        return [
            sys.executable,
            os.path.join(ROOT, "utils/preprocess.py"),
            "--raw",
            str(target),
            "--data",
            str(target / "data"),
            f"--{self.variant}",
            "--max-missing",
            "0.5",
        ]

    @staticmethod
    def damage(target, generator):
        """Kills lose nothing that was written; there is nothing to add."""

    @staticmethod
    def torn(target, name, data):
        """Pictures hold their own source name: whatever has other content is torn."""
        return name.endswith(".jpg") and ".arranging" not in name and not data.endswith(b".jpg") and data != b"unlisted"


class Download:
    """Download, unpack and arrange from a server with faults; after some kills the part files lose their last bytes."""

    variants = ("all",)

    def __init__(self, folder, generator):
        self.folder = folder
        raw = make_raw(folder / "served", test=0, rows=ROWS)
        data = {
            str(path.relative_to(raw)): path.read_bytes() + b"+" * 12_000 * path.name.endswith(".jpg")
            for path in sorted(raw.rglob("*"))
            if path.is_file()
        }
        files = {
            "info.tar": {n: d for n, d in data.items() if n.startswith("info/")},
            "val_images_resized.tar": {n: d for n, d in data.items() if n.startswith("val_")},
            "train_00.tar": {n: d for n, d in data.items() if n.startswith("google/")},
            "train_01.tar": {n: d for n, d in data.items() if n.startswith("flickr/")},
        }
        files = {name: make_tar(members) for name, members in files.items()}
        files["val_filelist.txt"] = data["info/val_filelist.txt"]
        self.port = multiprocessing.Value("i", 0)
        self.server = multiprocessing.get_context("fork").Process(
            target=self._serve, args=(files, generator.random()), daemon=True
        )
        self.server.start()
        while not self.port.value:
            time.sleep(0.01)
        self.sets = folder / "sets.json"
        self.sets.write_text(
            json.dumps(
                {
                    "mini": {
                        "mirrors": [f"http://127.0.0.1:{self.port.value}"],
                        "arrange": True,
                        "parts": {
                            "all": [
                                "info.tar",
                                "val_filelist.txt",
                                "val_images_resized.tar",
                                "train_00.tar",
                                "train_01.tar",
                            ]
                        },
                    }
                }
            )
        )
        fetch.Transfer.__new__.__defaults__ = (
            *fetch.Transfer.__new__.__defaults__[:-1],
            0.005,
        )  # wait milliseconds, not seconds
        fetch.MAX_RESTARTS = 100

    def _serve(self, files, seed):
        generator = random.Random(seed)

        class Faults(dict):
            def get(self, name, default=None):
                return [dict(generator.choice(FAULTS))]

        with Site(files) as site:
            site.script = Faults()
            self.port.value = site.port
            while True:
                time.sleep(60)
                site.log.clear()

    def fresh(self, name):
        (self.folder / name).mkdir()
        return self.folder / name

    def arguments(self, target):
        return [str(target), "--archives", str(self.sets), "--set", "mini", "--stall", "10"]

    def work(self, target):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as errors:
            code = download.main(self.arguments(target))
        if code:
            raise RuntimeError(f"exit {code}: {errors.getvalue()[-600:]}")

    def command(self, target):
        return ["bash", os.path.join(ROOT, "utils/download.sh"), *self.arguments(target)]

    @staticmethod
    def damage(target, generator):
        """A power cut loses the last writes of a file that was growing."""
        for part in target.glob("archives/*.part"):
            if generator.random() < 0.3:
                os.truncate(part, max(0, part.stat().st_size - generator.randint(1, 65_536)))

    @staticmethod
    def torn(target, name, data):
        return name.endswith(".jpg") and not name.startswith("archives") and not data.endswith(b".jpg" + b"+" * 12_000)


def picture(target):
    """The folder without what may differ between two good runs: times in the report."""
    return {name: value for name, value in picture_of(target).items() if name != "archives/report.json"}


def kill_at_a_moment(command, generator, slowest):
    """Start the real command and kill it after a random time; True if it was still running."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "no_proxy": "*"}
    )
    try:
        process.wait(generator.uniform(0.05, slowest))
        return False
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True


def soak(case, generator, kills):
    undisturbed = {}
    for case.variant in case.variants:
        target = case.fresh(f"undisturbed-{case.variant}")
        lines = count_lines(lambda: case.work(target))
        undisturbed[case.variant] = picture(target)
    violations, killed, trial = collections.Counter(), 0, 0
    while killed < kills:
        trial += 1
        case.variant = generator.choice(case.variants)
        expected = undisturbed[case.variant]
        target = case.fresh(f"trial{trial}")
        for _ in range(generator.randint(1, 4)):
            try:
                killed += (
                    kill_at_a_moment(case.command(target), generator, 1.0)
                    if generator.random() < 0.1
                    else run_and_die(lambda target=target: case.work(target), generator.randint(1, lines))
                )
            except AssertionError as error:
                violations[f"a run between kills failed: {error}"] += 1
            for path in target.rglob("*.jpg"):
                if case.torn(target, str(path.relative_to(target)), path.read_bytes()):
                    violations["a torn picture under its own name"] += 1
            case.damage(target, generator)
        try:
            case.work(target)
        except Exception as error:
            violations[f"the run after the kills failed: {str(error)[:300]}"] += 1
        found = picture(target)
        for name in sorted(expected.keys() | found.keys()):
            if expected.get(name) != found.get(name):
                kind = "left over" if name not in expected else "lost" if name not in found else "differs"
                violations[f"{kind}: {name}"] += 1
        shutil.rmtree(target)
        if trial % 20 == 0:
            print(f"{killed} kills, {trial} trials, {sum(violations.values())} violations", file=sys.stderr, flush=True)
    return killed, trial, violations, lines


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", choices=["download", "preprocess"])
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    generator = random.Random(args.seed)
    with tempfile.TemporaryDirectory(prefix="prep-soak-") as folder:
        case = {"download": Download, "preprocess": Preprocess}[args.case](pathlib.Path(folder), generator)
        killed, trials, violations, lines = soak(case, generator, args.kills)
    print(
        f"{args.case}: {killed} kills in {trials} trials over {lines} lines of a run, seed {args.seed}: "
        f"{sum(violations.values())} violations"
    )
    for what, count in violations.most_common():
        print(f"  {count} x {what}")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
