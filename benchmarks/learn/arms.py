"""The arms: what each of them is taught by, on which of a task's lists."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Arm:
    """A recipe by name and settings."""

    recipe: str
    settings: tuple = ()
    oracle: bool = False  # trained on the right rows only
    averaged: bool = True  # judged by its averaged weights
    second_pass: bool = False  # rows that the margins of the arm `web` suspect weigh nothing


def web(*settings, **how):
    """The recipe web with these settings."""
    return Arm("web", settings, **how)


ARMS = {
    "card": Arm("card", ("margins=true",), averaged=False),
    "oracle": web(oracle=True),
    "web": web(),
    "web without averages": web("averages=0", averaged=False),
    "web without logit adjustment": web("logit_adjust=0"),
    "web with mixup and neighbours": web("mixup=1", "neighbours=0.5"),
    "web with mixup": web("mixup=1"),
    "web with neighbours": web("neighbours=0.5"),
    "web with label smoothing": web("label_smoothing=0.1"),
    "web with cosine": web("schedule=cosine"),
    "web with SAM": web("sam=0.05"),
    "web with early learning": web("early_learning=3"),
    "two passes": web(second_pass=True),
}
