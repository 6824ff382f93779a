"""Every loss and its gradient against NumPy in float64, also where logits are extreme, equal, or of one class."""

import numpy as np
import pytest

from webvision.compat import tf, tfv1
from webvision.training.parts import losses, mixing, neighbours

RNG = np.random.default_rng(5)
LABELS = np.array([0, 2, 1, 4, 4, 3])
LOGITS = {
    "random": RNG.normal(0, 3, (6, 5)),
    "extreme": np.where(RNG.random((6, 5)) < 0.5, -80.0, 80.0),
    "equal": np.zeros((6, 5)),
    "ties": np.array([[1.0, 1, 0, 0, 1]] * 6),
    "one class": RNG.normal(0, 3, (6, 1)),
}


def both(function, logits, *others):
    """(value, gradient of its sum by the logits) of a function of float32 tensors."""
    with tf.Graph().as_default(), tfv1.Session() as session:
        z = tf.constant(logits.astype(np.float32))
        value = function(z, *map(tf.constant, others))
        return session.run([value, tf.gradients(tf.reduce_sum(value), z)[0]])


def log_softmax(z):
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def softmax(z):
    return np.exp(log_softmax(z))


def numeric_gradient(function, z, step=1e-5):
    """Central differences of the sum of `function`, float64."""
    gradient = np.zeros_like(z)
    for place in np.ndindex(*z.shape):
        ahead, behind = z.copy(), z.copy()
        ahead[place] += step
        behind[place] -= step
        gradient[place] = (function(ahead).sum() - function(behind).sum()) / (2 * step)
    return gradient


def close(found, expected, scale=1.0):
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * max(scale, 1))


def logits_and_labels(kind):
    logits = LOGITS[kind].astype(np.float32).astype(np.float64)
    return logits, LABELS % logits.shape[1]


