"""What is trained and for how long: recipes by name, their fields, and the learning rate that they prescribe.

`card` is the recipe of the released WebVision checkpoints. Its "epoch" is 1.28 million pictures, ImageNet's size, as
the step numbers in their names imply; it is not one pass over the (far longer) balanced list.
"""

import dataclasses
import difflib
from dataclasses import dataclass

from webvision.data.views.augment import Augmentation
from webvision.training.parts import schedules
from webvision.training.small_sets.early_stop import Patience, falls

CARD_EPOCHS = 110
SCHEDULES = ("steps", "cosine", "plateau")
OPTIMIZERS = ("sgd", "asgd", "adam", "adamw")


@dataclass(frozen=True)
class Task:
    """What the losses of a recipe have to know of the list."""

    counts: tuple = ()  # how often each class is shown in a pass
    rows: int = 0  # of the list
    weighted: bool = False  # whether each row has a weight


@dataclass(frozen=True)
class Recipe:
    """One field a knob, 0 or False where a part is off; the defaults are the card's."""

    name: str = "card"
    epochs: int = CARD_EPOCHS
    epoch_size: int = 1_280_000  # pictures
    batch: int = 256  # over all towers
    accumulate: int = 1  # steps whose gradients are averaged into one update

    schedule: str = "steps"  # or "cosine", which fits labels better, wrong ones too; "plateau": as validation goes
    lr: float | None = None  # overrides the rate that follows from the batch
    lr_per_256: float = 0.1  # Goyal et al. 2017, sec. 2.1: linear in the batch; true division, small batches count too
    milestones: tuple = (30, 60, 90)  # epochs of 110 after which the rate falls to a tenth; scaled to other --epochs
    warmup_epochs: int = 3  # of 110, from warmup_from up, and only where the rate is above it
    warmup_from: float = 0.1

    plateau: int = 5  # epochs without a better validation after which the rate falls to a tenth
    patience: int = 0  # epochs without a better validation that end the run
    min_delta: float = 0.0  # of the validation's top-1 error: what is better by no more is no better

    frozen_statistics: bool = False  # of batch norm: on few pictures those of the first weights are the better ones
    head_rate: float = 1.0  # of the last layer, times the rate
    depth_decay: float = 1.0  # by which the rate falls from one quarter of the backbone to the one below

    optimizer: str = "sgd"
    momentum: float = 0.9  # of sgd
    nesterov: bool = True
    betas: tuple = (0.9, 0.999)  # of adam and adamw
    epsilon: float = 1e-8
    weight_decay: float = 1e-4  # on convolution and linear weights, neither biases nor batch norm
    clip: float = 0.0  # largest norm of all gradients together

    view: Augmentation = Augmentation()  # its image size is the network's
    balance: str = "upsample"
    logit_adjust: float = 0.0  # times log(share of a class): 1 for the balanced optimum; 0 for an upsampled list anyhow
    label_smoothing: float = 0.0
    averages: float = 0.0  # half-life of the averaged weights, as a share of all steps
    mixup: float = 0.0  # a of Beta(a, a)
    neighbours: float = 0.0  # weight of neighbour consistency in the loss
    neighbours_count: int = 10
    neighbours_temperature: float = 2.0
    neighbours_after: float = 0.1  # share of the run before it begins
    neighbours_queue: int = 8192  # pictures seen last that may be neighbours; 0: those of the batch
    early_learning: float = 0.0  # weight; keeps classes x pictures in half precision
    early_learning_memory: float = 0.7
    sam: float = 0.0  # how far uphill the gradient is taken (Foret et al. 2021)
    margins: bool = False  # keep each training picture's mean logit margin, 6 bytes a row

    def __post_init__(self):
        for name in ("epochs", "epoch_size", "batch", "accumulate", "neighbours_count"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.lr is not None and not self.lr > 0:
            raise ValueError(f"the learning rate must be above 0, not {self.lr}")
        for name, known in (("schedule", SCHEDULES), ("optimizer", OPTIMIZERS)):
            if getattr(self, name) not in known:
                raise ValueError(f"unknown {name} {getattr(self, name)!r}; there are {', '.join(known)}")
        for name in ("label_smoothing", "averages", "neighbours", "neighbours_after", "early_learning_memory"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, not {getattr(self, name)}")
        for name in (
            "logit_adjust",
            "mixup",
            "clip",
            "early_learning",
            "sam",
            "weight_decay",
            "neighbours_queue",
            "patience",
            "min_delta",
        ):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be at least 0, not {getattr(self, name)}")
        if self.plateau < 1 or not self.head_rate > 0 or not self.depth_decay >= 1:
            raise ValueError("plateau is at least one epoch, head_rate above 0, depth_decay at least 1")
        if not self.neighbours_temperature > 0:
            raise ValueError(f"neighbours_temperature must be above 0, not {self.neighbours_temperature}")

    @property
    def base_lr(self):
        return self.lr if self.lr is not None else self.lr_per_256 * self.batch / 256

    @property
    def steps_per_epoch(self):
        return max(1, self.epoch_size // self.batch)

    @property
    def total_steps(self):
        return self.epochs * self.steps_per_epoch

    def visits(self, rows):
        """How often a picture of a list of `rows` entries is seen, on average."""
        return self.total_steps * self.batch / rows

    @property
    def falls(self):
        """The steps from which the rate is a tenth of what it was."""
        return schedules.falls_at(self.milestones, CARD_EPOCHS, self.total_steps)

    @property
    def warmup_steps(self):
        return round(self.warmup_epochs * self.total_steps / CARD_EPOCHS) if self.base_lr > self.warmup_from else 0

    def learning_rate(self, step):
        """The rate of step number `step`, from 0."""
        if step < self.warmup_steps:
            # In stairs of an epoch of 110, as the released checkpoints were trained.
            stair = step * CARD_EPOCHS // self.total_steps
            return self.warmup_from + (self.base_lr - self.warmup_from) * stair / self.warmup_epochs
        if self.schedule == "plateau":
            return self.base_lr
        if self.schedule == "cosine":
            return self.base_lr * schedules.cosine(step, first=self.warmup_steps, last=self.total_steps)
        return self.base_lr * schedules.steps(step, falls=self.falls)

    def stop_rule(self):
        """The early_stop.Patience of this recipe, or None where only its last epoch ends it."""
        return Patience("val-error-top1", self.patience, self.min_delta) if self.patience else None

    def rate_scale(self, history):
        """What `learning_rate` is multiplied by after the validated epochs in `history`."""
        if self.schedule != "plateau":
            return 1.0
        return 0.1 ** falls(history, Patience(min_delta=self.min_delta), plateau=self.plateau)

    def knots(self):
        """[(step, rate)]: where the schedule turns, for the header of a run."""
        if self.schedule == "plateau":
            return [(0, self.base_lr)]
        if self.schedule == "cosine":
            quarters = [self.warmup_steps + (self.total_steps - self.warmup_steps) * i // 4 for i in range(4)]
            steps = {0, *quarters, self.total_steps - 1}
        else:
            steps = {0, self.warmup_steps, *self.falls}
        return [(step, self.learning_rate(step)) for step in sorted(steps) if step < self.total_steps]


CARD = Recipe()
WEB = Recipe(name="web", balance="none", logit_adjust=1.0, averages=0.01, margins=True)
RECIPES = {recipe.name: recipe for recipe in (CARD, WEB)}


def visits_told(recipe, counts, targets):
    """A sentence: how often `recipe` shows each picture of a list with `counts` pictures of each class, shown `targets`
    times a pass. It decides what wrong labels cost: docs/learning.md."""
    shown = [target / count for count, target in zip(counts, targets) if count]
    passes = recipe.visits(max(sum(targets), 1))
    least, most = (_times(passes * bound(shown, default=1)) for bound in (min, max))
    return f"each picture is seen {least} to {most} times"


def _times(visits):
    return f"{visits:.1f}" if visits < 10 else f"{visits:.0f}"


def recipe_named(name):
    """The recipe called `name`; ValueError with the nearest name if there is none."""
    if name not in RECIPES:
        raise ValueError(f"no recipe is called {name!r}{nearest(name, RECIPES)}; there are {', '.join(RECIPES)}")
    return RECIPES[name]


def with_settings(recipe, settings):
    """`recipe` with ["field=value", ...] set; `view.field=value` for a field of its view. ValueError says what is
    wrong."""
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"{text!r}: a setting is field=value")
        recipe = _set(recipe, name.split("."), value, name)
    return recipe


def _set(owner, path, text, whole):
    fields = {field.name: field for field in dataclasses.fields(owner)}
    if path[0] not in fields or path[0] in ("name", "image_size"):
        raise ValueError(f"a recipe has no field {whole!r}{nearest(whole, known_fields())}")
    now = getattr(owner, path[0])
    if dataclasses.is_dataclass(now) != (len(path) > 1):
        raise ValueError(f"{whole}: set one of {', '.join(known_fields(path[0] + '.'))}")
    value = _set(now, path[1:], text, whole) if len(path) > 1 else _read(text, now, fields[path[0]], whole)
    return dataclasses.replace(owner, **{path[0]: value})


def _read(text, now, field, whole):
    """`text` as a value like `now`, or of the type that the field declares."""
    wanted = type(now) if now is not None else float
    try:
        if text == "none" and "None" in str(field.type):
            return None
        if wanted is bool:
            return {"true": True, "false": False}[text.lower()]
        if wanted is tuple:
            numbers = tuple(float(part) for part in text.strip("()").split(",") if part.strip())
            return tuple(int(n) if n.is_integer() and all(type(v) is int for v in now) else n for n in numbers)
        return wanted(text)
    except (ValueError, KeyError):
        kind = {bool: "true or false", tuple: "numbers with commas", int: "a whole number", float: "a number"}[wanted]
        raise ValueError(f"{whole}={text}: {kind} is needed") from None


def known_fields(prefix=""):
    """The names that `with_settings` takes, those that begin with `prefix`."""
    names = [field.name for field in dataclasses.fields(Recipe) if field.name not in ("name", "view")]
    names += [f"view.{field.name}" for field in dataclasses.fields(Augmentation) if field.name != "image_size"]
    return [name for name in names if name.startswith(prefix)]


def nearest(name, known):
    """Which name among `known` was meant by `name`, as the end of a sentence; '' if none is near."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""
