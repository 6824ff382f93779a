"""What small sets need of a training: rates by layer, frozen statistics, an end and a fall that validation decides."""

import json
import os
import signal

import numpy as np
import pytest

from tests.support.training_fixtures import at
from webvision.errors import Interrupted
from webvision.model.weights import open_weights
from webvision.training.parts.layer_rates import layer_scales
from webvision.training.recipes import Recipe


def test_rates_fall_by_quarters_and_the_head_has_its_own():
    names = ["conv0/W", *(f"block{i}/dw/W" for i in range(6)), "conv_last/bn/gamma", "linear/W", "linear/b"]
    scales = layer_scales(names, head_rate=3.0, depth_decay=2.0)
    assert [scales[name] for name in names] == [1 / 8, 1 / 8, 1 / 4, 1 / 4, 1 / 2, 1 / 2, 1, 1, 3, 3]
    towers = layer_scales([f"tower1/{name}" for name in names], head_rate=3.0, depth_decay=2.0)
    assert list(towers.values()) == list(scales.values())
    assert set(layer_scales(["linear/W"], head_rate=1.0, depth_decay=2.6).values()) == {1.0}


def test_the_rate_of_a_plateau_follows_the_history_alone():
    recipe = Recipe(schedule="plateau", lr=0.01, plateau=2)
    history = [{"val-error-top1": value} for value in (0.5, 0.4, 0.4, 0.4, 0.3)]
    assert [recipe.rate_scale(history[:n]) for n in range(6)] == pytest.approx([1, 1, 1, 1, 0.1, 0.1])
    assert recipe.learning_rate(10**6) == 0.01 and Recipe().rate_scale(history) == 1.0
    with pytest.raises(ValueError, match="plateau is at least one epoch"):
        Recipe(plateau=0)


@pytest.fixture
def with_recipe(train):
    """Trainings whose recipe has other fields, as a command for small sets gives them."""

    def with_recipe(*args, fault="", **fields):
        settings = [part for name, value in fields.items() for part in ("--set", f"{name}={value}")]
        train(*args, *settings, fault=fault)

    return with_recipe


def test_frozen_statistics_stay_to_the_bit_and_the_rest_learns(train, with_recipe):
    train()
    first = open_weights(str(train.folder / "model-8"))
    with_recipe("--load", str(train.folder / "model-8"), "--name", "frozen", frozen_statistics=True)
    after = open_weights(str(train.out / "frozen" / "model-8"))
    for name in ("conv/bn/mean/EMA", "conv/bn/variance/EMA"):
        assert np.array_equal(first[name], after[name])
    assert not np.array_equal(first["conv/W"], after["conv/W"])
    assert not np.array_equal(first["conv/bn/gamma"], after["conv/bn/gamma"])


def test_layers_move_by_their_rates(train, with_recipe):
    """One step from the same weights: what moves is in the proportion of the rates."""
    train()
    first = open_weights(str(train.folder / "model-8"))
    moved = {}
    for name, fields in {"plain": {}, "by-layer": {"head_rate": 3.0, "depth_decay": 2.0}}.items():
        more = ("--epochs", "1", "--epoch-size", "6", "--load", str(train.folder / "model-8"), "--name", name)
        with_recipe(*more, **fields)
        after = open_weights(str(train.out / name / "model-1"))
        moved[name] = {v: after[v] - first[v] for v in ("conv/W", "linear/W")}
    assert np.allclose(moved["by-layer"]["linear/W"], 3 * moved["plain"]["linear/W"], rtol=1e-3, atol=1e-7)
    assert np.allclose(moved["by-layer"]["conv/W"], moved["plain"]["conv/W"] / 8, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("optimizer", ["sgd", "asgd", "adam", "adamw"])
def test_every_optimiser_trains_by_layer_and_resumes_to_the_bit(optimizer, train, with_recipe):
    fields = {"optimizer": optimizer, "head_rate": 3.0, "depth_decay": 2.6}
    with_recipe("--name", "whole", "--lr", "0.01", **fields)
    cut = ("--name", "cut", "--lr", "0.01")
    with pytest.raises(Interrupted):
        with_recipe(*cut, fault=at("step", 3, lambda: os.kill(os.getpid(), signal.SIGTERM)), **fields)
    with_recipe(*cut, **fields)
    data = "model-8.data-00000-of-00001"
    assert (train.out / "whole" / data).read_bytes() == (train.out / "cut" / data).read_bytes()


def test_a_run_ends_when_validation_no_longer_gets_better_and_again_after_a_kill(train, with_recipe, capsys):
    """A rate of next to nothing: no epoch is better than the first."""
    from tests.support.training_fixtures import at

    more = ("--epochs", "9", "--lr", "1e-12")
    with_recipe(*more, patience=2)
    epochs = [entry["epoch_num"] for entry in json.loads((train.folder / "stats.json").read_text())]
    assert epochs == [1, 2, 3] and "no epoch of the last 2 was better than epoch 1" in train.log()
    with pytest.raises(Interrupted):
        with_recipe(
            *more, "--name", "cut", patience=2, fault=at("step", 6, lambda: os.kill(os.getpid(), signal.SIGTERM))
        )
    with_recipe(*more, "--name", "cut", patience=2)
    with_recipe(*more, "--name", "cut", patience=2)  # over: nothing more is trained
    again = [entry["epoch_num"] for entry in json.loads((train.out / "cut" / "stats.json").read_text())]
    assert again == epochs
