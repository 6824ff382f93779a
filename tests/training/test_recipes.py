"""Recipes: their schedules at the knots, their fields from text, and what of them a run keeps."""

import dataclasses
import math

import pytest

from webvision.training.recipes import CARD, RECIPES, WEB, Recipe, recipe_named, visits_told, with_settings


def test_the_card_recipe_at_its_knots():
    recipe = Recipe()
    assert recipe.steps_per_epoch == 5000 and recipe.total_steps == 550_000
    rates = {epoch: recipe.learning_rate(epoch * 5000) for epoch in (0, 29, 30, 59, 60, 89, 90, 109)}
    assert rates == pytest.approx({0: 0.1, 29: 0.1, 30: 0.01, 59: 0.01, 60: 0.001, 89: 0.001, 90: 0.0001, 109: 0.0001})
    assert recipe.learning_rate(149_999) == 0.1 and recipe.learning_rate(150_000) == pytest.approx(0.01)


def test_a_large_batch_warms_up_from_a_tenth_over_three_epochs_in_stairs():
    recipe = Recipe(batch=1024)
    steps = recipe.steps_per_epoch
    assert [recipe.learning_rate(e * steps) for e in range(5)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])
    assert recipe.learning_rate(steps - 1) == 0.1


def test_a_small_batch_has_a_rate_and_no_warm_up():
    assert Recipe(batch=8).learning_rate(0) == pytest.approx(0.1 * 8 / 256)


@pytest.mark.parametrize("epochs", [1, 2, 3, 10, 110])
def test_every_length_of_run_begins_at_its_rate_and_falls_three_times_one_after_the_other(epochs):
    recipe = Recipe(epochs=epochs)
    total = recipe.total_steps
    assert recipe.falls == tuple(round(m * total / 110) for m in (30, 60, 90))
    for number, fall in enumerate(recipe.falls):
        assert recipe.learning_rate(fall - 1) == pytest.approx(0.1 * 0.1**number)
        assert recipe.learning_rate(fall) == pytest.approx(0.1 * 0.1 ** (number + 1))
    assert recipe.knots() == [(0, 0.1)] + [
        (fall, pytest.approx(0.1 * 0.1 ** (i + 1))) for i, fall in enumerate(recipe.falls)
    ]


def test_a_run_of_a_few_steps_still_begins_at_its_rate():
    for steps in (1, 2, 3, 4):
        recipe = Recipe(epochs=1, epoch_size=steps, batch=1, lr=1.0)
        assert [recipe.learning_rate(step) for step in range(steps)] == pytest.approx([1, 0.1, 0.01, 0.001][:steps])


@pytest.mark.parametrize("epochs", [1, 2, 3, 10, 110])
def test_cosine_at_seven_points(epochs):
    recipe = Recipe(epochs=epochs, schedule="cosine")
    for part in range(7):
        step = recipe.total_steps * part // 6
        assert recipe.learning_rate(step) == pytest.approx(
            0.05 * (1 + math.cos(math.pi * step / recipe.total_steps)), abs=1e-9
        )


def test_cosine_goes_on_where_the_warm_up_ends():
    recipe = Recipe(batch=1024, schedule="cosine")
    assert recipe.learning_rate(recipe.warmup_steps) == pytest.approx(0.4)
    assert recipe.learning_rate((recipe.warmup_steps + recipe.total_steps) // 2) == pytest.approx(0.2, rel=1e-3)
    assert recipe.knots()[0] == (0, 0.1) and recipe.knots()[-1][1] < 1e-8


def test_an_epoch_shorter_than_a_batch_is_one_step():
    assert Recipe(epoch_size=10, batch=64).steps_per_epoch == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch": 0},
        {"epoch_size": 0},
        {"optimizer": "lamb"},
        {"schedule": "linear"},
        {"label_smoothing": 1.0},
        {"mixup": -1.0},
        {"sam": float("nan")},
    ],
)
def test_a_recipe_that_trains_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Recipe(**wrong)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_a_learning_rate_that_learns_nothing_is_refused(rate):
    with pytest.raises(ValueError, match="learning rate"):
        Recipe(lr=rate)


def test_every_field_can_be_set_from_text():
    recipe = with_settings(
        CARD,
        [
            "mixup=0.2",
            "milestones=50,75",
            "optimizer=adamw",
            "lr=0.003",
            "margins=true",
            "view.flip=false",
            "view.area=0.25,1",
            "neighbours_queue=0",
        ],
    )
    assert (recipe.mixup, recipe.milestones, recipe.optimizer, recipe.lr) == (0.2, (50, 75), "adamw", 0.003)
    assert recipe.margins and not recipe.view.flip and recipe.view.area == (0.25, 1.0) and not recipe.neighbours_queue
    assert with_settings(recipe, ["lr=none"]).lr is None and CARD == Recipe(), "the named one stays what it is"


@pytest.mark.parametrize(
    "text, words",
    [
        ("mixing=1", "no field 'mixing' .did you mean 'mixup'"),
        ("view.flop=true", "did you mean 'view.flip'"),
        ("mixup", "is field=value"),
        ("mixup=much", "a number is needed"),
        ("batch=2.5", "a whole number is needed"),
        ("margins=1", "true or false is needed"),
        ("view=plain", "set one of view.area"),
        ("mixup.a=1", "set one of"),
        ("name=other", "no field 'name'"),
        ("view.image_size=3", "no field"),
        ("label_smoothing=2", "below 1"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_in_words(text, words):
    with pytest.raises(ValueError, match=words):
        with_settings(CARD, [text])


def test_recipes_are_known_by_name():
    assert recipe_named("card") == Recipe() and {"card", "web"} <= RECIPES.keys()
    with pytest.raises(ValueError, match="did you mean 'web'"):
        recipe_named("wep")


def test_a_run_says_how_often_its_pictures_are_seen():
    card = dataclasses.replace(CARD, epochs=1, epoch_size=200 * 4, batch=10)
    assert visits_told(card, [100, 10], [100, 100]) == "each picture is seen 4.0 to 40 times"
    web = dataclasses.replace(WEB, epochs=1, epoch_size=110 * 25, batch=10)
    assert visits_told(web, [100, 0, 10], [100, 0, 10]) == "each picture is seen 25 to 25 times"
