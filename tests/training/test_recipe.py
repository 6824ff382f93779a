import pytest

from webvision.training.recipe import Recipe


def test_the_card_recipe_at_its_knots():
    recipe = Recipe()
    assert recipe.steps_per_epoch == 5000 and recipe.total_steps == 550_000
    rates = {epoch: recipe.learning_rate(epoch) for epoch in (0, 29, 30, 59, 60, 89, 90, 109)}
    assert rates == pytest.approx({0: 0.1, 29: 0.1, 30: 0.01, 59: 0.01, 60: 0.001, 89: 0.001, 90: 0.0001, 109: 0.0001})


def test_a_large_batch_warms_up_from_a_tenth_over_three_epochs():
    recipe = Recipe(batch=1024)
    assert [recipe.learning_rate(epoch) for epoch in range(5)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])


def test_a_small_batch_has_a_rate_and_no_warm_up():
    assert Recipe(batch=8).learning_rate(0) == pytest.approx(0.1 * 8 / 256)


def test_fewer_epochs_scale_the_schedule():
    recipe = Recipe(epochs=11)
    assert [recipe.learning_rate(epoch) for epoch in (2, 3, 6, 9)] == pytest.approx([0.1, 0.01, 0.001, 0.0001])


def test_an_epoch_shorter_than_a_batch_is_one_step():
    assert Recipe(epoch_size=10, batch=64).steps_per_epoch == 1


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch": 0}, {"epoch_size": 0}, {"lr": 0.0}, {"lr": float("nan")}])
def test_a_recipe_that_trains_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong)) if "lr" not in wrong else "learning rate"):
        Recipe(**wrong)
