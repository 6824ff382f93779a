"""What a run shows and keeps of its progress: one line an epoch, stats.json in tensorpack's format, TensorBoard's
events.

Figures may be lost, with a warning; a training never ends because its figures cannot be written.
"""

import functools
import json
import os

from webvision.compat import tf
from webvision.errors import printable
from webvision.files import write_json

from tensorpack.callbacks import MonitorBase, TFEventWriter
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
        self._epochs = [entry for entry in _read_list(self._path) if entry.get("global_step", 0) <= restored_step]
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


def _read_list(path):
    try:
        with open(path, encoding="utf-8") as file:
            entries = json.load(file)
        return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    except (FileNotFoundError, ValueError):
        return []


def _or_warn(method):
    """`method`, after whose first failure the event file is given up."""

    @functools.wraps(method)
    def wrapped(self, *args):
        if self.given_up:
            return
        try:
            method(self, *args)
        except (OSError, ValueError, tf.errors.OpError) as error:
            self.given_up = True
            logger.warning(
                "TensorBoard's event file cannot be written (%s); its figures end here", str(error).splitlines()[0]
            )

    return wrapped


class EventFile(TFEventWriter):
    """TensorBoard's event file."""

    given_up = False
    _setup_graph = _or_warn(TFEventWriter._setup_graph)
    _write_graph = _or_warn(TFEventWriter._write_graph)
    _trigger = _or_warn(TFEventWriter._trigger)
    _after_train = _or_warn(TFEventWriter._after_train)
    process_summary = _or_warn(TFEventWriter.process_summary)
    process_event = _or_warn(TFEventWriter.process_event)
