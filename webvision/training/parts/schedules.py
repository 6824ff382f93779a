"""How the learning rate goes over a run: pure functions of the exact step."""

import math


def falls_at(milestones, span, total_steps):
    """The steps before which the rate falls: `milestones` of `span` epochs, scaled to a run of `total_steps`.

    Distinct and at least 1 however short the run; those that find no room are beyond its end.
    """
    steps, last = [], 0
    for milestone in milestones:
        last = max(round(milestone * total_steps / span), last + 1)
        steps.append(last)
    return tuple(steps)


def steps(step, *, falls, factor=0.1):
    """1, and `factor` less of it from each of `falls` on."""
    return factor ** sum(step >= fall for fall in falls)


def cosine(step, *, first, last):
    """From 1 at step `first` down to 0 at `last`, along half a cosine (Loshchilov and Hutter 2017)."""
    share = min(max(step - first, 0) / max(last - first, 1), 1.0)
    return 0.5 * (1 + math.cos(math.pi * share))


def average_decay(step, half_life, *, every=1):
    """What an average of the weights keeps of itself at `step` (from 0), over `every` steps.

    min(2^(-1/h), (1 + s) / (10 + s)): short at first, so that the initial weights are soon forgotten.
    """
    return min(2.0 ** (-1 / half_life), (1 + step) / (10 + step)) ** every
