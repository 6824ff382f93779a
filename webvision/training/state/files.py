"""The small JSON files of a run folder, as they must be: what anybody may have put there is checked before it is used.

Each `parse_` takes a decoded document and returns what is meant, or raises ValueError with what is wrong.
"""

import os
import re
import stat

from webvision.errors import CheckpointError, printable
from webvision.files import read_json

NAMES = re.compile(
    r"(run|stats|best|rollbacks)\.json|checkpoint|log\.log|timeline\.json"
    r"|model-\d+\.(json|unfinished|index|data-\d+-of-\d+|[a-z]+\.npz)"
)


def refuse_what_is_no_file(folder):
    """CheckpointError if a folder, a pipe or the like lies where a file of the run belongs.

    A pipe would be waited for without end; onto a folder no checkpoint could be renamed, for as long as one is tried.
    """
    for name in sorted(filter(NAMES.fullmatch, os.listdir(folder))):
        path = os.path.join(folder, name)
        if os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode):
            raise CheckpointError(
                f"{printable(path)}: a folder, pipe or device, where the run keeps a file; move it away"
            )


def read_state(path, parse, what):
    """`parse` of the JSON file at `path`, or None where there is none; CheckpointError if it is damaged.

    `what` says what the file holds and what to do without it.
    """
    try:
        return parse(read_json(path))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise CheckpointError(f"{printable(path)}: damaged ({printable(error)}); {what}") from None


def parse_manifest(value, step):
    """(state, files) of the manifest of `step`: the fields of a State, and {name: (bytes, sha256)}."""
    if type(value) is not dict or type(value.get("state")) is not dict or type(value.get("files")) is not dict:
        raise ValueError("no manifest")
    state, files = value["state"], value["files"]
    for name in ("step", "seed", "epoch", "position"):
        if not _is_count(state.get(name)):
            raise ValueError(f"its {name} is no number of steps or pictures")
    if not _are_figures(state.get("figures", {})):
        raise ValueError("its figures are no numbers")
    if type(state.get("list_hash")) is not str or state["step"] != step or len(files) < 2:
        raise ValueError("of another checkpoint")
    for name, expected in files.items():
        if not re.fullmatch(rf"model-{step}\.[\w.-]+", name):
            raise ValueError("names a file that is none of this checkpoint's")
        if (
            type(expected) is not dict
            or not _is_count(expected.get("bytes"))
            or type(expected.get("sha256")) is not str
        ):
            raise ValueError(f"says nothing of {name}'s content")
    return state, {name: (expected["bytes"], expected["sha256"]) for name, expected in files.items()}


def parse_best(value):
    """{'step', 'error'} of the best checkpoint."""
    if type(value) is not dict or not _is_count(value.get("step")) or not _is_number(value.get("error")):
        raise ValueError("no step and error in it")
    return {"step": value["step"], "error": value["error"]}


def parse_epochs(value):
    """The figures of each epoch: objects of numbers, with epoch_num and global_step."""
    if type(value) is not list or not all(type(entry) is dict for entry in value):
        raise ValueError("not a list of objects")
    for entry in value:
        if not all(_is_count(entry.get(name)) for name in ("epoch_num", "global_step")):
            raise ValueError("an epoch without epoch_num and global_step")
        if wrong := [name for name, figure in entry.items() if not _is_number(figure) and figure == figure]:
            raise ValueError(f"the figure {printable(wrong[0])[:80]} is no number")
    return value


def parse_rollbacks(value):
    """[[step of divergence, step gone back to], ...]"""
    if type(value) is not list or not all(
        type(pair) is list and len(pair) == 2 and all(map(_is_count, pair)) for pair in value
    ):
        raise ValueError("not pairs of steps")
    return value


def _are_figures(value):
    """Whether `value` is what RunningMeans.state() gives, or {}."""
    if type(value) is not dict or not value.keys() <= {"means", "speed"}:
        return False
    means, speed = value.get("means", {}), value.get("speed", {})
    return (
        type(means) is dict
        and all(
            type(mean) is list and len(mean) == 2 and all(map(_is_number, mean)) and mean[1] > 0
            for mean in means.values()
        )
        and type(speed) is dict
        and all(map(_is_number, speed.values()))
    )


def _is_count(value):
    return type(value) is int and 0 <= value < 1 << 63


def _is_number(value):
    return type(value) in (int, float) and abs(value) < 1e300  # not isfinite: an int may be too large for a float
