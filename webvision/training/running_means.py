"""The figures of the steps as an epoch's line shows them: means that fade, over all towers, and part of a run's state.

A step's figure counts 5 % and what came before fades, as tensorpack's moving summaries do it; but theirs are of the
first tower's share of the batch, and forgotten at each restart. These are kept in the manifests of checkpoints, so that
a resumed run shows what an unbroken one would have shown, also for an epoch whose validation was killed.
"""

from webvision.compat import tf, tfv1

from tensorpack.callbacks import Callback

FIGURES = ("xentropy-loss", "train-error-top1", "train-error-top5", "l2_regularize_loss", "cost")
DECAY = 0.95


class FadingMean:
    """The mean of values of which each counts DECAY times less than the one after it."""

    def __init__(self, total=0.0, weight=0.0):
        self.total, self.weight = total, weight

    def add(self, value):
        self.total = DECAY * self.total + (1 - DECAY) * value
        self.weight = DECAY * self.weight + (1 - DECAY)

    def value(self):
        return self.total / self.weight


class RunningMeans(Callback):
    """Fetches FIGURES with each step and puts their means on the monitors at each epoch's end."""

    def __init__(self, state, watch):
        """`state`: of the checkpoint that the run goes on from, or {}; `watch`: the StepWatch, which has the speed."""
        self._means = {name: FadingMean(*state["means"][name]) for name in state.get("means", ())}
        self._speed_before = dict(state.get("speed", {}))
        self._watch = watch

    def state(self):
        """What a checkpoint keeps, for JSON."""
        means = {name: [mean.total, mean.weight] for name, mean in self._means.items()}
        return {"means": means, "speed": self._watch.speed or self._speed_before}

    def _setup_graph(self):
        towers = self.trainer.tower_func.towers.training()
        columns = [[tower.get_tensor(name) for tower in towers] for name in FIGURES]
        with tf.device("/cpu:0"):
            self._figures = tf.stack([tf.add_n(column) / len(column) for column in columns], name="step_figures")

    def _before_run(self, _):
        return tfv1.train.SessionRunArgs(self._figures)

    def _after_run(self, _, values):
        for name, value in zip(FIGURES, values.results.tolist(), strict=True):
            self._means.setdefault(name, FadingMean()).add(value)

    def _trigger_epoch(self):
        put = self.trainer.monitors.put_scalar
        for name, mean in self._means.items():
            put(name, mean.value())
        if not self._watch.speed:  # the epoch's steps were another process's
            for name, value in self._speed_before.items():
                put(name, value)
