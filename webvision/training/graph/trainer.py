"""Synchronous data-parallel training on several GPUs, or on several CPU towers, one total batch a step."""

from webvision import faults, watchdog
from webvision.compat import tf, tfv1
from webvision.errors import WebvisionError
from webvision.model.session import open_session
from webvision.training.graph.replicas import Replicas

from tensorpack.train import SyncMultiGPUTrainerReplicated


class ReplicatedTrainer(SyncMultiGPUTrainerReplicated):
    """tensorpack's replicated trainer, which can start in the middle of an epoch and never hides why it ended.

    Its graph is built by Replicas: tensorpack's own 'nccl' mode uses ops that deadlock since TF 1.15
    (tensorflow#41539).
    """

    def __init__(self, devices, *, flow=None, epochs_recorded=lambda: 0):
        """`flow`: the TrainingFlow whose end ends the training; `epochs_recorded()`: how many epochs the history
        holds."""
        super().__init__(devices.count)
        self._builder = Replicas(devices)
        self._flow = flow
        self._epochs_recorded = epochs_recorded
        self.finished_early = None  # why, once a callback finds that the run has reached its goal

    def gradients(self):
        """The gradients of every tower, before they are averaged; once the graph stands."""
        return self._builder.gradients

    def main_loop(self, steps_per_epoch, starting_epoch, max_epoch):
        """Train up to `max_epoch`, from wherever the restored global step says that training stands."""
        with self.sess.as_default():
            self.loop.config(steps_per_epoch, starting_epoch, max_epoch)
            self.loop.update_global_step()
            try:
                self._callbacks.before_train()
                self.loop.update_global_step()
                self._finish_interrupted_epoch_end()
                while self.loop.global_step < steps_per_epoch * max_epoch and not self.finished_early:
                    self._train_epoch()
            except tf.errors.OutOfRangeError:
                raise self._input_error() from None
            finally:
                self._callbacks.after_train()
                self.hooked_sess.close()

    def _train_epoch(self):
        done, first = divmod(self.loop.global_step, self.steps_per_epoch)
        self.loop._epoch_num = done + 1
        self._callbacks.before_epoch()
        for self.loop._local_step in range(first, self.steps_per_epoch):
            self.run_step()
            watchdog.reach("step")
            faults.point("step")
            self._callbacks.trigger_step()
        self._callbacks.after_epoch()
        self._callbacks.trigger_epoch()
        faults.point("epoch-end")

    def _finish_interrupted_epoch_end(self):
        """If the run ended between an epoch's last step and the end of its validation, do the rest of that epoch."""
        done, rest = divmod(self.loop.global_step, self.steps_per_epoch)
        if done and not rest and self._epochs_recorded() < done:
            self.loop._epoch_num, self.loop._local_step = done, self.steps_per_epoch - 1
            self._callbacks.trigger_epoch()

    def _input_error(self):
        error = self._flow.error if self._flow else None
        if isinstance(error, WebvisionError):
            return error
        return RuntimeError(f"the input pipeline ended before the training did: {error!r}")


class SessionCreator(tfv1.train.SessionCreator):
    """A session on `devices` with initialised variables; tensorpack's own warns about every custom configuration."""

    def __init__(self, devices, config=None):
        self._devices, self._config = devices, config

    def create_session(self):
        session = open_session(self._devices, config=self._config)
        session.run(
            [tfv1.global_variables_initializer(), tfv1.local_variables_initializer(), tfv1.tables_initializer()]
        )
        return session
