"""Early stopping and the plateau's rate: functions of the recorded history."""

import itertools

import pytest

from webvision.training.small_sets.early_stop import Patience, falls, is_over, standing


def history(*values, figure="val-error-top1"):
    return [{figure: value} for value in values]


def stops_after(values, patience, figure="val-error-top1"):
    """After which epoch a run that records `values` ends, or None."""
    return next((n for n in range(1, len(values) + 1) if is_over(history(*values[:n], figure=figure), patience)), None)


def test_it_ends_when_no_epoch_of_the_patience_was_better():
    assert stops_after([0.5, 0.4, 0.4, 0.41, 0.45, 0.1], Patience(epochs=3)) == 5
    assert stops_after([0.5, 0.4, 0.4, 0.39, 0.45, 0.5], Patience(epochs=3)) is None


def test_the_direction_is_the_figures():
    rising = [0.1, 0.2, 0.3, 0.4]
    assert stops_after(rising, Patience("val-accuracy-top1", epochs=2), "val-accuracy-top1") is None
    assert stops_after(rising, Patience("val-loss", epochs=2), "val-loss") == 3
    with pytest.raises(ValueError, match="no figure 'val-acc'"):
        Patience("val-acc")


def test_ties_keep_the_earlier_and_small_gains_count_by_min_delta():
    assert standing(history(0.4, 0.4, 0.4), Patience()).best_epoch == 1
    assert standing(history(0.4, 0.395, 0.37), Patience(min_delta=0.01)).best_epoch == 3
    assert standing(history(0.4, 0.395, 0.393), Patience(min_delta=0.01)).since == 2


@pytest.mark.parametrize("nothing", [float("nan"), float("inf"), None, "0.1"])
def test_what_is_no_number_is_never_better(nothing):
    assert standing(history(nothing, 0.5, nothing), Patience()).best_epoch == 2
    assert stops_after([nothing] * 3, Patience(epochs=3)) == 3
    assert standing([{}, {}], Patience()) == standing(history(nothing, nothing), Patience())


def test_warm_up_ends_nothing():
    assert stops_after([0.1, 0.2, 0.3, 0.4, 0.5], Patience(epochs=2, not_before=4)) == 5


def test_a_run_that_goes_on_after_a_kill_ends_at_the_same_epoch():
    """The decision is a function of the history's prefix: nothing is remembered besides."""
    for values in itertools.product((0.3, 0.2, float("nan")), repeat=6):
        patience = Patience(epochs=2)
        once = stops_after(list(values), patience)
        again = next((n for n in range(1, 7) if is_over(history(*values)[:n], patience)), None)
        assert once == again


def test_the_rate_falls_each_time_a_plateau_is_full():
    values = [0.5, 0.4, 0.4, 0.4, 0.4, 0.4, 0.39, 0.4, 0.4]
    assert [falls(history(*values[:n]), Patience(), plateau=2) for n in range(len(values) + 1)] == [
        0, 0, 0, 0, 1, 1, 2, 2, 2, 3,
    ]  # fmt: skip
