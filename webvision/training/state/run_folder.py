"""The folder of one run: chosen without a prompt, locked, described in run.json, never deleted.

The same command again finds its own run and goes on. What a run is of (network, classes, list, batch) may not change
under it; what only steers it (epochs, rate, workers) may, and is listed.
"""

import json
import os
import sys
import time
from dataclasses import asdict

from webvision.data.lists.text import classes_hash
from webvision.errors import CheckpointError, UsageError, printable
from webvision.files import read_json, write_json
from webvision.machine.versions import git_revision, installed_version
from webvision.model.backbones import described_network
from webvision.training.recipes import CARD
from webvision.training.state.files import refuse_what_is_no_file

FIXED = ("network", "classes_sha256", "list_sha256", "balance", "seed", "batch", "epoch_size", "weights_sha256")
# Of a recipe: what only steers a run, and what is described beside it.
STEERING = {
    f"recipe.{name}"
    for name in (
        *("epochs", "lr", "lr_per_256", "milestones", "warmup_epochs", "warmup_from"),
        *("plateau", "patience", "min_delta"),
    )
}
ELSEWHERE = {f"recipe.{name}" for name in ("name", "batch", "epoch_size", "balance", "view.image_size")}


def choose_folder(parent, name, *, fresh):
    """The path of the run called `name`; with `fresh`, the first of name, name-2, name-3, ... that does not exist.

    UsageError if TensorFlow could not write there.
    """
    path = os.path.join(parent, name)
    number = 2
    while fresh and os.path.exists(path):
        path = os.path.join(parent, f"{name}-{number}")
        number += 1
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError(
            f"run folder {printable(path)}: TensorFlow takes only UTF-8 for a name; choose another --out or --name"
        ) from None
    return path


def describe_run(*, command, index, classes, network, recipe, arithmetic, balance, **settings):
    """What run.json holds: all that makes the run what it is, and what it was made with."""
    return {
        "command": command,
        "network": network.described(),
        "classes_sha256": classes_hash(classes),
        "list": index.path,
        "list_rows": len(index),
        "list_sha256": index.hash,
        "balance": str(balance),
        "batch": recipe.batch,
        "epoch_size": recipe.epoch_size,
        "recipe": asdict(recipe),
        "learning_rate": recipe.knots(),
        "arithmetic": asdict(arithmetic),
        **settings,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "versions": {
            "python": sys.version.split()[0],
            **{name: installed_version(name) for name in ("tensorflow", "tensorpack", "numpy")},
        },
        "revision": git_revision(),
        "classes": list(classes),
    }


def header_lines(run):
    """What a run's log begins with: a description as a few lines for a person."""
    recipe, arithmetic, network = run["recipe"], run["arithmetic"], run["network"]
    return [
        run["command"],
        f"network {described_network(network).name}, {network['num_classes']} classes, {network['image_size']} px, "
        f"{arithmetic['compute_type']} {arithmetic['data_format']}, {run['towers']} tower(s) on {run['device']}",
        f"data {printable(run['list'])}: {run['list_rows']:,} pictures, balance {run['balance']}: {run['entries']:,} "
        "entries, "
        f"{run['workers']} loader processes, decoder {run['decoder']}",
        f"recipe {recipe['name']}: {recipe['epochs']} epochs of {recipe['epoch_size']:,} pictures, batch "
        f"{recipe['batch']}, seed {run['seed']}{_departures(recipe)}",
        *([run["plan"]] if "plan" in run else []),
        "learning rate " + ", ".join(f"{rate:g} from step {step}" for step, rate in run["learning_rate"]),
        "versions "
        + ", ".join(f"{name} {version}" for name, version in run["versions"].items())
        + (f", revision {run['revision']}" if run["revision"] else ""),
    ]


def _departures(recipe):
    """What of `recipe` is not as the card has it, as text."""
    card = _spread(asdict(CARD))
    shown_before = {name.removeprefix("recipe.") for name in ELSEWHERE} | {"epochs"}
    return "".join(
        f", {name} {value}"
        for name, value in _spread(recipe).items()
        if value != card.get(name) and name not in shown_before
    )


def _spread(fields, prefix=""):
    """Nested `fields` as one level, with names such as view.flip."""
    flat = {}
    for name, value in fields.items():
        flat |= _spread(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def open_run(path, description):
    """Describe a new run in its folder, or check that the run in it is the one described; returns the changed, harmless
    settings.

    Writes run.json for a new run. CheckpointError where something differs that makes it another run.
    """
    file = os.path.join(path, "run.json")
    refuse_what_is_no_file(path)
    try:
        before = read_json(file)
        if type(before) is not dict:
            raise ValueError("no description of a run")
    except FileNotFoundError:
        if any(name.startswith("model-") for name in os.listdir(path)):
            raise CheckpointError(
                f"{printable(path)}: holds checkpoints but no run.json, so this program did not write "
                "them; start from one with --load and another --name"
            ) from None
        write_json(file, description)
        return []
    except ValueError as error:
        raise CheckpointError(f"{printable(file)}: damaged ({error}); start a new run beside it with --fresh") from None
    return _compare(path, before, json.loads(json.dumps(description)))  # tuples have become lists in the file


def _compare(path, before, now):
    before, now = _with_recipe_spread(before), _with_recipe_spread(now)
    changed = [
        key
        for key in now
        if key not in ("command", "started", "versions", "revision", "classes", "learning_rate", "plan")
        and before.get(key) != now[key]
    ]
    fatal = [key for key in changed if key in FIXED or key.startswith("recipe.") and key not in STEERING]
    if fatal:
        lines = "\n".join(f"  {key}: was {_short(before.get(key))}, is {_short(now[key])}" for key in fatal)
        raise CheckpointError(
            f"{printable(path)}: the run in this folder is another one:\n{lines}\n"
            "Give its own settings to continue it, --fresh for a new run beside it, or --name for another name"
        )
    return [f"{key}: was {_short(before.get(key))}, is {_short(now[key])}" for key in changed]


def _with_recipe_spread(run):
    """`run` with an entry for each field of its recipe; a field that did not exist yet was as the card has it."""
    spread = _spread(json.loads(json.dumps(asdict(CARD))), "recipe.") | _spread(run.get("recipe", {}), "recipe.")
    others = {name: value for name, value in run.items() if name != "recipe"}
    return others | {name: value for name, value in spread.items() if name not in ELSEWHERE}


def _short(value):
    text = json.dumps(value)
    return text if len(text) <= 100 else text[:97] + "..."
