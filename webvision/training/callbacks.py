"""What happens around the steps of a run: rate, timing, saving, signals, and the guard against divergence."""
import math
import signal
import time

from webvision.compat import tf, tfv1
from webvision.errors import DivergedError, Interrupted

from tensorpack.callbacks import Callback, HyperParamSetter
from tensorpack.utils import logger

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


class LearningRate(HyperParamSetter):
    """Sets `learning_rate` for each epoch to what the recipe says, also after a restart in mid-epoch."""

    def __init__(self, recipe):
        super().__init__("learning_rate")
        self._recipe = recipe

    def _get_value_to_set(self):
        return self._recipe.learning_rate(self.global_step // self._recipe.steps_per_epoch)


class StepWatch(Callback):
    """Fetches each step's loss with the step, stops at the first that is not finite, and tells where the time goes."""

    def __init__(self, batch, flow, *, log_every, batches_ahead):
        """`batches_ahead`: how many batches beyond its own a step takes from `flow` (staging takes the next one)."""
        self._batch = batch
        self._flow = flow
        self._log_every = log_every
        self._batches_ahead = batches_ahead

    def _setup_graph(self):
        losses = [tower.get_tensor("xentropy-loss") for tower in self.trainer.tower_func.towers.training()]
        self._loss = tf.add_n(losses) / len(losses) if len(losses) > 1 else losses[0]
        self._rate = next(v for v in tfv1.global_variables() if v.op.name == "learning_rate")

    def _before_epoch(self):
        self._epoch_start, self._epoch_steps, self._epoch_wait = time.perf_counter(), 0, 0.0
        self._recent_start, self._recent_steps, self._recent_wait = self._epoch_start, 0, 0.0

    def _before_run(self, _):
        self._started = time.perf_counter()
        return tfv1.train.SessionRunArgs(self._loss)

    def _after_run(self, _, values):
        self.loss = float(values.results)
        if not math.isfinite(self.loss):
            raise DivergedError(f"step {self.global_step + 1}: the loss is {self.loss}; the last checkpoint is finite and kept. "
                                "Give the same command with a lower --lr, or --load that checkpoint")
        # The flow's clock says when this step's batch was ready; what lies after the step's start was waiting.
        while self._batches_ahead and self._flow.ready_at:
            self._flow.ready_at.popleft()
            self._batches_ahead -= 1
        ready = self._flow.ready_at.popleft() if self._flow.ready_at else self._started
        wait = min(max(0.0, ready - self._started), time.perf_counter() - self._started)
        self._epoch_wait += wait
        self._recent_wait += wait
        self._epoch_steps += 1
        self._recent_steps += 1

    def _trigger_step(self):
        if self._recent_steps >= self._log_every:
            self._log_step()

    def _log_step(self):
        now, steps = time.perf_counter(), self._recent_steps
        logger.info("Epoch %d [%d/%d] loss %.4f, data %.3f s, step %.3f s, learning rate %.3g",
                    self.epoch_num, self.local_step + 1, self.trainer.steps_per_epoch, self.loss,
                    self._recent_wait / steps, (now - self._recent_start) / steps, self._rate.eval(self.trainer.sess))
        self._recent_start, self._recent_steps, self._recent_wait = now, 0, 0.0

    def _after_epoch(self):
        seconds = max(time.perf_counter() - self._epoch_start, 1e-9)
        put = self.trainer.monitors.put_scalar
        put("images-per-second", self._epoch_steps * self._batch / seconds)
        put("data-wait-share", self._epoch_wait / seconds)
        put("learning-rate", float(self._rate.eval(self.trainer.sess)))


class Saving(Callback):
    """Saves at each epoch's end, every `every_seconds`, when a signal asks the run to end, and at the run's end."""

    def __init__(self, writer_of, state_at, *, every_seconds, exit_code=None):
        """`writer_of()` makes the CheckpointWriter once the graph stands; `state_at(step)` is the State to save."""
        self._writer_of = writer_of
        self._state_at = state_at
        self._every = every_seconds
        self._exit_code = exit_code
        self._signal = None

    def _before_train(self):
        self._saved_at = time.monotonic()
        self._previous = {number: signal.signal(number, self._remember) for number in STOP_SIGNALS}

    def _remember(self, number, _frame):
        if self._signal == signal.SIGINT == number:       # a second Ctrl-C: now, with what is saved
            raise KeyboardInterrupt
        self._signal = number
        logger.warn("%s: finishing this step, saving, then ending (Ctrl-C again: at once)", signal.Signals(number).name)

    def _trigger_step(self):
        if self._signal:
            self.save()
            raise Interrupted(f"ended by {signal.Signals(self._signal).name} after step {self.global_step}, saved; "
                              "the same command continues", self._exit_code or 128 + self._signal)
        if time.monotonic() - self._saved_at >= self._every:
            self.save()

    def _trigger_epoch(self):
        self.save()

    def _after_train(self):
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def save(self):
        self._writer_of().save(self.trainer.sess, self._state_at(self.global_step))
        self._saved_at = time.monotonic()
