"""Where a label stands among the scores, and which classes come first: the one place that decides ties.

Ours is 'lowest': of classes with equal scores the lowest id comes first, as in TensorFlow's top_k. The others
reproduce the figures of other programs exactly:

    highest      the highest id comes first (an ascending argsort: sotabench, scikit-learn's top_k_accuracy_score)
    optimistic   a tie counts for the label (TensorFlow's in_top_k: constant scores have no error at all)
    pessimistic  a tie counts against the label
"""

import numpy as np

from webvision.errors import DataError

TIE_RULES = ("lowest", "highest", "optimistic", "pessimistic")
CHUNK_NUMBERS = 1 << 16  # 256 KB of float32: a block stays in the processor's cache over the three passes


def label_ranks(labels, scores, tie_rule="lowest"):
    """int64[n]: how many classes stand before the label of each row of scores[n, classes].

    The label is among the best k when its rank is below k, for any k. DataError for NaN, naming the row; a label
    outside the classes is an error too.
    """
    labels, scores = np.asarray(labels), np.asarray(scores)
    _check(scores, tie_rule)
    if labels.shape != scores.shape[:1]:
        raise ValueError(f"{labels.shape} labels for scores of shape {scores.shape}")
    n, num_classes = scores.shape
    if n and (labels.min() < 0 or labels.max() >= num_classes):
        raise DataError(f"labels {labels.min()}..{labels.max()} with scores of {num_classes} classes")
    ranks = np.empty(n, np.int64)
    step = max(1, CHUNK_NUMBERS // max(1, num_classes))
    for start in range(0, n, step):
        part = slice(start, start + step)
        ranks[part] = _ranks_of_block(labels[part], scores[part], tie_rule, start)
    return ranks


def _ranks_of_block(labels, scores, tie_rule, first_row):
    own = np.take_along_axis(scores, labels[:, None], 1)
    before = np.count_nonzero(scores > own, axis=1)
    not_after = np.count_nonzero(scores >= own, axis=1)
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isnan(scores.sum()):  # one fast pass; inf - inf gives NaN too, hence the exact look
            _refuse_nan(scores, first_row)
    if tie_rule == "optimistic":
        return before
    if tie_rule == "pessimistic":
        return not_after - 1
    for i in np.flatnonzero(not_after - before > 1):  # rows where the label shares its score: rare
        equal = scores[i] == own[i]
        before[i] += np.count_nonzero(equal[: labels[i]] if tie_rule == "lowest" else equal[labels[i] + 1 :])
    return before


def topk_from_scores(scores, k, tie_rule="lowest"):
    """(int32[n,k] class ids best first, their scores[n,k]); k is cut to the number of classes.

    'optimistic' and 'pessimistic' say nothing of an order without labels and are refused.
    """
    scores = np.asarray(scores)
    _check(scores, tie_rule)
    if tie_rule not in ("lowest", "highest"):
        raise ValueError(f"no order of classes follows from the tie rule {tie_rule!r}")
    if k < 1:
        raise ValueError(f"k is {k}")
    n, num_classes = scores.shape
    k = min(k, num_classes)
    ids = np.empty((n, k), np.int32)
    step = max(1, CHUNK_NUMBERS // max(1, num_classes))
    for start in range(0, n, step):
        block = scores[start : start + step]
        _refuse_nan(block, start)
        if tie_rule == "lowest":
            ids[start : start + step] = _best_of_block(block, k)
        else:  # seen from the other end, the lowest id is the highest
            ids[start : start + step] = num_classes - 1 - _best_of_block(block[:, ::-1], k)
    return ids, np.take_along_axis(scores, ids, 1)


def _best_of_block(scores, k):
    n, num_classes = scores.shape
    threshold = np.partition(scores, num_classes - k, axis=1)[:, num_classes - k, None]
    chosen = scores >= threshold
    for i in np.flatnonzero(np.count_nonzero(chosen, axis=1) > k):  # more equals at the threshold than there are places
        better = scores[i] > threshold[i]
        equal = np.flatnonzero(scores[i] == threshold[i])[: k - np.count_nonzero(better)]
        chosen[i] = better
        chosen[i, equal] = True
    ids = np.nonzero(chosen)[1].reshape(n, k)  # ascending ids in each row
    order = np.argsort(-np.take_along_axis(scores, ids, 1).astype(np.float64), axis=1, kind="stable")
    return np.take_along_axis(ids, order, 1)


def _check(scores, tie_rule):
    if tie_rule not in TIE_RULES:
        raise ValueError(f"tie rule {tie_rule!r}; there are {', '.join(TIE_RULES)}")
    if scores.ndim != 2:
        raise ValueError(f"scores of shape {scores.shape}, not [images, classes]")


def _refuse_nan(scores, first_row):
    nan = np.isnan(scores).any(axis=1)
    if nan.any():
        raise DataError(
            f"row {first_row + int(np.argmax(nan)) + 1}: NaN among the scores; a network with NaN weights has no "
            "predictions"
        )
