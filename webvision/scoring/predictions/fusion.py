"""Several networks' probabilities as one answer: means of them, of their logarithms, or of ranks, and weights."""

import numpy as np

METHODS = ("mean", "geometric", "rank")
ROUNDS = 40  # of the choice of weights: steps of 1/40
_LEAST = 1e-12  # a probability that is 0 in one network must not forbid a class


def fuse(blocks, method="mean", weights=None):
    """float32 [n, classes] whose rows sum to 1, of as many arrays of probabilities; `weights` need not sum to 1."""
    weights = np.ones(len(blocks)) if weights is None else np.asarray(weights, np.float64)
    weights = weights / weights.sum()
    total = np.zeros(blocks[0].shape, np.float64)
    for weight, block in zip(weights, blocks):
        total += weight * _transformed(np.asarray(block, np.float64), method)
    if method == "geometric":
        total = np.exp(total - total.max(axis=1, keepdims=True))
    if method != "mean":
        total /= total.sum(axis=1, keepdims=True)
    return total.astype(np.float32)


def _transformed(block, method):
    if method == "geometric":
        return np.log(np.maximum(block, _LEAST))
    if method == "rank":  # 1 for the best, 1/2 for the next, ...; among equals the lowest id, as everywhere here
        order = np.argsort(-block, axis=1, kind="stable")
        ranks = np.empty_like(order)
        np.put_along_axis(ranks, order, np.arange(1, block.shape[1] + 1)[None], axis=1)
        return 1 / ranks
    return block


def fit_weights(blocks, labels, method="mean"):
    """float64 [networks], summing to 1: chosen network by network, each time the one that lowers the log loss most.

    Caruana et al. 2004, "Ensemble selection from libraries of models"; a network may be chosen again, or never.
    """
    counts = np.zeros(len(blocks))
    for _ in range(ROUNDS):
        losses = []
        for number in range(len(blocks)):
            tried = counts.copy()
            tried[number] += 1
            said = fuse(blocks, method, tried)[np.arange(len(labels)), labels]
            losses.append(-np.log(np.maximum(said, _LEAST)).mean())
        counts[int(np.argmin(losses))] += 1
    return counts / ROUNDS
