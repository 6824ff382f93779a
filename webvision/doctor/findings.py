"""One line of the doctor's, and all of them as a table or as JSON."""

import json
import os
from dataclasses import asdict, dataclass

from webvision.errors import printable

GOOD, BAD, NOTE = "good", "bad", "note"
_MARKS = {GOOD: "ok   ", BAD: "WRONG", NOTE: "-    "}


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it is, what was found, and what to do where that is wrong.

    `state`: GOOD, BAD, or NOTE where nothing is right or wrong.
    """

    name: str
    state: str
    found: str
    advice: str = ""


def table(findings):
    """A line for each finding, advice on a line of its own below; the last says how many are wrong."""
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{_MARKS[finding.state]} {finding.name:{width}}  {printable(finding.found)}")
        if finding.advice:
            lines.append(f"{'':6}{'':{width}}  -> {printable(finding.advice)}")
    wrong = sum(finding.state == BAD for finding in findings)
    return "\n".join([*lines, f"{wrong} of {len(findings)} are wrong" if wrong else "Nothing is wrong"])


def as_json(findings):
    """For bug reports: one JSON object on one line, the user's home folder taken out of paths."""
    home = os.path.expanduser("~")
    text = json.dumps({"findings": [asdict(finding) for finding in findings]}, ensure_ascii=False)
    return text.replace(home, "~") if home not in ("/", "~", "") else text
