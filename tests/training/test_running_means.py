"""The figures of an epoch: the same whether or not the run was interrupted, of all towers, and never lost."""

import json

import pytest

from tests.support.training_fixtures import STEPS
from webvision.errors import Interrupted
from webvision.training.running_means import DECAY, FIGURES, FadingMean

SPEED = ("images-per-second", "data-wait-share")


def figures(train):
    return [{name: value for name, value in epoch.items() if name not in SPEED} for epoch in train.stats()]


def test_a_fading_mean_by_hand():
    mean = FadingMean()
    for value in (3.0, 5.0, 4.0):
        mean.add(value)
    weights = [DECAY**2, DECAY, 1]
    assert mean.value() == pytest.approx((3 * weights[0] + 5 * weights[1] + 4 * weights[2]) / sum(weights))
    again = FadingMean(*json.loads(json.dumps([mean.total, mean.weight])))
    for each in (mean, again):
        each.add(7.0)
    assert again.value() == mean.value()


def test_a_run_that_was_interrupted_shows_what_an_unbroken_one_shows(train, undisturbed):
    for fault in ("step:3:term", "step:3:term"):
        with pytest.raises(Interrupted):
            train(fault=fault)
    train()
    assert figures(train) == figures(undisturbed) and set(FIGURES) <= train.stats()[0].keys()


@pytest.mark.parametrize("epoch", [1, 2])
def test_an_epoch_whose_validation_was_killed_keeps_its_figures(train, undisturbed, epoch):
    passed = []

    def killed(here):
        passed.append(here)
        if here == "validate" and passed.count("epoch-end") == epoch - 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(fault=killed)
    train()
    assert figures(train) == figures(undisturbed)
    assert set(SPEED) <= train.stats()[epoch - 1].keys() and train.epochs() == [(1, 4), (2, STEPS)]


def test_the_training_error_is_that_of_all_towers(train):
    flags = ("--mode", "preact", "--epochs", "1")  # without batch norm, whose statistics are a tower's own
    train(*flags)
    one = train.stats()[0]
    train.folder = train.out / "three"
    train(*flags, "--towers", "3", "--name", "three")
    three = train.stats()[0]
    assert one["train-error-top1"] > 0
    for name in FIGURES:
        assert three[name] == pytest.approx(one[name], rel=1e-4), name


def test_a_short_run_is_traced_at_its_last_step(train):
    train("--trace", "--epochs", "1")
    assert "Traced step, milliseconds" in train.log()
    assert json.loads((train.folder / "timeline.json").read_text())["traceEvents"]
