"""One traced step: how a step divides into forward, backward and synchronisation, and a timeline for a browser."""

import os
import re
from collections import Counter

from webvision.compat import tfv1
from webvision.errors import printable
from webvision.files import atomic_write

from tensorflow.python.client import timeline
from tensorpack.callbacks import Callback
from tensorpack.utils import logger

TRACED_STEP = 20  # after the first steps' allocations and kernel choices


class TraceStep(Callback):
    """Traces step TRACED_STEP after the start, or the last one of a shorter run; prints the split and writes
    timeline.json (chrome://tracing)."""

    def __init__(self, folder, *, steps_left):
        self._path = os.path.join(folder, "timeline.json")
        self._traced = min(TRACED_STEP, steps_left)
        self._steps = 0

    def _before_run(self, _):
        self._steps += 1
        if self._steps != self._traced:
            return None
        return tfv1.train.SessionRunArgs([], options=tfv1.RunOptions(trace_level=tfv1.RunOptions.FULL_TRACE))

    def _after_run(self, _, values):
        if self._steps == self._traced:
            metadata = values.run_metadata
            parts = split_step(metadata.step_stats)
            logger.info(
                "Traced step, milliseconds of operations: forward %.1f, backward %.1f, synchronisation %.1f; "
                "%s opens in chrome://tracing",
                *(parts[part] / 1e3 for part in PARTS),
                self._path,
            )
            try:
                with atomic_write(self._path) as file:
                    file.write(timeline.Timeline(metadata.step_stats).generate_chrome_trace_format())
            except OSError as error:
                logger.warning("%s cannot be written: %s", printable(self._path), error.strerror)

    def _after_train(self):
        if self._steps < self._traced or not self._traced:
            logger.warning("--trace: the run ended before the step to trace, %d after its start", self._traced)


PARTS = ("forward", "backward", "synchronisation")


def split_step(step_stats):
    """Counter of microseconds spent in operations of each of PARTS, over all devices of a StepStats."""
    parts = Counter(dict.fromkeys(PARTS, 0))
    for device in step_stats.dev_stats:
        for node in device.node_stats:
            parts[_part_of(node.node_name)] += node.all_end_rel_micros
    return parts


def _part_of(node_name):
    if re.search(r"AllReduce|CollectiveReduce|Nccl|apply_grad|ApplyMomentum|sync_variables", node_name):
        return "synchronisation"
    return "backward" if re.search(r"(^|/)gradients", node_name) else "forward"
