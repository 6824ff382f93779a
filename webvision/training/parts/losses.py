"""Losses of one batch, a figure for each picture, in float32 whatever the activations are."""

import numpy as np

from webvision.compat import tf

EARLY_CLAMP = 1e-4  # of probabilities in `early_learning`: beyond it there is no gradient, or the logits run away


def log_shares(counts, strength=1.0):
    """What logit adjustment adds to the training logits: strength * log(n / largest n), float32 [classes].

    `counts` are those of the list as trained, so that after any repetition only what imbalance is left counts; equal
    counts give exact zeros. A class without pictures is taken to have one: no logit may become -inf.
    Menon et al. 2021, "Long-tail learning via logit adjustment", eq. 10; Ren et al. 2020 call it balanced softmax.
    """
    counts = np.maximum(np.asarray(counts, np.float64), 1)
    return (strength * np.log(counts / counts.max())).astype(np.float32)


def cross_entropy(logits, labels, smoothing=0.0):
    """Cross entropy [n] of logits [n, classes] and labels [n]: (1 - e) CE(label) + e times the mean over all classes.

    Szegedy et al. 2016, sec. 7; two terms, no dense target.
    """
    sure = tf.nn.sparse_softmax_cross_entropy_with_logits(logits=logits, labels=labels)
    if not smoothing:
        return sure
    return (1 - smoothing) * sure - smoothing * tf.reduce_mean(tf.nn.log_softmax(logits), axis=1)


def mixed(share, own, partners):
    """The loss of pictures of which `share` [n] is their own and the rest their partner's (Zhang et al. 2018)."""
    return share * own + (1 - share) * partners


def divergence(logits, targets, temperature):
    """T^2 KL(targets || softmax(logits / T)) [n]; no gradient flows into `targets`."""
    targets = tf.stop_gradient(targets)
    log_probabilities = tf.nn.log_softmax(logits / temperature)
    entropy = tf.reduce_sum(tf.math.xlogy(targets, targets), axis=1)
    return temperature**2 * (entropy - tf.reduce_sum(targets * log_probabilities, axis=1))


def early_learning(logits, targets):
    """log(1 - <p, targets>) [n], to be added with a positive weight: keeps to what was predicted early on.

    Liu et al. 2020, "Early-learning regularization prevents memorization of noisy labels", eq. 6.
    """
    p = tf.clip_by_value(tf.nn.softmax(logits), EARLY_CLAMP, 1 - EARLY_CLAMP)
    agreement = tf.reduce_sum(p * tf.stop_gradient(targets), axis=1)
    return tf.math.log(tf.maximum(1 - agreement, EARLY_CLAMP))


def early_targets(before, logits, memory):
    """The targets after this visit: memory * before + (1 - memory) * p, p clamped and normalised; float32 [n, C]."""
    p = tf.clip_by_value(tf.nn.softmax(logits), EARLY_CLAMP, 1 - EARLY_CLAMP)
    p = p / tf.reduce_sum(p, axis=1, keepdims=True)
    return tf.stop_gradient(memory * tf.cast(before, tf.float32) + (1 - memory) * p)


def margins(logits, labels):
    """z_label - the largest other logit [n]; of a network with one class, its logit."""
    classes = logits.shape[1]
    own = tf.gather(logits, labels, batch_dims=1)
    if classes == 1:
        return own
    others = tf.where(
        tf.one_hot(labels, classes, on_value=True, off_value=False, dtype=tf.bool), logits.dtype.min, logits
    )
    return own - tf.reduce_max(others, axis=1)
