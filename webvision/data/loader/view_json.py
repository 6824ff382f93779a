"""A view of pictures (Augmentation or Preset) as text, for worker processes."""

import dataclasses

from webvision.data.views.augment import Augmentation
from webvision.data.views.presets import Preset

_KINDS = {"augmentation": Augmentation, "preset": Preset}


def to_json(view):
    """`view` as what json.dumps takes."""
    kind = next(name for name, cls in _KINDS.items() if type(view) is cls)
    return {"kind": kind, **dataclasses.asdict(view)}


def from_json(fields):
    """The view that `to_json` described."""
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    return _KINDS[fields.pop("kind")](**fields)
