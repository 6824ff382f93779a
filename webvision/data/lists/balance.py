"""Class balance by repeating entries: how often a class occurs in an epoch.

WebVision's classes differ by two orders of magnitude in size. Nothing is copied or drawn here: a target per class
is enough for `order.EpochOrder` to walk a balanced epoch.
"""

from dataclasses import dataclass

import numpy as np

from webvision.errors import printable

_FORMS = "upsample, none, sqrt or cap:N (N = 1, 2, ...)"


@dataclass(frozen=True)
class Balance:
    """A rule for how often the pictures of a class are repeated. `str()` gives the text that `parse_balance` reads."""

    kind: str  # 'upsample': every class as often as the largest; 'none': each picture once;
    #                            'sqrt': halfway between the two, in powers; 'cap': upsample, no picture more than `cap`
    # times
    cap: int | None = None

    def __str__(self):
        return f"cap:{self.cap}" if self.kind == "cap" else self.kind


def parse_balance(text):
    """The Balance written as `text`; ValueError says which texts there are."""
    if text in ("upsample", "none", "sqrt"):
        return Balance(text)
    kind, colon, number = text.partition(":")
    if kind == "cap" and colon and number.isascii() and number.isdigit() and 0 < int(number) < 1 << 31:
        return Balance("cap", int(number))
    raise ValueError(f"unknown balance '{printable(text)}'; it is {_FORMS}")


def targets(counts, balance):
    """How many entries of each class an epoch has: int64, at least `counts`, and 0 for classes without a picture."""
    counts = np.asarray(counts, np.int64)
    largest = int(counts.max(initial=0))
    if balance.kind == "none":
        return counts.copy()
    if balance.kind == "upsample":
        wanted = np.full_like(counts, largest)
    elif balance.kind == "sqrt":
        wanted = _ceil_sqrt(counts * largest)
    else:
        wanted = np.minimum(largest, counts * balance.cap)
    return np.where(counts > 0, wanted, 0)


def _ceil_sqrt(values):
    root = np.sqrt(values).astype(np.int64)  # exact to 2**53; 16 million squared is below 2**48
    return root + (root * root < values)


def describe_empty(counts, classes, limit=5):
    """A sentence naming the classes without a picture, or None if each has one."""
    empty = np.flatnonzero(np.asarray(counts) == 0)
    if not len(empty):
        return None
    shown = ", ".join(f"{i} ({printable(classes[i])})" for i in empty[:limit])
    more = f" and {len(empty) - limit} more" if len(empty) > limit else ""
    return f"{len(empty)} of {len(classes)} classes have no picture and cannot be learned: {shown}{more}"