@pytest.mark.parametrize("kind", LOGITS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_and_its_gradient(kind, smoothing):
    logits, labels = logits_and_labels(kind)
    rows = np.arange(len(labels))
    target = np.full_like(logits, smoothing / logits.shape[1])
    target[rows, labels] += 1 - smoothing
    value, gradient = both(lambda z, y: losses.cross_entropy(z, y, smoothing), logits, labels)
    close(value, -(target * log_softmax(logits)).sum(axis=1), 80)
    close(gradient, softmax(logits) - target)


def test_no_smoothing_is_plain_cross_entropy_bit_for_bit():
    logits, labels = logits_and_labels("random")
    plain = both(lambda z, y: tf.nn.sparse_softmax_cross_entropy_with_logits(logits=z, labels=y), logits, labels)
    for found, expected in zip(both(losses.cross_entropy, logits, labels), plain):
        assert (found == expected).all()


def test_log_shares_are_zero_for_equal_counts_and_log_2_for_a_doubled_class():
    assert (losses.log_shares([7, 7, 7]) == 0).all()
    before, after = losses.log_shares([100, 10, 20]), losses.log_shares([100, 20, 20])
    close(after - before, [0, np.log(2), 0])
    close(losses.log_shares([100, 10, 1], 0.5), 0.5 * np.log([1, 0.1, 0.01]))
    assert losses.log_shares([100, 0])[1] == losses.log_shares([100, 1])[1], "an empty class is no -inf"


@pytest.mark.parametrize("kind", LOGITS)
def test_divergence_and_its_gradient_hold_the_targets_fixed(kind):
    logits, _ = logits_and_labels(kind)
    targets = softmax(RNG.normal(0, 2, logits.shape)).astype(np.float32)
    targets[0] = np.eye(logits.shape[1])[0]
    wide = targets.astype(np.float64)
    entropy = np.where(wide > 0, wide * np.log(np.maximum(wide, 1e-300)), 0).sum(axis=1)
    value, gradient = both(lambda z, t: losses.divergence(z, t, 2.0), logits, targets)
    close(value, 4 * (entropy - (wide * log_softmax(logits / 2)).sum(axis=1)), 400)
    close(gradient, 2 * (softmax(logits / 2) * wide.sum(axis=1, keepdims=True) - wide), 4)


@pytest.mark.parametrize("kind", ["random", "extreme", "equal", "one class"])
def test_early_learning_its_gradient_and_its_clamp(kind):
    logits, _ = logits_and_labels(kind)
    targets = (softmax(RNG.normal(0, 2, logits.shape)) * 0.9).astype(np.float32)

    def reference(z):
        p = np.clip(softmax(z), 1e-4, 1 - 1e-4)
        return np.log(np.maximum(1 - (p * targets).sum(axis=1), 1e-4))

    value, gradient = both(losses.early_learning, logits, targets)
    close(value, reference(logits))
    np.testing.assert_allclose(gradient, numeric_gradient(reference, logits), rtol=1e-4, atol=1e-6)
    if kind == "extreme":
        assert (gradient[np.abs(softmax(logits) - 0.5) > 0.4999] == 0).all(), "no gradient beyond the clamp"
    before = np.full(logits.shape, 0.1, np.float16)
    p = np.clip(softmax(logits), 1e-4, 1 - 1e-4)
    expected = 0.7 * before.astype(np.float64) + 0.3 * p / p.sum(axis=1, keepdims=True)
    with tf.Graph().as_default(), tfv1.Session() as session:
        close(
            session.run(losses.early_targets(tf.constant(before), tf.constant(logits.astype(np.float32)), 0.7)),
            expected,
        )


@pytest.mark.parametrize("kind", LOGITS)
def test_margins(kind):
    logits, labels = logits_and_labels(kind)
    own = logits[np.arange(6), labels]
    others = np.where(np.eye(logits.shape[1], dtype=bool)[labels], -np.inf, logits).max(axis=1)
    value, _ = both(losses.margins, logits, labels)
    close(value, own if logits.shape[1] == 1 else own - others)


def test_mixed_losses_and_pictures_follow_their_pairs():
    shares = mixing.own_shares(3, 17, 5, 1.0)
    assert (shares == mixing.own_shares(3, 17, 5, 1.0)).all() and (shares != mixing.own_shares(3, 18, 5, 1.0)).any()
    assert shares[0] == shares[1] and shares[2] == shares[3] and shares[4] == 1 and shares.min() >= 0.5
    pictures = RNG.integers(0, 256, (5, 2, 3, 3), dtype=np.uint8)
    with tf.Graph().as_default(), tfv1.Session() as session:
        found, untouched = session.run(
            [mixing.mix(tf.constant(pictures), tf.constant(shares)), mixing.mix(tf.constant(pictures), tf.ones(5))]
        )
        partner = session.run(mixing.partners(tf.constant(LABELS[:5])))
    weight = shares[:, None, None, None].astype(np.float64)
    close(found, weight * pictures + (1 - weight) * pictures[[1, 0, 3, 2, 4]], 255)
    assert (untouched == pictures).all() and (partner == LABELS[[1, 0, 3, 2, 4]]).all()
    drawn = np.concatenate([mixing.own_shares(0, step, 64, 0.2)[::2] for step in range(200)])
    assert drawn.mean() == pytest.approx(0.5 + 2**-0.4 / (0.2 * 9.5015), abs=0.006)  # B(.2, .2) = 9.5015


def test_neighbours_are_the_most_similar_others_weighed_by_how_similar_they_are():
    features, bank, logits = RNG.normal(size=(5, 3)), RNG.normal(size=(9, 3)), RNG.normal(0, 2, (9, 40))
    bank[0], bank[1], bank[2] = features[0], features[0], -features[1]  # two equally near ones, and an opposite
    rows, bank_rows = np.array([50, 51, 52, 53, 54]), np.array([50, 1, 2, 3, 4, 5, -1, 7, 8])
    bank[8] = bank[7] = bank[6]  # of which one is not there yet
    features[4] = 0  # looks like nothing
    with tf.Graph().as_default(), tfv1.Session() as session:
        own = neighbours.entries(tf.constant(rows), tf.constant(features.astype(np.float32)), tf.zeros([5, 40]), 2.0)
        kept = neighbours.entries(
            tf.constant(bank_rows), tf.constant(bank.astype(np.float32)), tf.constant(logits.astype(np.float32)), 2.0
        )
        targets, found = session.run(neighbours.consensus(own, kept, count=3, num_classes=40))
    probabilities = softmax(logits / 2)
    rank = np.argsort(np.argsort(-probabilities, axis=1), axis=1)
    said = np.where(rank < 32, probabilities, 0)
    said /= said.sum(axis=1, keepdims=True)
    length = np.maximum(np.linalg.norm(features, axis=1), 1e-30)[:, None] * np.linalg.norm(bank, axis=1)
    cosine = np.round(features @ bank.T / length, 12)
    cosine[:, bank_rows < 0] = -2
    cosine[rows[:, None] == bank_rows] = -2  # itself
    for row in range(4):
        best = np.argsort(-cosine[row], kind="stable")[:3]
        weight = np.maximum(cosine[row, best], 0)
        close(targets[row], (weight / weight.sum()) @ said[best])
    assert found.tolist() == [1, 1, 1, 1, 0] and (targets[4] == 0).all()
    assert np.argmax(cosine[0]) == 1, "the other picture that looks the same, not itself"


def test_logit_adjustment_reaches_the_balanced_optimum_of_gaussians_where_plain_cross_entropy_does_not():
    """Three unit Gaussians at the corners of a triangle, priors 100 : 10 : 1, softmax regression by Newton's method on
    the expected loss; the balanced optimum is the nearest centre, whose error is known."""
    rng = np.random.default_rng(1)
    centres = 1.6 * np.array([[0, 1], [-np.sqrt(3) / 2, -0.5], [np.sqrt(3) / 2, -0.5]])
    counts = np.array([20_000, 2_000, 200])
    points = np.concatenate([rng.normal(c, 1, (2_000, 2)) for c in centres])
    labels = np.repeat(np.arange(3), 2_000)
    weight = counts[labels] / counts.sum()  # the same points for every class, weighed by its prior: little chance left
    fresh = np.concatenate([rng.normal(c, 1, (20_000, 2)) for c in centres])
    truth = np.repeat(np.arange(3), 20_000)

    def balanced_error(shares):
        with tf.Graph().as_default(), tfv1.Session() as session:
            x = tf.constant(np.c_[points, np.ones(len(points))].astype(np.float32))
            w = tfv1.get_variable("w", [3, 3], tf.float32, tfv1.zeros_initializer())
            loss = (
                tf.reduce_sum(weight.astype(np.float32) * losses.cross_entropy(x @ w + shares, labels)) / weight.sum()
            )
            gradient = tf.gradients(loss, w)[0]
            hessian = tfv1.hessians(loss, w)[0]
            flat = tf.linalg.solve(tf.reshape(hessian, [9, 9]) + 1e-5 * tf.eye(9), tf.reshape(gradient, [9, 1]))
            step = w.assign_sub(tf.reshape(flat, [3, 3]))
            session.run(tfv1.global_variables_initializer())
            for _ in range(12):
                session.run(step)
            found = np.c_[fresh, np.ones(len(fresh))] @ session.run(w)
        return np.mean([(found.argmax(axis=1) != truth)[truth == c].mean() for c in range(3)])

    best = np.mean(
        [(((fresh[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1) != truth)[truth == c].mean() for c in range(3)]
    )
    assert balanced_error(losses.log_shares(counts)) == pytest.approx(best, abs=0.01)
    assert balanced_error(np.float32(0)) > best + 0.1
