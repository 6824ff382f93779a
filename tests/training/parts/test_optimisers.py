"""Optimisers against NumPy in float64, step by step as PyTorch's documentation gives them."""

import numpy as np
import pytest

from webvision.compat import tf, tfv1
from webvision.training.parts import optimisers
from webvision.training.parts.step_number import step_number
from webvision.training.recipes import Recipe

STEPS, RATE = 12, 0.05
RNG = np.random.default_rng(2)
START = RNG.normal(size=(3, 4)).astype(np.float32)
GRADIENTS = RNG.normal(size=(STEPS, 3, 4)).astype(np.float32)


def run(recipe, name="layer/W", make=optimisers.make):
    """(the weight after each step, the slots at the end)"""
    with tf.Graph().as_default(), tfv1.Session() as session:
        weight = tfv1.get_variable(name, initializer=START)
        gradient = tfv1.placeholder(tf.float32, START.shape)
        optimizer = make(recipe, tfv1.get_variable("learning_rate", initializer=RATE, trainable=False))
        apply = optimizer.apply_gradients([(gradient, weight)])
        session.run(tfv1.global_variables_initializer())
        weights = []
        for step, value in enumerate(GRADIENTS):
            session.run(apply, {gradient: value, step_number(): step})
            weights.append(session.run(weight))
        slots = {slot: session.run(optimizer.get_slot(weight, slot)) for slot in optimizer.get_slot_names()}
        names = {v.op.name for v in tfv1.global_variables()} - {name, "learning_rate"}
    assert names <= {f"{name}/{slot}" for slot in optimisers.SLOTS}, "a checkpoint's reader knows the slots by name"
    return weights, slots


def check(recipe, reference, **kwargs):
    weights, slots = run(recipe, **kwargs)
    state = {}
    expected = START.astype(np.float64)
    for step, gradient in enumerate(GRADIENTS.astype(np.float64), 1):
        expected = reference(expected, gradient, step, state)
        np.testing.assert_allclose(weights[step - 1], expected, rtol=1e-6, atol=1e-6)
    return slots, state


@pytest.mark.parametrize("momentum, nesterov", [(0.0, False), (0.9, False), (0.9, True)])
def test_sgd(momentum, nesterov):
    def reference(w, g, step, state):
        state["buffer"] = g if step == 1 else momentum * state["buffer"] + g
        if momentum:
            g = g + momentum * state["buffer"] if nesterov else state["buffer"]
        return w - RATE * g

    check(Recipe(momentum=momentum, nesterov=nesterov), reference)


@pytest.mark.parametrize("start", [1_000_000, 5])
def test_asgd_and_its_average(start):
    def reference(w, g, step, state):
        eta, mu = state.get("eta", RATE), state.get("mu", 1.0)
        w = w * (1 - 1e-4 * eta) - eta * g
        state["average"] = state.get("average", 0) + mu * (w - state.get("average", 0))
        state["eta"] = RATE / (1 + 1e-4 * RATE * step) ** 0.75
        state["mu"] = 1 / max(1, step - start)
        return w

    slots, state = check(
        Recipe(optimizer="asgd"), reference, make=lambda _, rate: optimisers.AveragedSGD(rate, start=start)
    )
    np.testing.assert_allclose(slots["average"], state["average"], rtol=1e-6, atol=1e-6)
    assert type(optimisers.make(Recipe(optimizer="asgd"), 0.1)) is optimisers.AveragedSGD


@pytest.mark.parametrize(
    "optimizer, name", [("adam", "a/W"), ("adamw", "a/W"), ("adamw", "a/b"), ("adamw", "bn/gamma")]
)
def test_adam_and_adamw_decay_only_what_decays(optimizer, name):
    recipe = Recipe(optimizer=optimizer, weight_decay=0.1, betas=(0.8, 0.95), epsilon=1e-3)

    def reference(w, g, step, state):
        if optimizer == "adamw" and name.endswith("/W"):
            w = w * (1 - RATE * 0.1)
        state["m"] = 0.8 * state.get("m", 0) + 0.2 * g
        state["v"] = 0.95 * state.get("v", 0) + 0.05 * g**2
        return w - RATE / (1 - 0.8**step) * state["m"] / (np.sqrt(state["v"]) / np.sqrt(1 - 0.95**step) + 1e-3)

    check(recipe, reference, name=name)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_accumulated_gradients_are_averaged_into_one_update(optimizer):
    recipe = Recipe(optimizer=optimizer, accumulate=3, epsilon=1e-3)
    inner = {"m": np.zeros_like(START, dtype=np.float64), "v": np.zeros_like(START, dtype=np.float64)}
    weights, _ = run(recipe, make=lambda r, rate: optimisers.Accumulated(optimisers.make(r, rate), 3))
    expected = START.astype(np.float64)
    for step in range(STEPS):
        if step % 3 == 2:
            g, update = GRADIENTS[step - 2 : step + 1].astype(np.float64).mean(axis=0), step // 3 + 1
            if optimizer == "sgd":
                inner["m"] = 0.9 * inner["m"] + g
                expected = expected - RATE * (g + 0.9 * inner["m"])
            else:
                inner["m"] = 0.9 * inner["m"] + 0.1 * g
                inner["v"] = 0.999 * inner["v"] + 0.001 * g**2
                root = np.sqrt(inner["v"]) / np.sqrt(1 - 0.999**update) + 1e-3
                expected = expected - RATE / (1 - 0.9**update) * inner["m"] / root
        np.testing.assert_allclose(weights[step], expected, rtol=2e-6, atol=2e-6)
