"""Validation at the end of each epoch: the error on the val list, per picture and per class."""

import numpy as np

from webvision import faults, watchdog
from webvision.compat import tfv1
from webvision.errors import DivergedError
from webvision.model.towers import PredictionTowers
from webvision.scoring.figures import metrics
from webvision.scoring.figures.stop_rules import ImageMeans
from webvision.scoring.predictions.scan import NOTHING

from tensorpack.callbacks import Callback

AVERAGED = "average-"  # before the figures of the averaged weights


class Validation(Callback):
    """Runs the network over `loader` after each epoch and puts the four errors and the mean loss on the monitors.

    The towers' variable scopes come from the trainer; `on_result(step, figures)` is told last. A request to end is
    heeded between two batches: the epoch is saved by then, and the same command validates it again.
    """

    def __init__(self, forward, loader, *, devices, stop, on_result):
        self._forward = forward
        self._loader = loader
        self._devices = devices
        self._stop = stop
        self._on_result = on_result
        self.averages = None  # the callback that keeps averaged weights: they are validated beside the last ones

    def _setup_graph(self):
        scopes = [self.trainer._vs_name_for_predictor(index) for index in range(len(self._devices))]
        self._towers = {"": PredictionTowers(self._forward, self._devices, variable_scopes=scopes)}
        if self.averages is not None:
            with self.averages.in_place_of_weights(), tfv1.name_scope("averaged"):
                first = [self.trainer._vs_name_for_predictor(0)] * len(self._devices)
                self._towers[AVERAGED] = PredictionTowers(self._forward, self._devices, variable_scopes=first)

    def _trigger_epoch(self):
        labels, seen = [], {prefix: ([], ImageMeans()) for prefix in self._towers}
        with watchdog.section("validation"):
            for batch in self._loader:
                faults.point("validate")
                labels.append(np.array(batch.labels))
                unreadable = np.asarray(batch.status) != 0  # what was shown in their place is no picture
                for prefix, (top, means) in seen.items():
                    best, logits = self._towers[prefix].run(self.trainer.sess, batch.images, ["top", "logits"])
                    self._refuse_nan(logits)
                    best, logits = (
                        np.where(unreadable[:, None], fill, array) for fill, array in ((NOTHING, best), (0, logits))
                    )
                    means.add(logits, labels[-1], unreadable=unreadable)
                    top.append(best)
                watchdog.reach()
                self._stop.heed(f"while validating step {self.global_step}")
        figures, labels = {}, np.concatenate(labels)
        for prefix, (top, means) in seen.items():
            found = four_errors(labels, np.concatenate(top), self._forward.network.num_classes)
            found["val-loss"] = means.result()["loss"]
            figures |= {prefix + name: value for name, value in found.items()}
        for name, value in figures.items():
            self.trainer.monitors.put_scalar(name, value)
        self._on_result(self.global_step, figures)

    def _refuse_nan(self, logits):
        if not np.isfinite(logits).all():
            raise DivergedError(
                f"step {self.global_step}: the network answers a validation picture with NaN or infinity; go on from "
                "an earlier checkpoint with a lower --lr",
                step=self.global_step,
            )


def four_errors(labels, top, num_classes):
    """Top-1 and top-5 error, plain and class-balanced, under the names the monitors know."""
    errors = {}
    for k in (1, 5):
        wrong = metrics.topk_wrong(labels, top, k)
        errors[f"val-error-top{k}"] = float(wrong.mean())
        errors[f"val-balanced-error-top{k}"] = float(metrics.balanced_error(labels, wrong, num_classes))
    return errors
