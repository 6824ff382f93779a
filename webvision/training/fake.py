"""The training step alone, on made-up pictures: what the machine could do if data were free."""
import time

import numpy as np

from webvision.compat import tfv1
from webvision.model.classifier import Classifier
from webvision.training.callbacks import LearningRate
from webvision.training.recipe import Recipe
from webvision.training.trainer import ReplicatedTrainer, SessionCreator, TotalBatchInput, session_config, staged

from tensorpack.callbacks import Callback, ProgressBar, RunUpdateOps
from tensorpack.dataflow import FakeData
from tensorpack.tfutils.sessinit import JustCurrentSession

STEPS = 100
WARMUP_STEPS = 5        # memory is allotted and kernels are chosen in the first ones


class _StepTimes(Callback):
    def __init__(self):
        self.seconds = []

    def _before_run(self, _):
        self._began = time.perf_counter()

    def _after_run(self, *_):
        self.seconds.append(time.perf_counter() - self._began)


def measure_step(network, arithmetic, *, batch, towers, on_gpu, xla=False, steps=STEPS):
    """Run `steps` training steps on one repeated batch; prints and returns the median images a second."""
    model = Classifier(network, arithmetic)
    size = network.image_size
    flow = FakeData([[batch, size, size, 3], [batch]], 1 << 40, random=False, dtype=["uint8", "int32"],
                    domain=[(0, 256), (0, network.num_classes)])
    trainer = ReplicatedTrainer(towers, on_gpu=on_gpu)
    trainer.setup_graph(model.get_input_signature(), staged(TotalBatchInput(flow, towers), on_gpu=on_gpu),
                        model.build_graph, model.get_optimizer)
    times = _StepTimes()
    trainer.train([RunUpdateOps(), LearningRate(Recipe(batch=batch)), times, ProgressBar()], [],
                  SessionCreator(session_config(on_gpu=on_gpu, towers=towers, xla=xla)), JustCurrentSession(), steps, 1, 1)
    rate = batch / float(np.median(times.seconds[WARMUP_STEPS:]))
    print(f"{network.name}, {size} px, batch {batch} over {towers} {'GPU' if on_gpu else 'CPU'} tower(s), "
          f"{arithmetic.compute_type} {arithmetic.data_format}: {rate:.1f} images/s (median of {steps - WARMUP_STEPS} steps)")
    return rate
