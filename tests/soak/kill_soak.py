"""kill -9 at random over whole trainings and evaluations: every restart continues, and the end is what it would have
been.

    make soak-kill KILLS=300 SEED=1

One process imports TensorFlow and forks a child for each attempt, before any session exists; every 15th attempt is a
process of its own, so that start-up is hit as well. Half of the kills come at a random moment, half at a random named
point (WEBVISION_FAULT). Exit status 1 if anything was not as it must be.
"""

import argparse
import collections
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.support import tiny_run
from tests.support.data_set import write_data_set

EPOCHS, STEPS_AN_EPOCH = 3, 4
LAST = EPOCHS * STEPS_AN_EPOCH
TRAIN_POINTS = {
    "start": 1,
    "step": LAST,
    "save": 4,
    "save-data": 4,
    "save-manifest": 4,
    "save-pointer": 4,
    "prune": 3,
    "validate": 4,
    "epoch-end": 2,
}  # point: the latest passing that is hit
EVAL_POINTS = {"predict": 3, "predictions": 1}
OWN_PROCESS_EVERY = 15
EVAL_KILLS = 5  # of one evaluation, which starts anew each time; a training's kills end when it has made its way
ORPHAN_SECONDS = 5


class Soak:
    def __init__(self, folder, seed):
        self.folder = folder
        self.random = random.Random(seed)
        self.command = tiny_run
        self.data = write_data_set(folder / "data")
        self.kills, self.attempts, self.violations = collections.Counter(), 0, collections.Counter()
        self.seconds = {}
        import webvision.inference.evaluate
        import webvision.inference.predictor
        import webvision.inference.summary
        import webvision.training.fit  # noqa: F401

    def violation(self, kind, detail):
        self.violations[kind] += 1
        print(f"VIOLATION {kind}: {detail}", flush=True)

    def train_args(self, out, **changed):
        flags = {"workers": 0, "save-every": 10, "keep": 2, **changed}
        return [
            *tiny_run.ARGS,
            "--epochs",
            EPOCHS,
            "--data",
            self.data,
            "--out",
            out,
            *(part for name, value in flags.items() for part in (f"--{name}", value)),
        ]

    def eval_args(self, out, **changed):
        flags = {"workers": 0, "batch": 3, **changed}
        return [
            "--eval",
            "--data",
            self.data,
            "--load",
            self.reference / "run" / f"model-{LAST}",
            "--image-size",
            32,
            "--out",
            out / "predictions.json",
            *(part for name, value in flags.items() for part in (f"--{name}", value)),
        ]

    def attempt(self, args, *, fault="", after=None, own_process=False, expected=(0,)):
        """Run the command, killed at `fault` or `after` seconds; returns its exit status as subprocess gives it."""
        self.attempts += 1
        log = self.folder / "attempt.log"
        environment = {**os.environ, "WEBVISION_FAULT": fault, "WEBVISION_SOAK": f"{os.getpid()}-{self.attempts}"}
        args = [str(arg) for arg in args]
        with open(log, "wb") as output:
            if own_process:
                pid = subprocess.Popen(
                    [sys.executable, os.path.join("tests", "support", "tiny_run.py"), *args],
                    cwd=tiny_run.ROOT,
                    stdout=output,
                    stderr=output,
                    env=environment,
                ).pid
            else:
                pid = os.fork() or self.child(args, output.fileno(), environment)
        status = wait(pid, after)
        self.check_orphans(environment["WEBVISION_SOAK"])
        if status not in (*expected, -signal.SIGKILL):
            self.violation(
                f"exit status {status}", f"{fault or after} {' '.join(args)}\n{log.read_text(errors='replace')[-3000:]}"
            )
        return status

    def child(self, args, output, environment):
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ.update(environment)
        sys.argv = ["imagenet-resnet.py", *args]
        try:
            tiny_run.run_command(self.command.main)
        except SystemExit as end:
            os._exit(end.code or 0)
        except BaseException:
            import traceback

            traceback.print_exc()
        os._exit(1)

    def check_orphans(self, mark):
        deadline = time.monotonic() + ORPHAN_SECONDS
        while found := processes_marked(mark):
            if time.monotonic() > deadline:
                self.violation("orphan", found)
                for pid in found:
                    os.kill(int(pid), signal.SIGKILL)
                return
            time.sleep(0.05)

    def measure(self):
        """The undisturbed training and evaluation that all others must equal, and how long an attempt takes."""
        self.reference = self.folder / "reference"
        for own_process in (True, False):
            for kind, args in (("train", self.train_args(self.reference)), ("eval", self.eval_args(self.reference))):
                shutil.rmtree(self.reference / "run", ignore_errors=True) if kind == "train" else None
                began = time.monotonic()
                if self.attempt(args, own_process=own_process) != 0:
                    sys.exit("the undisturbed run failed")
                self.seconds[kind, own_process] = time.monotonic() - began
        print(
            f"undisturbed: {', '.join(f'{kind} {s:.1f} s' for (kind, own), s in self.seconds.items() if not own)}",
            flush=True,
        )

    def disturbed(self, kind, points, args):
        """One attempt that is killed, or ends before that; whether it ended."""
        own_process = self.attempts % OWN_PROCESS_EVERY == 0
        if self.random.random() < 0.5:
            point = self.random.choice(list(points))
            how, fault, after = point, f"{point}:{self.random.randint(1, points[point])}", None
        else:
            how, fault, after = "a random moment", "", self.random.uniform(0, 1.1 * self.seconds[kind, own_process])
        status = self.attempt(args, fault=fault, after=after, own_process=own_process)
        if status == -signal.SIGKILL:
            self.kills[f"{kind}, {how}"] += 1
            self.kills["own process"] += own_process
        return status == 0

    def train_until_done(self, out, kills):
        newest, run = 0, out / "run"
        while True:
            args = self.train_args(
                out,
                workers=self.random.choice((0, 0, 1, 2)),
                **{"save-every": self.random.choice((10, 0.0001, 0.0001))},
            )
            ended = self.disturbed("train", TRAIN_POINTS, args) if self.total() < kills else self.attempt(args) == 0
            steps = finished_steps(run)
            if steps and steps[-1] < newest or newest and not steps:
                self.violation("went back", f"newest checkpoint {steps} after {newest}")
            newest = steps[-1] if steps else 0
            if ended:
                self.check_training(run)
                return

    def check_training(self, run):
        reference = self.reference / "run"
        for name in (f"model-{LAST}.data-00000-of-00001", f"model-{LAST}.index", "best.json"):
            if not (run / name).exists():
                self.violation("exit 0 without the result", name)
            elif (run / name).read_bytes() != (reference / name).read_bytes():
                self.violation("other result", name)
        epochs = [(epoch["epoch_num"], epoch["global_step"]) for epoch in json.loads((run / "stats.json").read_text())]
        if epochs != [(epoch, epoch * STEPS_AN_EPOCH) for epoch in range(1, EPOCHS + 1)]:
            self.violation("history", epochs)
        kept = {f"model-{step}" for step in finished_steps(run)}
        left = [
            name
            for name in os.listdir(run)
            if name.endswith(".tmp")
            or "tempstate" in name
            or name.endswith(".unfinished")
            or name.startswith("model-")
            and name.split(".")[0] not in kept
        ]
        if left:
            self.violation("leftover", left)
        self.check_lost_manifests(run)

    def check_lost_manifests(self, run):
        """Weights whose manifests somebody lost are an error (5) and all there afterwards."""
        for path in run.glob("model-*.json"):
            path.rename(path.with_suffix(".kept"))
        before = sorted(os.listdir(run))
        status = self.attempt(self.train_args(run.parent), expected=(5,))
        if status != 5 or set(before) - set(os.listdir(run)):
            self.violation("lost manifests", f"exit status {status}, {set(before) - set(os.listdir(run))} deleted")
        for path in run.glob("model-*.kept"):
            path.rename(path.with_suffix(".json"))

    def evaluate_until_done(self, out, kills):
        expected = (self.reference / "predictions.json").read_bytes()
        kills = min(kills, self.total() + EVAL_KILLS)
        while True:
            args = self.eval_args(out, workers=self.random.choice((0, 0, 1, 2)))
            ended = self.disturbed("eval", EVAL_POINTS, args) if self.total() < kills else self.attempt(args) == 0
            path = out / "predictions.json"
            if path.exists() and path.read_bytes() != expected:
                self.violation("half a prediction file", path)
            if ended:
                if not path.exists():
                    self.violation("exit 0 without the result", path)
                if left := [name for name in os.listdir(out) if name.endswith(".tmp")]:
                    self.violation("leftover", left)
                return
            path.unlink(missing_ok=True)  # killed while it printed its figures: the file was whole

    def total(self):
        return sum(count for how, count in self.kills.items() if how != "own process")

    def run(self, kills):
        self.measure()
        shared_memory = set(os.listdir("/dev/shm"))
        runs = 0
        while self.total() < kills:
            out = self.folder / f"run{runs}"
            self.train_until_done(out, kills)
            self.evaluate_until_done(out, kills)
            shutil.rmtree(out)
            runs += 1
            print(f"{runs} runs done, {self.total()} kills, {sum(self.violations.values())} violations", flush=True)
        if left := [name for name in set(os.listdir("/dev/shm")) - shared_memory if "webvision" in name]:
            self.violation("leftover in shared memory", left)
        return runs


