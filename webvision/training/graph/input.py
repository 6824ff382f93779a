"""The way of training batches into the graph: from NumPy to a queue, cut for the towers, and ahead onto GPUs."""

from webvision.compat import tf, tfv1
from webvision.errors import WebvisionError
from webvision.training.graph.clock import now

from tensorflow.python.ops.data_flow_ops import StagingArea
from tensorpack.callbacks import CallbackFactory
from tensorpack.dataflow import DataFlow, DataFlowTerminated
from tensorpack.input_source import QueueInput, StagingInput

QUEUED_BATCHES = 4  # total batches waiting for the step: 4 x 38 MB at 256 pictures of 224 px


class TrainingFlow(DataFlow):
    """TrainBatches as tensorpack's queue takes them, the arrays that are fed; remembers what ended them."""

    def __init__(self, batches, feed=None):
        """`feed(batch)`: the arrays, in the order of the graph's inputs; without it those that the spec names."""
        self._batches = batches
        self._feed = feed or (lambda batch: [getattr(batch, name) for name in batches.spec.fed])
        self.error = None

    def __len__(self):
        return 1 << 40  # they go from epoch to epoch by themselves

    def __iter__(self):
        try:
            for batch in self._batches:
                yield self._feed(batch)
        except WebvisionError as error:
            self.error = error  # the command ends with it; the thread that feeds the queue would print its traceback
            raise DataFlowTerminated from None
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
                    self.arrived_at = now("batch_arrived_at")
                cut = [tf.split(tensor, self._towers) for tensor in batch] if self._towers > 1 else [[t] for t in batch]
                self._pieces = [list(piece) for piece in zip(*cut)]
                for piece in self._pieces:
                    for tensor, placeholder in zip(piece, self._input_placehdrs):
                        tensor.set_shape(placeholder.shape)
        return self._pieces.pop(0)


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


def staged(batches, devices):
    """`batches`, the next of which is on its way while a step computes, where `devices` want it so."""
    return RoomyStagingInput(batches) if devices.staged else batches
