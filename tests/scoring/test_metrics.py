"""Metrics against scikit-learn, against hand-made cases, and against slow loops that say what they mean."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import calibration as sk_calibration
from sklearn import metrics as sk

from webvision.errors import DataError
from webvision.scoring.figures import calibration, intervals, metrics
from webvision.scoring.predictions import ranking


def random_case(seed, n=400, classes=12, integers=False):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, (n, classes)) if integers else rng.standard_normal((n, classes))
    return rng.integers(0, classes, n), scores.astype(np.float32)


# --- ties and ranks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("integers", [False, True], ids=["distinct", "many ties"])
@pytest.mark.parametrize("rule", ["lowest", "highest"])
def test_ranks_and_topk_follow_a_stable_sort(rule, integers):
    labels, scores = random_case(1, integers=integers)
    if rule == "lowest":
        order = np.argsort(-scores, axis=1, kind="stable")
    else:
        order = scores.shape[1] - 1 - np.argsort(-scores[:, ::-1], axis=1, kind="stable")
    np.testing.assert_array_equal(ranking.label_ranks(labels, scores, rule), (order == labels[:, None]).argmax(1))
    for k in (1, 3, 12, 40):
        ids, values = ranking.topk_from_scores(scores, k, rule)
        np.testing.assert_array_equal(ids, order[:, :k])
        np.testing.assert_array_equal(values, np.take_along_axis(scores, order[:, :k], 1))


def test_constant_scores_tell_the_tie_rules_apart():
    labels, scores = np.array([0, 500, 999]), np.zeros((3, 1000), np.float32)
    assert ranking.label_ranks(labels, scores).tolist() == [0, 500, 999]
    assert ranking.label_ranks(labels, scores, "highest").tolist() == [
        999,
        499,
        0,
    ]  # sotabench: label 999 right, 0 wrong
    assert ranking.label_ranks(labels, scores, "optimistic").tolist() == [0, 0, 0]  # in_top_k: no error at all
    assert ranking.label_ranks(labels, scores, "pessimistic").tolist() == [999, 999, 999]


@pytest.mark.parametrize("k", [1, 2, 5, 11])
@pytest.mark.parametrize("integers", [False, True], ids=["distinct", "many ties"])
def test_topk_accuracy_equals_scikit_learn(k, integers):
    labels, scores = random_case(2, integers=integers)
    ours = np.mean(ranking.label_ranks(labels, scores, "highest") < k)
    assert ours == sk.top_k_accuracy_score(labels, scores, k=k, labels=np.arange(12))


@pytest.mark.parametrize("rule", ranking.TIE_RULES)
def test_nan_is_an_error_that_names_the_row(rule):
    labels, scores = random_case(3, n=20_000, classes=7)
    scores[12_345, 6] = np.nan
    with pytest.raises(DataError, match="row 12346: NaN"):
        ranking.label_ranks(labels, scores, rule)
    if rule in ("lowest", "highest"):
        with pytest.raises(DataError, match="row 12346: NaN"):
            ranking.topk_from_scores(scores, 5, rule)


def test_infinite_scores_have_an_order():
    scores = np.array([[-np.inf, np.inf, 0.0]])
    assert ranking.label_ranks([0], scores) == [2] and ranking.topk_from_scores(scores, 3)[0].tolist() == [[1, 2, 0]]


def test_no_images_have_no_ranks():
    assert ranking.label_ranks(np.zeros(0, int), np.zeros((0, 5))).shape == (0,)
    assert ranking.topk_from_scores(np.zeros((0, 5)), 2)[0].shape == (0, 2)


def test_a_label_outside_the_classes_is_an_error():
    with pytest.raises(DataError, match="labels 0..3 with scores of 3 classes"):
        ranking.label_ranks([0, 3], np.zeros((2, 3)))
    with pytest.raises(ValueError, match="tie rule 'random'"):
        ranking.label_ranks([0], np.zeros((1, 3)), "random")


# --- error rates ----------------------------------------------------------------------------------------------------


def test_balanced_error_weighs_rare_classes_equally():
    labels = np.array([0] * 9 + [1])
    wrong = metrics.topk_wrong(labels, np.zeros((10, 1), int), 1)  # the only image of class 1 is wrong
    assert metrics.error_rate(wrong) == 0.1 and metrics.balanced_error(labels, wrong, num_classes=2) == 0.5


def test_absent_classes_have_no_error_and_do_not_enter_the_mean():
    labels, wrong = np.array([0, 0, 3]), np.array([True, False, False])
    np.testing.assert_array_equal(metrics.class_errors(labels, wrong, 5), [0.5, np.nan, np.nan, 0, np.nan])
    assert metrics.balanced_error(labels, wrong, 5) == 0.25


def test_balanced_error_equals_scikit_learns_balanced_accuracy():
    labels, scores = random_case(4)
    top = ranking.topk_from_scores(scores, 1)[0]
    ours = metrics.balanced_error(labels, metrics.topk_wrong(labels, top, 1), 12)
    assert ours == pytest.approx(1 - sk.balanced_accuracy_score(labels, top[:, 0]), abs=1e-15)


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 12))
@settings(max_examples=50, deadline=None)
def test_error_rates_equal_a_loop(seed, classes, k):
    rng = np.random.default_rng(seed)
    labels, scores = rng.integers(0, classes, 60), rng.standard_normal((60, classes))
    top = ranking.topk_from_scores(scores, k)[0]
    hits = [label in row for label, row in zip(labels.tolist(), top.tolist())]
    rates = metrics.error_rates(labels, top, classes, ks=(k,))
    assert rates[f"top{k}"] == 1 - sum(hits) / 60 or rates[f"top{k}"] == pytest.approx(1 - sum(hits) / 60, abs=1e-15)
    by_class = [[not h for h, y in zip(hits, labels) if y == c] for c in range(classes)]
    means = [sum(b) / len(b) for b in by_class if b]
    assert rates[f"balanced_top{k}"] == sum(means) / len(means)  # to the last digit


def test_top5_of_fewer_classes_is_always_right_and_of_unknown_ids_is_refused():
    top = ranking.topk_from_scores(np.eye(3), 5)[0]
    assert metrics.error_rates([2, 1, 0], top, 3)["top5"] == 0
    with pytest.raises(ValueError, match="top-5 needs 5 ids an image, the predictions hold 3"):
        metrics.error_rates([2, 1, 0], top, 1000)


def test_no_images_have_no_error():
    rates = metrics.error_rates(np.zeros(0, int), np.zeros((0, 5), int), 5)
    assert all(math.isnan(rate) for rate in rates.values()) and len(rates) == 4


# --- precision, recall, F1, confusion ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed, classes, used", [(5, 12, 12), (6, 40, 5), (7, 2, 2), (8, 1, 1)])
def test_precision_recall_f1_equal_scikit_learn(seed, classes, used):
    rng = np.random.default_rng(seed)
    labels, predicted = rng.integers(0, used, 200), np.minimum(rng.integers(0, used + 2, 200), classes - 1)
    ours = metrics.class_scores(labels, predicted, classes)
    p, r, f, s = sk.precision_recall_fscore_support(labels, predicted, zero_division=0)
    np.testing.assert_allclose(ours.precision, p, rtol=0, atol=1e-15)
    np.testing.assert_allclose(ours.recall, r, rtol=0, atol=1e-15)
    np.testing.assert_allclose(ours.f1, f, rtol=0, atol=1e-15)
    np.testing.assert_array_equal(ours.support, s)
    for kind in ("macro", "weighted"):
        expected = sk.precision_recall_fscore_support(labels, predicted, average=kind, zero_division=0)[:3]
        np.testing.assert_allclose(ours.average(kind), expected, rtol=0, atol=1e-14)
    micro = sk.precision_recall_fscore_support(labels, predicted, average="micro", zero_division=0)[:3]
    np.testing.assert_allclose(metrics.micro_scores(labels, predicted), micro, rtol=0, atol=1e-15)


def test_confusion_pairs_are_those_of_the_confusion_matrix():
    rng = np.random.default_rng(9)
    labels, predicted = rng.integers(0, 6, 300), rng.integers(0, 6, 300)
    matrix = sk.confusion_matrix(labels, predicted)
    pairs = metrics.confusion_pairs(labels, predicted)
    assert len(pairs) == 30 and [pair.count for pair in pairs] == sorted((pair.count for pair in pairs), reverse=True)
    for pair in pairs:
        assert pair.count == matrix[pair.label, pair.predicted] and pair.share == pair.count / matrix[pair.label].sum()
    assert metrics.confusion_pairs(labels, predicted, 3) == pairs[:3]
    assert metrics.confusion_pairs([], []) == [] and metrics.confusion_pairs([1], [1]) == []


def test_log_loss_equals_scikit_learn():
    labels, scores = random_case(10)
    probabilities = np.exp(scores.astype(np.float64))
    probabilities /= probabilities.sum(1, keepdims=True)
    assert metrics.log_loss(labels, probabilities) == pytest.approx(
        sk.log_loss(labels, probabilities, labels=np.arange(12)), rel=1e-12
    )
    assert math.isnan(metrics.log_loss(np.zeros(0, int), np.zeros((0, 3))))


# --- calibration ------------------------------------------------------------------------------------------------------


def test_reliability_equals_scikit_learns_curve():
    rng = np.random.default_rng(11)
    confidence = np.concatenate([rng.random(500), [0, 1, 0.2, 0.4]])
    wrong = rng.random(504) > confidence
    ours = calibration.reliability(confidence, wrong, bins=10)
    accuracy, mean = sk_calibration.calibration_curve(~wrong, confidence, n_bins=10)
    np.testing.assert_allclose(ours.accuracy[ours.counts > 0], accuracy, atol=1e-15)
    np.testing.assert_allclose(ours.confidence[ours.counts > 0], mean, atol=1e-15)
    assert ours.ece == pytest.approx(np.sum(np.abs(accuracy - mean) * ours.counts[ours.counts > 0]) / 504)
    assert ours.mce == pytest.approx(np.abs(accuracy - mean).max())


def test_calibration_of_a_model_that_is_always_sure_is_its_error():
    assert calibration.reliability([1.0, 1, 1, 1], [True, False, False, False]).ece == 0.25
    assert math.isnan(calibration.reliability([], []).ece)
    with pytest.raises(DataError, match="not probabilities"):
        calibration.reliability([3.5], [False])


# --- intervals and comparison -----------------------------------------------------------------------------------------


def test_the_interval_covers_the_true_error_as_often_as_it_says():
    rng = np.random.default_rng(12)
    covered = balanced = 0
    for trial in range(300):
        labels = rng.permutation(np.repeat(np.arange(10), [200, 100, 50, 40, 30, 30, 30, 30, 30, 60]))
        wrong = rng.random(600) < 0.3
        low, high = intervals.error_interval(wrong, resamples=400, seed=trial)
        covered += low <= 0.3 <= high
        low, high = intervals.balanced_interval(labels, wrong, 12, resamples=400, seed=trial)
        balanced += low <= 0.3 <= high
    assert 0.90 <= covered / 300 <= 0.99 and 0.90 <= balanced / 300 <= 0.99


def test_the_interval_equals_a_bootstrap_that_draws_the_images():
    rng = np.random.default_rng(13)
    wrong = rng.random(500) < 0.4
    drawn = [wrong[rng.integers(0, 500, 500)].mean() for _ in range(4000)]
    np.testing.assert_allclose(
        intervals.error_interval(wrong, resamples=4000), np.quantile(drawn, [0.025, 0.975]), atol=0.006
    )


def test_intervals_repeat_and_know_the_empty_and_the_perfect_set():
    wrong = np.array([True, False] * 50)
    assert intervals.error_interval(wrong) == intervals.error_interval(wrong)
    assert intervals.balanced_interval([0, 0, 1], [False] * 3, 4) == (0, 0)
    assert all(map(math.isnan, intervals.error_interval([]) + intervals.balanced_interval([], [], 3)))


def test_comparison_is_paired():
    labels = np.repeat(np.arange(4), 250)
    rng = np.random.default_rng(14)
    a = rng.random(1000) < 0.4
    b = a.copy()
    b[np.flatnonzero(a)[:25]] = False  # B repairs 25 images and breaks none
    result = intervals.compare(labels, a, b, 4)
    assert (result.only_a_wrong, result.only_b_wrong) == (25, 0) and result.difference == pytest.approx(0.025)
    assert result.p_value == pytest.approx(2 * 0.5**25) and 0 < result.interval.low < 0.025 < result.interval.high
    assert result.balanced_difference == pytest.approx(0.025) and result.balanced_interval.low > 0
    same = intervals.compare(labels, a, a, 4)
    assert same.p_value == 1 and same.interval == (0, 0)
    assert math.isnan(intervals.compare([], [], [], 4).difference)


def test_mcnemar_equals_the_binomial_test():
    from scipy.stats import binomtest

    for a, b in ((0, 0), (3, 3), (1, 9), (40, 70), (900, 1000)):
        assert intervals.mcnemar(a, b) == pytest.approx(binomtest(a, a + b).pvalue if a + b else 1, rel=1e-9)
