"""Each check in a process of its own, within its time, and what came of it as a Result."""

import importlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

from benchmarks.gpu.journal import FAILED, HELD, MEASURED, NOT_RUN, Result

MARK = "gpu-check result: "


@dataclass(frozen=True)
class Place:
    """What a check may use: the GPUs that are visible, the first one's name, a folder to work in."""

    gpus: int
    card: str
    folder: str

    @property
    def ran_on(self):
        return "GPU" if self.gpus else "CPU devices"


def why_not(check, place, python_has=lambda module: importlib.util.find_spec(module) is not None):
    """Why `check` cannot be run here, or ''."""
    if place.gpus < check.needs_gpus:
        return "needs a GPU" if check.needs_gpus == 1 else f"needs {check.needs_gpus} GPUs"
    absent = [module for module in check.needs if not python_has(module)]
    return f"needs {', '.join(absent)}, not installed here" if absent else ""


def run_check(command, check, place, *, limit):
    """The Result of `command`, a process that ends with a line of MARK and JSON, or is ended after `limit` seconds."""
    began = time.monotonic()
    process = subprocess.Popen(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        out, err = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # and whatever it started
        process.communicate()
        return Result(check.name, FAILED, place.ran_on, f"no end within {limit:.0f} s", seconds=limit)
    seconds = round(time.monotonic() - began, 1)
    told = next((line for line in reversed(out.splitlines()) if line.startswith(MARK)), None)
    if told is None:
        words = (err.strip().splitlines() or [f"exit code {process.returncode}"])[-1][:300]
        return Result(check.name, FAILED, place.ran_on, words, seconds=seconds)
    answer = json.loads(told[len(MARK) :])
    state = {True: HELD, False: FAILED, None: MEASURED}[answer.pop("held")]
    if answer.get("not_run"):
        return Result(check.name, NOT_RUN, "", answer["not_run"], seconds=seconds)
    ran_on = answer.pop("ran_on", place.ran_on)
    return Result(check.name, state, ran_on, answer.pop("words"), answer, seconds)


def answer_one(check, place):
    """In the process of one check: run it, and print what it tells."""
    module, function = check.function.split(":")
    told = getattr(importlib.import_module(f"benchmarks.gpu.{module}"), function)(place, *check.arguments)
    print(f"{MARK}{json.dumps(told)}", flush=True)
    sys.stdout.flush()


def run_all(checks, place, journal, *, seconds, command_of, say, clock=time.monotonic):
    """Run what is not done yet, as far as `seconds` reach; every check has a Result in `journal` then."""
    began = clock()
    for check in checks:
        if journal.done(check.name):
            continue
        left = seconds - (clock() - began)
        reason = why_not(check, place) or ("" if left > 0 else "the time is up; the same command goes on")
        if reason:
            journal.add(Result(check.name, NOT_RUN, "", reason))
            continue
        result = run_check(command_of(check), check, place, limit=min(check.limit, max(left, 1)))
        if result.state == FAILED and left < check.limit and "no end within" in result.words:
            result = Result(check.name, NOT_RUN, "", "the time is up; the same command goes on", seconds=result.seconds)
        journal.add(result)
        say(f"{result.state:8} {check.name}: {result.words}")
