"""What a run shows and keeps of its progress: one line an epoch, stats.json in tensorpack's format, TensorBoard's
events.

Figures may be lost, with a warning; a training never ends because its figures cannot be written.
"""

import contextlib
import os
import socket
import time

from webvision.compat import tf, tfv1
from webvision.errors import CheckpointError, printable, short_reason
from webvision.files import write_json
from webvision.training.state.files import parse_epochs, read_state

from tensorpack.callbacks import MonitorBase
from tensorpack.utils import logger


class EpochLine(MonitorBase):
    """Prints one line after each epoch."""

    def __init__(self, epochs):
        self._epochs = epochs
        self._values = {}

    def process_scalar(self, name, value):
        self._values[name] = float(value)

    def _trigger_epoch(self):
        logger.info(epoch_line(self.epoch_num, self._epochs, self.global_step, self._values))


def epoch_line(epoch, epochs, step, values):
    """The line for one epoch from the monitors' scalars; what was not measured is left out."""

    def errors(title, top1, top5):
        if top1 not in values:
            return None
        return f"{title} {values[top1]:.4f}/{values[top5]:.4f}"

    parts = [
        f"loss {values['xentropy-loss']:.4f}" if "xentropy-loss" in values else None,
        errors("train error top-1/5", "train-error-top1", "train-error-top5"),
        errors("val", "val-error-top1", "val-error-top5"),
        errors("val balanced", "val-balanced-error-top1", "val-balanced-error-top5"),
        f"{values['images-per-second']:.0f} images/s" if "images-per-second" in values else None,
        f"waiting for data {values['data-wait-share']:.1%}" if "data-wait-share" in values else None,
        f"learning rate {values['learning-rate']:.3g}" if "learning-rate" in values else None,
    ]
    return f"Epoch {epoch}/{epochs} (step {step}): " + ", ".join(part for part in parts if part)


class History(MonitorBase):
    """Appends every epoch's scalars to stats.json, a list of objects with `epoch_num` and `global_step`.

    After a restart it keeps exactly the epochs that the restored step has behind it.
    """

    def __init__(self, folder, *, restored_step):
        self._path = os.path.join(folder, "stats.json")
        self._epochs = [entry for entry in _read_epochs(self._path) if entry["global_step"] <= restored_step]
        self._values = {}

    def latest(self):
        """The figures of the last epoch; {} in a new run."""
        return self._epochs[-1] if self._epochs else {}

    def epochs(self):
        """The figures of every epoch so far, in order."""
        return list(self._epochs)

    def epochs_recorded(self):
        return max((entry["epoch_num"] for entry in self._epochs), default=0)

    def process_scalar(self, name, value):
        self._values[name] = float(value)

    def _trigger_epoch(self):
        self._epochs.append(dict(self._values, epoch_num=self.epoch_num, global_step=self.global_step))
        self._values = {}
        try:
            write_json(self._path, self._epochs)
        except OSError as error:
            logger.warn(
                "%s cannot be written: %s; the epoch's figures are in log.log only", printable(self._path), error
            )


def _read_epochs(path):
    """The epochs in stats.json; a damaged one is set aside, since the next epoch would write over it."""
    try:
        return read_state(path, parse_epochs, "") or []
    except CheckpointError as error:
        aside = f"{path}.damaged"
        with contextlib.suppress(OSError):
            os.replace(path, aside)
        logger.error("%sset aside as %s; the figures begin anew", error, printable(aside))
        return []


_UNWRITABLE = (OSError, ValueError, RuntimeError, tf.errors.OpError)


class EventFile(MonitorBase):
    """TensorBoard's event file; ends with a warning at the first record that cannot be written.

    Not TensorFlow's FileWriter, whose thread dies of a full disk with a traceback and raises whatever C++ gave it
    (RuntimeError, IndexError) where the training stands. Its records are written here by whoever has them.
    """

    def __init__(self, folder):
        self._folder = folder
        self._writer = None

    def _setup_graph(self):
        path = os.path.join(self._folder, f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}")
        try:
            self._writer = tf.io.TFRecordWriter(path)
        except _UNWRITABLE as error:
            self._give_up(error)
        self._put(tfv1.Event(wall_time=time.time(), file_version="brain.Event:2"))

    def _before_train(self):
        self._put(tfv1.Event(wall_time=time.time(), graph_def=self.graph.as_graph_def().SerializeToString()))

    def process_summary(self, summary):
        self._put(tfv1.Event(wall_time=time.time(), step=self.global_step, summary=summary))

    def put_scalars(self, step, values):
        """{tag: value} at `step`; of what is told more often than an epoch's figures."""
        parts = [tfv1.Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._put(tfv1.Event(wall_time=time.time(), step=step, summary=tfv1.Summary(value=parts)))

    def process_event(self, event):
        self._put(event)

    def _put(self, event):
        self._or_give_up(lambda: self._writer.write(event.SerializeToString()))

    def _trigger(self):
        self._or_give_up(lambda: self._writer.flush())

    def _after_train(self):
        self._or_give_up(lambda: self._writer.close())
        self._writer = None

    def _or_give_up(self, action):
        if self._writer is not None:
            try:
                action()
            except _UNWRITABLE as error:
                self._give_up(error)

    def _give_up(self, error):
        self._writer = None
        logger.warning("TensorBoard's event file cannot be written (%s); its figures end here", short_reason(error))
