"""What happens around the steps of a run: rate, timing, saving, and the guard against divergence."""

import math
import time

from webvision import watchdog
from webvision.compat import tf, tfv1
from webvision.errors import DivergedError, ResourceError
from webvision.training.graph.clock import now
from webvision.training.watching import step_log
from webvision.training.watching.step_log import Progress, StepTimes

from tensorpack.callbacks import Callback
from tensorpack.utils import logger

RETRY_SECONDS = 20.0  # between attempts to save while the disk does not take it; a signal has to wait for no longer


class LearningRate(Callback):
    """Sets `learning_rate` before each step to what the recipe says for it, wherever a run begins."""

    def __init__(self, recipe, *, scale=1.0, history=list):
        """`scale`: what the recipe's rate is multiplied by, after a divergence; `history()`: of the epochs so far."""
        self._recipe = recipe
        self._scale = scale
        self._history = history
        self._set = None

    def _setup_graph(self):
        self._variable = next(v for v in tfv1.global_variables() if v.op.name == "learning_rate")

    def _before_epoch(self):
        self._epoch_scale = self._recipe.rate_scale(self._history())

    def _before_run(self, _):  # not after a step: a checkpoint holds the rate of its own last step
        rate = self._scale * self._epoch_scale * self._recipe.learning_rate(self.global_step)
        if rate != self._set:
            self._variable.load(rate, self.trainer.sess)
            self._set = rate


class StepWatch(Callback):
    """Fetches each step's loss with the step, stops at the first that is not finite, and tells where the time goes."""

    def __init__(self, batch, arrived_at, *, watching, events, staged):
        """`arrived_at`: the tensor that tells when a run's batch came; `staged`: it is the next step's, copied while
        this one computes; `events`: the EventFile."""
        self._batch = batch
        self._arrived_at = arrived_at
        self._log_every, self._style = watching.log_every, watching.log_style
        self._events = events
        self._staged = staged
        self.speed = {}  # of the last epoch whose end this process saw

    def _setup_graph(self):
        losses = [tower.get_tensor("xentropy-loss") for tower in self.trainer.tower_func.towers.training()]
        self._loss = tf.add_n(losses) / len(losses) if len(losses) > 1 else losses[0]
        self._computed = _time_after(self.trainer.train_op, losses) if self._staged else ()
        self._parts = ()
        if self._style == "di":
            self._parts = (step_log.time_when(losses), step_log.time_when(self.trainer.gradients()))
        self._rate = next(v for v in tfv1.global_variables() if v.op.name == "learning_rate")

    def _before_epoch(self):
        self._epoch_start, self._epoch_steps, self._epoch_wait = time.perf_counter(), 0, 0.0
        self._recent_start, self._recent_steps, self._recent = self._epoch_start, 0, StepTimes()

    def _before_run(self, _):
        self._started = time.time()  # the clock of clock.now
        return tfv1.train.SessionRunArgs([self._loss, self._arrived_at, self._computed, self._parts])

    def _after_run(self, _, values):  # tensorpack has counted this step already
        loss, arrived, computed, parts = values.results
        self.loss = float(loss)
        if not math.isfinite(self.loss):
            raise DivergedError(
                f"step {self.global_step}: the loss is {self.loss}; the last checkpoint is finite and kept. "
                "Give the same command with a lower --lr, or with --on-nan rollback",
                step=self.global_step,
            )
        ended = time.time()
        wait = waited(self._started, arrived, ended, computed=computed[0] if self._staged else None)
        self._epoch_wait += wait
        self._last = self._times(wait, arrived, [at for at, _ in parts], ended)
        self._recent += self._last
        self._epoch_steps += 1
        self._recent_steps += 1

    def _times(self, wait, arrived, parts, ended):
        """The StepTimes of a run from the moments at which it was told that its parts were done."""
        if not parts:
            return StepTimes(wait)
        began = self._started if self._staged else max(self._started, min(arrived, ended))
        moments = [began, *parts, ended]
        return StepTimes(wait, *(max(0.0, later - before) for before, later in zip(moments, moments[1:], strict=False)))

    def _trigger_step(self):
        due = {"step": self.local_step + 1, "since_last": self._recent_steps, "every": self._log_every}
        if step_log.is_due(self._style, **due):
            self._log_step()

    def _log_step(self):
        now, steps = time.perf_counter(), self._recent_steps
        progress = Progress(
            epoch=self.epoch_num,
            step=self.local_step + 1,
            steps=self.trainer.steps_per_epoch,
            loss=self.loss,
            mean=self._recent / steps,
            last=self._last,
            seconds=(now - self._recent_start) / steps,
            rate=float(self._rate.eval(self.trainer.sess)),
        )
        logger.info("%s", step_log.line(self._style, progress))
        self._events.put_scalars(self.global_step, step_log.scalars(self._style, progress))
        self._recent_start, self._recent_steps, self._recent = now, 0, StepTimes()

    def _after_epoch(self):
        seconds = max(time.perf_counter() - self._epoch_start, 1e-9)
        self.speed = {
            "images-per-second": self._epoch_steps * self._batch / seconds,
            "data-wait-share": self._epoch_wait / seconds,
        }
        for name, value in self.speed.items():
            self.trainer.monitors.put_scalar(name, value)

    def _trigger_epoch(self):
        for name in ("learning-rate", "learning_rate"):  # the second as tensorpack's tools know it
            self.trainer.monitors.put_scalar(name, float(self._rate.eval(self.trainer.sess)))


