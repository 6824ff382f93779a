"""What has been checked on this machine, kept after each check so that a second call goes on; and how it is told."""

import json
import os
from dataclasses import asdict, dataclass, field

HELD, FAILED, MEASURED, NOT_RUN = "held", "FAILED", "measured", "not run"


@dataclass(frozen=True)
class Result:
    """One check: `state`, on what it ran ('GPU', 'CPU devices' or ''), words for people, figures for machines."""

    name: str
    state: str
    ran_on: str
    words: str
    figures: dict = field(default_factory=dict)
    seconds: float = 0.0


class Journal:
    """Results in `path`, of one `subject` (machine and revision); those of another are forgotten."""

    def __init__(self, path, subject):
        self._path, self._subject, self._results = path, subject, {}
        try:
            with open(path, encoding="utf-8") as file:
                told = json.load(file)
        except (OSError, ValueError):
            return
        if told.get("subject") == subject:
            self._results = {result["name"]: Result(**result) for result in told["results"]}

    def done(self, name):
        """Whether the check ran to its end; one that failed, or was not run, is tried again."""
        return name in self._results and self._results[name].state in (HELD, MEASURED)

    def add(self, result):
        self._results[result.name] = result
        os.makedirs(os.path.dirname(self._path) or ".", exist_ok=True)
        with open(f"{self._path}.tmp", "w", encoding="utf-8") as file:
            json.dump(
                {"subject": self._subject, "results": [asdict(r) for r in self._results.values()]}, file, indent=1
            )
        os.replace(f"{self._path}.tmp", self._path)

    def results(self, names):
        """The Result of each of `names` that has one, in their order."""
        return [self._results[name] for name in names if name in self._results]


def table(results):
    """What ran, a line each with the device it ran on; then what did not, and why. No line of the first says more than
    what was seen."""
    lines = []
    for where, title in (("GPU", "Ran on GPUs"), ("CPU devices", "Ran on CPU devices, through the code that GPUs get")):
        if chosen := [result for result in results if result.ran_on == where and result.state != NOT_RUN]:
            width = max(len(result.name) for result in chosen)
            lines += [title, *(f"  {r.state:8}  {r.name:{width}}  {r.words} ({r.seconds:.0f} s)" for r in chosen), ""]
    if unrun := [result for result in results if result.state == NOT_RUN]:
        width = max(len(result.name) for result in unrun)
        lines += ["Not run", *(f"  {r.name:{width}}  {r.words}" for r in unrun), ""]
    return "\n".join([*lines, summary(results)])


def summary(results):
    """The last line."""
    states = [result.state for result in results]
    on_gpu = sum(result.ran_on == "GPU" and result.state != NOT_RUN for result in results)
    words = f"{on_gpu} checks ran on a GPU" if on_gpu else "Nothing here ran on a GPU: what needs one is not proven"
    return f"{words}; {states.count(FAILED)} failed, {states.count(NOT_RUN)} were not run"
