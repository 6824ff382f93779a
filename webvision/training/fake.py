"""The training step alone, on made-up pictures: what the machine could do if data were free."""

import contextlib
import logging
import time

import numpy as np

from webvision.compat import tf
from webvision.model.session import require_gpus
from webvision.training.callbacks import LearningRate
from webvision.training.graph.input import TotalBatchInput, staged
from webvision.training.graph.memory import shortage_told
from webvision.training.graph.objective import Classifier
from webvision.training.graph.placed import PlacementCheck
from webvision.training.graph.trainer import ReplicatedTrainer, SessionCreator
from webvision.training.recipes import Recipe

from tensorpack.callbacks import Callback, ProgressBar, RunUpdateOps
from tensorpack.dataflow import FakeData
from tensorpack.tfutils.sessinit import JustCurrentSession

WARMUP_STEPS = 5  # memory is allotted and kernels are chosen in the first ones


@contextlib.contextmanager
def _warnings_only():
    """tensorpack tells how it builds the graph, which is not the question here."""
    logger = logging.getLogger("tensorpack")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


class _StepTimes(Callback):
    """The clock at the end of each step."""

    def __init__(self, clock):
        self._clock = clock
        self.ends = []

    def _after_run(self, *_):
        self.ends.append(self._clock())


def measure_step(network, arithmetic, *, batch, devices, steps, warmup=WARMUP_STEPS, clock=time.perf_counter):
    """Run `steps` training steps on one repeated batch; prints pictures a second and returns the median seconds of a
    step."""
    require_gpus(devices.gpus)
    size = network.image_size
    flow = FakeData(
        [[batch, size, size, 3], [batch]],
        1 << 40,
        random=False,
        dtype=["uint8", "int32"],
        domain=[(0, 256), (0, network.num_classes)],
    )
    times = _StepTimes(clock)
    with _warnings_only(), shortage_told(network, batch, devices), tf.Graph().as_default():
        model = Classifier(network, arithmetic)
        trainer = ReplicatedTrainer(devices)
        trainer.setup_graph(
            model.get_input_signature(),
            staged(TotalBatchInput(flow, devices.count), devices),
            model.build_graph,
            model.get_optimizer,
        )
        trainer.train(
            [PlacementCheck(devices), RunUpdateOps(), LearningRate(Recipe(batch=batch)), times, ProgressBar()],
            [],
            SessionCreator(devices),
            JustCurrentSession(),
            steps,
            1,
            1,
        )
    seconds = float(np.median(np.diff(times.ends[warmup - 1 :])))
    print(
        f"{network.name}, {size} px, batch {batch} over {devices.count} {devices.kind} tower(s), "
        f"{arithmetic.compute_type} {arithmetic.data_format}: {batch / seconds:.1f} images/s (median of "
        f"{steps - warmup} steps)"
    )
    return seconds