def waited(started, arrived, ended, *, computed=None):
    """Seconds of a run from `started` to `ended` in which nothing was computed for want of a batch, which came at
    `arrived`.

    A run that computes on that batch waits for it from its start. One that fetches it for the next step (staging)
    computes meanwhile: it waits only from when it has `computed`.
    """
    idle_from = started if computed is None else computed
    return max(0.0, min(arrived, ended) - max(idle_from, started))


def _time_after(train_op, losses):
    """Tensors: the time when `train_op` has been computed, and what has to be fetched with it.

    A GPU's operation counts as done once it is queued. Only a value that comes back from each GPU, asked for after the
    last operation, says that the GPU is through.
    """
    with tf.control_dependencies([train_op]):
        last = []
        for loss in losses:
            with tf.device(loss.device):
                last.append(tf.stack([loss, loss]))  # an operation that the graph's optimiser does not see through
    with tf.device("/cpu:0"):
        fence = tf.reduce_sum(tf.stack(last))
        with tf.control_dependencies([fence]):
            return now("computed_at"), fence


class Saving(Callback):
    """Saves at each epoch's end, every `every_seconds`, when the run is asked to end, and at its last step.

    When the disk does not take a checkpoint, training goes on and tries again every 20 s, for `patience` seconds; the
    last state of a run is waited for as long. Then ResourceError.
    """

    def __init__(self, attempt, keeping, *, stop, last_step):
        """`attempt.save(session, step)` writes a checkpoint; `keeping` is the job's."""
        self._attempt = attempt
        self._stop = stop
        self._last_step = last_step
        self._every = keeping.every_seconds
        self._patience = keeping.patience
        self._failing_since = None

    def _before_train(self):
        self._stop.heed("before its first step")
        self._due = time.monotonic() + self._every

    def _trigger_step(self):
        if self._stop.number is not None:
            self._save()
            self._stop.heed(f"after step {self.global_step}, saved")
        if time.monotonic() >= self._due:
            self._save_or_go_on()

    def _trigger_epoch(self):
        if self.global_step < self._last_step:
            self._save_or_go_on()
            return
        while not self._save_or_go_on():
            time.sleep(max(0.0, min(RETRY_SECONDS, self._patience)))
            self._stop.heed(f"while step {self.global_step} could not be saved")
            watchdog.reach()

    def _save(self):
        with watchdog.section("saving"):
            self._attempt.save(self.trainer.sess, self.global_step)
        self._due = time.monotonic() + self._every
        self._failing_since = None

    def _save_or_go_on(self):
        """Whether the state is saved; ResourceError when none could be for longer than the patience."""
        try:
            self._save()
        except ResourceError as error:
            now = time.monotonic()
            self._failing_since = self._failing_since or now
            if now - self._failing_since >= self._patience:
                raise
            logger.error("%s. Trying again for %.0f s", error, self._patience - (now - self._failing_since))
            self._due = now + min(RETRY_SECONDS, self._every)
            return False
        return True
