"""What a training needs at a size that cannot be tried here: cores, disk, network, hours, and what gives out first.

Arithmetic on a few measured figures: a worker's time for a picture, the hand-over's, a GPU's rate alone, the speed of
links and storage. Costs of lists and indexes are this house's own, measured (docs/scale.md).
"""

from dataclasses import dataclass
from typing import NamedTuple

HEADROOM = 1.25  # loaders this much faster than the step keep it waiting below 2% of the time
LIST_INDEX_BYTES = 10  # of the side file, a row: offset, label, class order; 18 from 4 GiB of list, or 2^32 rows on
MEMBER_BYTES = 28.3  # of the archives' index, a member: a record, its share of the table
LIST_CPU_US = 0.15  # to index a row, once
MEMBER_CPU_US = 4.0  # to walk a member's header, and to sort it in, once
WORKER_MB = 150  # a worker's memory, whatever the list's length: Python, NumPy, OpenCV, the arena
SLOT_BYTES = 224 * 224 * 3  # of a picture that is handed over


@dataclass(frozen=True)
class Load:
    """What is trained on."""

    pictures: int
    picture_bytes: float = 27_000.0  # WebVision's, short side 256
    line_bytes: float = 34.0  # of the list
    epoch: int | None = None  # samples; more than the pictures where classes are balanced

    @property
    def samples(self):
        """Of an epoch."""
        return self.epoch or self.pictures


@dataclass(frozen=True)
class Site:
    """Where: GPUs in nodes, and what was measured of them."""

    gpus: int
    gpus_per_node: int = 8
    cores_per_node: int = 96
    step_rate: float = 2400.0  # pictures/s of a GPU alone (A100, mixed precision: the published figure)
    worker_us: float = 330.0  # a core's time for a picture, all together
    hand_over_us: float = 20.0  # the training process's time for a picture
    batch: int = 256  # a GPU
    gradient_bytes: float = 102e6  # that are summed over all nodes each step: ResNet-50's weights, 4 bytes each
    link: float = 12.5e9  # bytes/s in and out of a node
    storage: float | None = None  # bytes/s that the file server gives all nodes together; None: a copy in each node

    @property
    def nodes(self):
        """How many machines."""
        return -(-self.gpus // self.gpus_per_node)


class Limit(NamedTuple):
    """One part, and the pictures/s that all of it together can do."""

    part: str
    rate: float


class Plan(NamedTuple):
    """The answer."""

    limits: tuple  # of Limit, the narrowest first
    epoch_hours: float
    cores_per_node: float  # that keep the GPUs fed, with headroom
    read_per_node: float  # bytes/s
    sum_share: float  # of a step that summing gradients adds, if nothing of it is hidden
    list_bytes: float  # text and index
    members_bytes: float  # index of the archives, if the pictures lie in some
    picture_bytes: float
    index_cpu_hours: float  # once, all cores together
    node_memory_mb: float  # of the loader

    @property
    def rate(self):
        """Pictures/s of the training."""
        return self.limits[0].rate


def plan(load, site):
    """The Plan of training on `load` at `site`."""
    sums = summing_seconds(site)
    step = site.batch / site.step_rate
    wanted = site.gpus * site.step_rate * step / (step + sums)
    limits = [
        Limit("GPUs", wanted),
        Limit("loader cores", site.nodes * site.cores_per_node * 1e6 / site.worker_us),
        Limit("hand-over", site.nodes * 1e6 / site.hand_over_us),
    ]
    if site.storage:
        # Summing and pictures share a node's link, one after the other in the worst case.
        free = max(1e-9, 1 - sums / (step + sums))
        limits.append(Limit("storage", site.storage / load.picture_bytes))
        limits.append(Limit("a node's link", site.nodes * site.link * free / load.picture_bytes))
    limits.sort(key=lambda limit: limit.rate)
    rate = limits[0].rate
    cores = wanted / site.nodes * site.worker_us * HEADROOM / 1e6
    workers = min(cores, site.cores_per_node)
    return Plan(
        tuple(limits),
        load.samples / rate / 3600,
        cores,
        min(rate, wanted) / site.nodes * load.picture_bytes,
        sums / (step + sums),
        list_bytes(load),
        load.pictures * MEMBER_BYTES,
        load.pictures * load.picture_bytes,
        load.pictures * (LIST_CPU_US + MEMBER_CPU_US) / 3.6e9,
        workers * (WORKER_MB + 3 * site.batch * SLOT_BYTES / 1e6),
    )


def list_bytes(load):
    """Text and index of the list; offsets of a text of 4 GiB or more, and more than 2^32 row numbers, take 8 bytes."""
    text = load.pictures * load.line_bytes
    each = LIST_INDEX_BYTES + 4 * (text >= (1 << 32) - 1) + 4 * (load.pictures >= (1 << 32) - 1)
    return text + load.pictures * each


def summing_seconds(site):
    """Of the gradients over all nodes, around a ring: each node sends and receives nearly twice their bytes."""
    return 2 * (site.nodes - 1) / site.nodes * site.gradient_bytes / site.link if site.nodes > 1 else 0.0


def explain(load, site, found):
    """Sentences: the numbers, and what gives out first."""
    yield (
        f"{load.pictures:,} pictures, {load.samples:,} samples an epoch, on {site.gpus:,} GPUs in {site.nodes:,} "
        f"node{'s' if site.nodes > 1 else ''}: {found.rate:,.0f} pictures/s, {found.epoch_hours:.2g} hours an epoch."
    )
    for limit in found.limits:
        yield f"  {limit.part}: up to {limit.rate:,.0f} pictures/s"
    first, second = found.limits[:2]
    yield f"First gives out: {first.part}; then {second.part}, at {second.rate / first.rate:.2g} times that."
    yield (
        f"A node: {found.cores_per_node:.1f} cores feed its GPUs (it has {site.cores_per_node}), "
        f"{found.read_per_node / 1e6:,.0f} MB/s read, {found.node_memory_mb / 1e3:.1f} GB for workers; summing "
        f"gradients adds up to {found.sum_share:.1%} to a step."
    )
    yield (
        f"Disk: {found.picture_bytes / 1e12:.3g} TB of pictures, {found.list_bytes / 1e9:.3g} GB of list and index, "
        f"{found.members_bytes / 1e9:.3g} GB of archives' index, made once in {found.index_cpu_hours:.2g} core hours."
    )
