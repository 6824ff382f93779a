#!/usr/bin/env python3
"""Everything that only a GPU can tell, in at most 8 minutes; the same command goes on with what is left.

Needs the checkout and the environment. Where no GPU is, what can run on CPU devices through the same code runs there,
and the rest is listed as not run. Exit 0 unless a check fails.

On a machine that reaches no package registry: --wheels DIR, a folder with the wheels of both lock files for that
machine's Python; docs/howto/gpu-machine.md says how they get there.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from webvision.environment import ROOT, import_only_code

import_only_code()

import argparse  # noqa: E402
import json  # noqa: E402
import subprocess  # noqa: E402

from benchmarks.gpu import journal, run  # noqa: E402
from benchmarks.gpu.table import CHECKS  # noqa: E402
from webvision import devices  # noqa: E402
from webvision.errors import IncompleteError, UsageError, run_command  # noqa: E402
from webvision.machine import gpu_facts, nvml  # noqa: E402
from webvision.machine.versions import git_revision  # noqa: E402


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default=os.path.join(ROOT, "build", "gpu-check"), metavar="DIR", help="%(default)s")
    parser.add_argument("--minutes", type=float, default=8, help="to take at most (default: %(default)s)")
    parser.add_argument("--fresh", action="store_true", help="forget what was checked before")
    parser.add_argument(
        "--wheels", metavar="DIR", help="install from this folder alone, into an environment of its own"
    )
    parser.add_argument("--json", action="store_true", help="the results as JSON instead of the table")
    parser.add_argument("--only", metavar="WORD", default="", help="checks whose names hold this")
    parser.add_argument("--one", choices=[check.name for check in CHECKS], help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    if args.wheels:
        return _again_in(_environment(args.wheels, args.out), argv if argv is not None else sys.argv[1:])
    place, machine = find_place(args.out)
    if args.one:
        return run.answer_one(next(check for check in CHECKS if check.name == args.one), place)
    path = os.path.join(args.out, "results.json")
    if args.fresh and os.path.exists(path):
        os.remove(path)
    book = journal.Journal(path, {"machine": machine, "revision": git_revision(), "python": sys.version.split()[0]})
    checks = [check for check in CHECKS if args.only in check.name]

    def command_of(check):
        return [sys.executable, "-P", os.path.abspath(__file__), "--out", args.out, "--one", check.name]

    run.run_all(
        checks,
        place,
        book,
        seconds=60 * args.minutes,
        command_of=command_of,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    results = book.results([check.name for check in checks])
    with open(path, encoding="utf-8") as file:
        print(json.dumps(json.load(file)) if args.json else f"{machine}\n\n{journal.table(results)}\nAll of it: {path}")
    if failed := [result.name for result in results if result.state == journal.FAILED]:
        raise IncompleteError(f"failed: {', '.join(failed)}")


def find_place(folder):
    """The Place that checks run in, and the machine in words."""
    cores = f"{devices.cpu_cores()} cores"
    try:
        gpus = gpu_facts.visible_gpus(nvml.ask(), os.environ.get("CUDA_VISIBLE_DEVICES"))
    except nvml.NvmlError:
        gpus = []
    names = ", ".join(gpu.name for gpu in gpus)
    words = f"{len(gpus)} GPUs ({names}), {cores}" if gpus else f"no GPU, {cores}"
    return run.Place(len(gpus), gpus[0].name if gpus else "", os.path.join(folder, "work")), words


def _environment(wheels, out):
    """The Python of an environment with what both locks pin, from the folder `wheels` alone."""
    if not os.path.isdir(wheels):
        raise UsageError(f"--wheels {wheels}: no such folder")
    venv = os.path.join(out, "venv")
    python = os.path.join(venv, "bin", "python")
    if not os.path.exists(python):
        subprocess.run([sys.executable, "-I", "-m", "venv", venv], check=True)
    locks = [
        argument
        for name in ("requirements.lock", "requirements-gpu.lock")
        for argument in ("-r", os.path.join(ROOT, name))
    ]
    install = [
        "-I",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--find-links",
        wheels,
        "--require-hashes",
        *locks,
    ]
    if subprocess.run([python, *install]).returncode:
        raise UsageError(
            f"--wheels {wheels}: not everything that the locks pin is there; the lines above name what is not"
        )
    return python


def _again_in(python, argv):
    rest = list(argv)
    at = next(i for i, argument in enumerate(rest) if argument.split("=")[0] == "--wheels")
    del rest[at : at + (1 if "=" in rest[at] else 2)]
    subprocess.run(
        [python, "-P", "-m", "webvision.data.native.build"], cwd=ROOT, env={**os.environ, "PYTHONPATH": ROOT}
    )
    os.execv(python, [python, "-P", os.path.abspath(__file__), *rest])


if __name__ == "__main__":
    run_command(main)
