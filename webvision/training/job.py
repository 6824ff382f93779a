"""What a training run is of, in parts that walk together."""

from collections.abc import Callable
from dataclasses import dataclass, field

from webvision.data.loader.spec import BatchSpec
from webvision.devices import Devices
from webvision.model.backbones import Network
from webvision.model.card import Card
from webvision.model.forward import Arithmetic
from webvision.scoring.figures.stop_rules import StopRule
from webvision.training.recipes import Recipe, Task


@dataclass(frozen=True)
class Pictures:
    """What is trained on and validated on. Loaders begin where the run stands, so the first is made then."""

    list_hash: str
    entries: int  # of one pass over the balanced list
    spec: BatchSpec
    train: Callable  # number of the first sample -> TrainBatches
    val: object | None = None  # EvalBatches of a labelled list
    task: Task = Task()
    weights: object | None = None  # of the rows of the list, float32 in the mean 1


@dataclass(frozen=True)
class Computing:
    """How the network is computed, and where."""

    arithmetic: Arithmetic
    devices: Devices
    sync_bn: bool = False  # batch norm over all towers


@dataclass(frozen=True)
class Start:
    """The first weights, where there is no checkpoint yet: drawn from `seed`, or those of `load`."""

    seed: int = 0
    load: str | None = None
    new_head: bool = False  # if the number of classes differs


@dataclass(frozen=True)
class Keeping:
    """When a run saves, and which checkpoints stay."""

    every_seconds: float = 600
    patience: float = 1800  # seconds for which a disk may refuse checkpoints before the run ends
    last: int = 10
    every_epochs: int | None = None  # between checkpoints that stay for ever


@dataclass(frozen=True)
class Ending:
    """What ends a run, besides its last epoch."""

    on_nan: str = "stop"  # or "rollback"
    stop_at: StopRule | None = None  # of the validation's figures
    hang_limit: float | None = None  # seconds; None: watchdog.LIMITS, 0: no watchdog
    exit_code: int | None = None  # after a signal; None: 128 + signal


@dataclass(frozen=True)
class Watching:
    """What a run tells of itself, besides a line an epoch."""

    log_every: int = 100  # steps
    trace: bool = False
    histograms: bool = False
    log_style: str = "plain"  # or "di", DI-engine's; see step_log.py


@dataclass(frozen=True)
class Job:
    """Everything a training run is of."""

    folder: str
    description: dict  # for run.json and the header
    network: Network
    card: Card  # what its checkpoints mean
    recipe: Recipe
    pictures: Pictures
    computing: Computing
    start: Start = field(default_factory=Start)
    keeping: Keeping = field(default_factory=Keeping)
    ending: Ending = field(default_factory=Ending)
    watching: Watching = field(default_factory=Watching)