def wait(pid, after):
    """The exit status of `pid`, which gets SIGKILL `after` seconds."""
    deadline = time.monotonic() + (after if after is not None else 300)
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= deadline:
            os.kill(pid, signal.SIGKILL)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            return status if after is not None else "hang"
        time.sleep(0.005)


def processes_marked(mark):
    """Numbers of living processes with WEBVISION_SOAK=mark in their environment, except this one."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as environment, open(f"/proc/{pid}/stat", "rb") as stat:
                dead = stat.read().rpartition(b")")[2].split()[0] in (b"Z", b"X")
                if not dead and f"WEBVISION_SOAK={mark}".encode() in environment.read().split(b"\0"):
                    found.append(pid)
        except OSError:
            continue
    return found


def finished_steps(run):
    if not run.exists():
        return []
    return sorted(int(match[1]) for name in os.listdir(run) if (match := re.fullmatch(r"model-(\d+)\.json", name)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(Path(folder), args.seed)
        runs = soak.run(args.kills)
    for how, count in sorted(soak.kills.items()):
        print(f"{count:5d} {how}")
    print(
        f"{soak.total()} kills (seed {args.seed}) over {runs} trainings and evaluations in "
        f"{time.monotonic() - began:.0f} s: "
        f"{dict(soak.violations) or 'no violation'}"
    )
    sys.exit(1 if soak.violations else 0)


if __name__ == "__main__":
    main()
