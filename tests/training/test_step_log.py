"""The lines and TensorBoard scalars between epochs, ours and DI-engine's."""

import re

import pytest

from webvision.compat import tf
from webvision.training.watching import step_log
from webvision.training.watching.step_log import Progress, StepTimes

NOW = Progress(
    epoch=1,
    step=11,
    steps=40037,
    loss=6.90776,
    mean=StepTimes(0.2, 0.0504, 0.11, 0.0003),
    last=StepTimes(0.1234, 1, 1, 1),
    seconds=0.36,
    rate=1e-4,
)


def test_a_line_is_di_engines_to_the_byte():
    assert step_log.line("di", NOW) == (
        "Epoch: 0 [  10/40037]\tLoss: 6.9078\tData Time: 0.123\tForward Time: 0.050\tBackward Time: 0.110\t"
        "GradSync Time: 0.000\tLR: 1.000e-04"
    )
    assert step_log.line("plain", NOW) == (
        "Epoch 1 [11/40037] loss 6.9078, data 0.200 s, step 0.360 s, learning rate 0.0001"
    )


def test_lines_come_when_the_style_has_them():
    plain = [step for step in range(1, 8) if step_log.is_due("plain", step=step, since_last=step % 3 or 3, every=3)]
    di = [step - 1 for step in range(1, 8) if step_log.is_due("di", step=step, since_last=9, every=3)]
    assert plain == [3, 6] and di == [0, 3, 6]


def scalars_of(folder):
    """{tag: [(step, value), ...]} of a run's event file."""
    (path,) = folder.glob("events.out.tfevents.*")
    found = {}
    for record in tf.compat.v1.io.tf_record_iterator(str(path)):
        event = tf.compat.v1.Event.FromString(record)
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def test_a_run_tells_tensorboard_of_every_line_and_its_log_of_no_more_than_before(train):
    train()  # 2 epochs of 4 steps, a line every 2
    found = scalars_of(train.folder)
    assert [step for step, _ in found["step/loss"]] == [2, 4, 6, 8]
    assert set(found) >= {"step/data-seconds", "step/seconds", "step/learning-rate"}
    assert not any(name.startswith("step/") for name in train.stats()[-1])
    assert len(re.findall(r"Epoch \d \[\d/4\] loss", train.log())) == 4


@pytest.mark.parametrize("towers", [1, 2])
def test_a_run_in_di_engines_style_measures_every_part(train, towers):
    train("--log-style", "di", "--towers", towers)
    lines = re.findall(
        r"Epoch: (\d) \[ {3}(\d)/4\]\tLoss: ([ \d.]+)\tData Time: [\d.]+\tForward Time: ([\d.]+)\t"
        r"Backward Time: ([\d.]+)\tGradSync Time: ([\d.]+)\tLR: [\d.]+e-\d\d",
        train.log(),
    )
    assert [line[:2] for line in lines] == [("0", "0"), ("0", "2"), ("1", "0"), ("1", "2")]
    found = scalars_of(train.folder)
    parts = ("forward_time_avg", "backward_time_avg", "sync_time_avg")
    for name in parts:
        assert [step for step, _ in found[f"learner/{name}"]] == [1, 3, 5, 7]
    # Of a network this small a part may take no time that the clock sees; all of them together do.
    for values in zip(*(found[f"learner/{name}"] for name in parts), strict=True):
        assert all(value >= 0 for _, value in values) and sum(value for _, value in values) > 0
    assert {"learner/cur_lr_avg", "learner/total_loss_avg", "learner/data_time_val", "learner/epoch_val"} <= set(found)
    validations = re.findall(r"acc1: ([\d.]{8,})\tacc5: ([\d.]{8,})\tloss: ([\d.]{8})", train.log())
    assert len(validations) == 2
    assert float(validations[1][0]) == pytest.approx(100 * (1 - train.stats()[-1]["val-error-top1"]), abs=1e-4)
    assert [step for step, _ in found["evaluator_iter/acc1"]] == [1, 2]
