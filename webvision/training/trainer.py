"""Synchronous data-parallel training on several GPUs, or on several CPU towers, one total batch a step."""

from webvision import faults, watchdog
from webvision.compat import tf, tfv1
from webvision.errors import WebvisionError

from tensorflow.python.ops.data_flow_ops import StagingArea
from tensorpack.callbacks import CallbackFactory
from tensorpack.dataflow import DataFlow
from tensorpack.graph_builder.training import SyncMultiGPUReplicatedBuilder
from tensorpack.input_source import QueueInput, StagingInput
from tensorpack.train import SyncMultiGPUTrainerReplicated

QUEUED_BATCHES = 4  # total batches waiting for the step: 4 x 38 MB at 256 pictures of 224 px


class ReplicatedTrainer(SyncMultiGPUTrainerReplicated):
    """tensorpack's replicated trainer, which can start in the middle of an epoch and never hides why it ended.

    On GPUs gradients are averaged by NCCL through TensorFlow's collective ops: tensorpack's own 'nccl' mode uses ops
    that deadlock since TF 1.15 (tensorflow#41539). Without a GPU the towers share the CPU ('cpu' mode).
    """

    def __init__(self, towers, *, on_gpu):
        super().__init__(towers)
        mode = "collective" if on_gpu and towers > 1 else "cpu"
        self._builder = SyncMultiGPUReplicatedBuilder(list(range(towers)), True, mode)
        self.input_flow = None
        self.finished_early = None  # why, once a callback finds that the run has reached its goal

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
        if done and not rest and self.epoch_ends_recorded() < done:
            self.loop._epoch_num, self.loop._local_step = done, self.steps_per_epoch - 1
            self._callbacks.trigger_epoch()

    def epoch_ends_recorded(self):
        """How many epochs the run's history holds; the history sets this."""
        return 0

    def _input_error(self):
        error = self.input_flow.error if self.input_flow else None
        if isinstance(error, WebvisionError):
            return error
        return RuntimeError(f"the input pipeline ended before the training did: {error!r}")


class WatchedFlow(DataFlow):
    """An endless data flow that remembers what ended it."""

    def __init__(self, flow):
        self._flow = flow
        self.error = None

    def reset_state(self):
        self._flow.reset_state()

    def __len__(self):
        return 1 << 40  # a training loader goes from epoch to epoch by itself

    def __iter__(self):
        try:
            yield from self._flow
        except Exception as error:
            self.error = error
            raise


class TotalBatchInput(QueueInput):
    """One queue of total batches, each cut into equal pieces for the towers.

    Which tower gets which pictures then does not depend on which one asks first, so that a run repeats bit for bit
    and 1, 2 and 4 towers see the same batch in the same step.
    """

    def __init__(self, flow, towers):
        super().__init__(flow)
        self._towers = towers
        self._pieces = None
        self.arrived_at = None  # once the graph stands: a tensor, the time at which a run got its batch

    def _setup(self, inputs):
        self.queue = tfv1.FIFOQueue(QUEUED_BATCHES, [spec.dtype for spec in inputs], name="input_queue")
        super()._setup(inputs)

    def _create_ema_callback(self):
        # tensorpack keeps a running mean of the queue's length in the checkpoint: the one variable that depends on
        # time.
        return CallbackFactory()

    def _get_input_tensors(self):
        if self._pieces is None:
            with tf.device("/cpu:0"):
                batch = super()._get_input_tensors()
                with tf.control_dependencies(batch):
                    self.arrived_at = tf.timestamp(name="batch_arrived_at")
                cut = [tf.split(tensor, self._towers) for tensor in batch] if self._towers > 1 else [[t] for t in batch]
                self._pieces = [list(piece) for piece in zip(*cut)]
                for piece in self._pieces:
                    for tensor, placeholder in zip(piece, self._input_placehdrs):
                        tensor.set_shape(placeholder.shape)
        return self._pieces.pop(0)


class SessionCreator(tfv1.train.SessionCreator):
    """A session with initialised variables; tensorpack's own warns twice about every custom configuration."""

    def __init__(self, config):
        self._config = config

    def create_session(self):
        session = tfv1.Session(config=self._config)
        session.run(
            [tfv1.global_variables_initializer(), tfv1.local_variables_initializer(), tfv1.tables_initializer()]
        )
        return session


class RoomyStagingInput(StagingInput):
    """Staging whose operations never wait for one another.

    A step puts the next batch into the area and takes its own out of it, in either order. tensorpack's area holds one
    batch, so that the first of these may block a thread until the second has run; where that was the last thread, the
    step hangs.
    """

    def _get_input_tensors(self):
        batch = self._input.get_input_tensors()
        with self.cached_name_scope():
            area = StagingArea([tensor.dtype for tensor in batch], [tensor.shape for tensor in batch], capacity=2)
            self._stage_ops.append(area.put(batch))
            self._unstage_ops.append(area.get())
        return self._unstage_ops[-1]


def staged(batches, *, on_gpu):
    """On GPUs, copy the next batch while a step computes; on the CPU there is nowhere to copy to."""
    return RoomyStagingInput(batches) if on_gpu else batches
