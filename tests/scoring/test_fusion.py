"""Answers of several networks put together: means, ranks, and weights that are fitted on one half."""

import numpy as np
import pytest

from webvision.scoring.predictions import fusion

RNG = np.random.default_rng(6)


def test_each_method_is_its_formula():
    a, b = RNG.dirichlet(np.ones(4), 7), RNG.dirichlet(np.ones(4), 7)
    np.testing.assert_allclose(fusion.fuse([a, b]), (a + b) / 2, atol=1e-7)
    np.testing.assert_allclose(fusion.fuse([a, b], weights=[3, 1]), (3 * a + b) / 4, atol=1e-7)
    geometric = a**0.75 * b**0.25
    geometric /= geometric.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(fusion.fuse([a, b], "geometric", [3, 1]), geometric, atol=1e-6)
    for row in range(7):
        points = sum(1 / (1 + np.argsort(np.argsort(-p[row]))) for p in (a, b))
        np.testing.assert_allclose(fusion.fuse([a, b], "rank")[row], points / points.sum(), atol=1e-6)


def test_a_zero_does_not_forbid_a_class_and_equal_ranks_go_to_the_lowest_id():
    a, b = np.array([[0.0, 1.0, 0.0]]), np.array([[0.9, 0.1, 0.0]])
    assert np.isfinite(fusion.fuse([a, b], "geometric")).all()
    np.testing.assert_allclose(fusion.fuse([np.full((1, 3), 1 / 3)], "rank"), [[6 / 11, 3 / 11, 2 / 11]], atol=1e-6)


@pytest.mark.parametrize("method", fusion.METHODS)
def test_weights_prefer_the_better_network_and_leave_out_one_of_noise(method):
    labels = RNG.integers(0, 5, 400)

    def network(strength):
        z = RNG.normal(size=(400, 5)) + strength * np.eye(5)[labels]
        return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)

    good, fair, noise = network(3.0), network(1.5), network(0.0)
    weights = fusion.fit_weights([fair, noise, good], labels, method)
    assert weights.sum() == pytest.approx(1) and weights[1] < 0.1 < weights[2]

    def log_loss(given):
        return -np.log(fusion.fuse([fair, noise, good], method, given)[np.arange(400), labels]).mean()

    assert log_loss(weights) <= min(log_loss(alone) + 1e-9 for alone in np.eye(3)) and log_loss(weights) < log_loss(
        None
    )
