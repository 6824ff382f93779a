"""The linear probe: softmax regression that equals scikit-learn's, its strength chosen on a fold of training."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from webvision.training.small_sets import probe as probe_module
from webvision.training.small_sets.probe import Problem, fit_probe, lbfgs


def clouds(counts, size=20, spread=1.5, seed=0, views=2):
    """Features [pictures, views, size] of classes around points of their own, and labels."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(len(counts), size))
    labels = np.repeat(np.arange(len(counts)), counts)
    labels = labels[rng.permutation(len(labels))]
    pictures = centres[labels] + spread * rng.normal(size=(len(labels), size))
    features = pictures[:, None] + 0.2 * rng.normal(size=(len(labels), views, size))
    return np.maximum(features, -1).astype(np.float16), labels


def test_the_head_is_scikit_learns(monkeypatch):
    monkeypatch.setattr(probe_module, "_TOLERANCE", 1e-6)
    features, labels = clouds([40, 30, 20])
    problem = Problem.of(features, labels, 3)
    head = problem.head(problem.solve(1.0, None))
    # theirs: 1/2 |w|^2 + C sum of weighted losses; ours: mean of weighted losses + l2 / 2 |w|^2 / pictures
    reference = LogisticRegression(C=len(labels), tol=1e-9, max_iter=5000)
    reference.fit(problem.features.astype(np.float64), problem.labels, sample_weight=problem.shares)
    theirs = reference.decision_function(problem.features.astype(np.float64))
    ours = head.logits(features).reshape(-1, 3)
    assert np.abs((ours - ours.mean(1, keepdims=True)) - (theirs - theirs.mean(1, keepdims=True))).max() < 0.02


def test_the_strength_is_chosen_on_a_fold_and_helps():
    chosen, none = [], []
    for seed in range(3):
        features, labels = clouds([115] * 4, size=120, spread=4.0, seed=seed)
        probe = fit_probe(features[:60], labels[:60], 4)
        tried = probe.fold_accuracies
        assert tried[probe.l2] == max(tried.values()) and len(tried) > 5
        for right, candidates in ((chosen, [probe.l2]), (none, [1e-6])):
            head = fit_probe(features[:60], labels[:60], 4, candidates=candidates).head
            right.append((head.logits(features[60:]).mean(1).argmax(1) == labels[60:]).mean())
    assert np.mean(chosen) > np.mean(none)


def test_equal_arguments_give_equal_bytes_and_rare_classes_count():
    features, labels = clouds([80, 6], spread=2.5)
    first, second = (fit_probe(features, labels, 2).head for _ in range(2))
    assert first.weights.tobytes() == second.weights.tobytes()
    answers = first.logits(features).mean(1).argmax(1)
    assert (answers[labels == 1] == 1).mean() >= 0.5


def test_a_class_of_one_picture_is_learnt_and_constant_features_do_no_harm():
    features, labels = clouds([10, 10, 1])
    features[..., 3] = 0.5
    head = fit_probe(features, labels, 3).head
    assert np.isfinite(head.weights).all() and head.weights.shape == (20, 3)


@pytest.mark.parametrize("condition", [1.0, 1e4])
def test_lbfgs_finds_the_minimum_of_a_bowl(condition):
    scale = np.geomspace(1, condition, 12)
    found = lbfgs(lambda x: (float((scale * (x - 3) ** 2).sum() / 2), scale * (x - 3)), np.zeros(12))
    assert np.abs(found - 3).max() < 1e-3
