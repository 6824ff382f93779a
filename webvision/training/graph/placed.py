"""The first step of a run for GPUs is looked at: nothing of it may have been computed elsewhere."""

from webvision.compat import tfv1
from webvision.model.misplaced import PlacementOnce

from tensorpack.callbacks import Callback


class PlacementCheck(Callback):
    """UsageError after the first step if soft placement moved work to the CPU; nothing is saved before."""

    def __init__(self, devices):
        self._once = PlacementOnce(devices.on_gpu)

    def _before_run(self, _):
        options = self._once.options()
        return options and tfv1.train.SessionRunArgs([], options=options)

    def _after_run(self, _, values):
        self._once.look(values.run_metadata)
