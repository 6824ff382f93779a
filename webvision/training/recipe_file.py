"""A recipe from a file: JSON of its fields, or the run.json of another run, which holds the whole of one.

{"recipe": {"epochs": 20, "lr": 0.01, "view": {"flip": false}}}        or the inner object alone
"""

import dataclasses
import json

from webvision.errors import DataError, printable
from webvision.files import read_json
from webvision.training.recipes import CARD, nearest


def read_recipe(path, base=CARD):
    """The Recipe in the file `path`; fields that it does not name are those of `base`. DataError says what is wrong."""
    try:
        values = read_json(path)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{printable(path)}: not JSON ({error})") from None
    except FileNotFoundError:
        raise DataError(f"{printable(path)}: no such file; --config takes JSON, such as a run's run.json") from None
    if isinstance(values, dict):
        values = values.get("recipe", values)
    try:
        return _replaced(base, values, "")
    except (ValueError, TypeError) as error:
        raise DataError(f"{printable(path)}: {error}") from None


def _replaced(owner, values, prefix):
    """`owner`, a dataclass, with the fields that `values` names."""
    if not isinstance(values, dict):
        raise ValueError(f"{prefix.rstrip('.') or 'the file'} is {_shown(values)}; an object with fields is needed")
    fields = {field.name: field for field in dataclasses.fields(owner)}
    settings = {}
    for name, value in values.items():
        if name not in fields:
            raise ValueError(f"a recipe has no field {prefix + name!r}{nearest(name, fields)}")
        settings[name] = _value(getattr(owner, name), value, fields[name], prefix + name)
    return dataclasses.replace(owner, **settings)


def _value(now, value, field, name):
    """`value` as the field has it: JSON has no tuples, and writes 1.0 as it likes."""
    if dataclasses.is_dataclass(now):
        return _replaced(now, value, f"{name}.")
    if value is None and "None" in str(field.type):
        return None
    wanted = type(now) if now is not None else float
    if wanted is float and type(value) in (int, float):
        return float(value)
    if wanted is tuple and isinstance(value, list) and all(type(number) in (int, float) for number in value):
        return tuple(value)
    if type(value) is not wanted:
        raise ValueError(f"{name} is {_shown(value)}; {wanted.__name__} is needed, as {now!r}")
    return value


def _shown(value):
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
