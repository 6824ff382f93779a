"""The arms: what each of them is taught by, on which of a task's lists."""

from dataclasses import dataclass

REGULAR = ("mixup=1", "neighbours=0.5")  # what pays where labels are learned by heart


@dataclass(frozen=True)
class Arm:
    """A recipe by name and settings; `oracle`: trained on the right rows only."""

    recipe: str
    settings: tuple = ()
    oracle: bool = False
    averaged: bool = False  # judged by its averaged weights
    weighted: bool = False  # second of two passes: the rows that the margins of the arm `web` suspect weigh nothing


WEB = Arm("web", REGULAR, averaged=True)


def without(*settings):
    """`web` with these settings after its own."""
    return Arm("web", (*REGULAR, *settings), averaged="averages=0" not in settings)


ARMS = {
    "card": Arm("card", ("margins=true",)),
    "oracle": Arm("web", (), oracle=True, averaged=True),
    "web": WEB,
    "logit adjustment alone": Arm("web", ("averages=0",)),
    "web without mixup": without("mixup=0"),
    "web without neighbours": without("neighbours=0"),
    "web without averages": without("averages=0"),
    "web without logit adjustment": without("logit_adjust=0"),
    "web on the upsampled list": without("balance=upsample"),
    "web with smoothing": without("label_smoothing=0.1"),
    "web with cosine": without("schedule=cosine"),
    "web with SAM": without("sam=0.05"),
    "web with early learning": without("early_learning=3", "neighbours=0"),
    "web, oracle": Arm("web", REGULAR, oracle=True, averaged=True),
}
