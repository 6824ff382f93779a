"""What a run says every so many steps: where the time went, in one of two styles, and the same for TensorBoard.

`plain` is one line of ours. `di` is DI-engine's, field by field, with tags as its own TensorBoard has them; validation
is then told in percent of right answers. Times are means over the steps since the last line, but DI-engine's Data Time,
which is the last step's.
"""

from dataclasses import dataclass

from webvision.compat import tf
from webvision.training.graph.clock import now


@dataclass(frozen=True)
class StepTimes:
    """Seconds of one step, or sums of them. The parts are measured for the style `di` only."""

    data: float = 0.0  # nothing was computed for want of a batch
    forward: float = 0.0  # up to the loss of every tower
    backward: float = 0.0  # up to the gradients of every tower
    sync: float = 0.0  # averaging them over the towers, and the update

    def __add__(self, other):
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return StepTimes(*(a + b for a, b in pairs))

    def __truediv__(self, count):
        return StepTimes(*(value / count for value in vars(self).values()))


@dataclass(frozen=True)
class Progress:
    """What one line tells."""

    epoch: int  # from 1
    step: int  # of the epoch, from 1
    steps: int  # of an epoch
    loss: float
    mean: StepTimes
    last: StepTimes
    seconds: float  # a step, all in all
    rate: float


def is_due(style, *, step, since_last, every):
    """Whether there is a line after the epoch's step number `step` (from 1), `since_last` steps after the one before.

    DI-engine counts batches from 0 and tells of those that `every` divides.
    """
    return (step - 1) % every == 0 if style == "di" else since_last >= every


def line(style, now):
    """The log's line."""
    if style == "di":
        return (
            f"Epoch: {now.epoch - 1} [{now.step - 1:>4d}/{now.steps}]\tLoss: {now.loss:>6.4f}\t"
            f"Data Time: {now.last.data:.3f}\tForward Time: {now.mean.forward:.3f}\t"
            f"Backward Time: {now.mean.backward:.3f}\tGradSync Time: {now.mean.sync:.3f}\tLR: {now.rate:.3e}"
        )
    return (
        f"Epoch {now.epoch} [{now.step}/{now.steps}] loss {now.loss:.4f}, data {now.mean.data:.3f} s, "
        f"step {now.seconds:.3f} s, learning rate {now.rate:.3g}"
    )


def scalars(style, now):
    """The same as {tag: value} for TensorBoard, at the step."""
    if style == "di":
        return {
            "learner/cur_lr_avg": now.rate,
            "learner/total_loss_avg": now.loss,
            "learner/forward_time_avg": now.mean.forward,
            "learner/backward_time_avg": now.mean.backward,
            "learner/sync_time_avg": now.mean.sync,
            "learner/data_time_val": now.last.data,
            "learner/epoch_val": now.epoch - 1,
        }
    return {
        "step/loss": now.loss,
        "step/learning-rate": now.rate,
        "step/data-seconds": now.mean.data,
        "step/seconds": now.seconds,
    }


def accuracies(figures):
    """{'acc1': percent, 'acc5': percent, 'loss': mean} of a validation's figures."""
    return {
        "acc1": 100 * (1 - figures["val-error-top1"]),
        "acc5": 100 * (1 - figures["val-error-top5"]),
        "loss": figures["val-loss"],
    }


def validation_line(figures):
    """DI-engine's figures of a validation, in one line."""
    return "\t".join(f"{name}: {value:.6f}" for name, value in accuracies(figures).items())


def time_when(tensors):
    """Tensors: the time when all of `tensors` have been computed, and what has to be fetched with it.

    A GPU's operation counts as done once it is queued; that a value came back from it says that the GPU is there.
    """
    firsts = []
    for tensor in tensors:
        with tf.device(tensor.device):
            firsts.append(tf.cast(tf.reshape(tensor, [-1])[0], tf.float32))
    with tf.device("/cpu:0"):
        fence = tf.add_n(firsts)
        with tf.control_dependencies([fence]):
            return now("part_computed_at"), fence
