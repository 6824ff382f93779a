"""Which training labels are probably wrong: by the margins of the training itself, or by predictions over the list."""

import numpy as np

SURE = 1e-6  # below a class's threshold by no more is above it, as cleanlab has it


def suspicion(means):
    """Rows by their mean margin, the most suspect first; those that were never seen unmixed are left out."""
    seen = np.flatnonzero(~np.isnan(means))
    return seen[np.argsort(means[seen], kind="stable")]


def contradicted(means):
    """bool [n]: rows whose label the network contradicted in the mean of its visits, a margin below 0."""
    with np.errstate(invalid="ignore"):
        return means < 0


def lowest_of_each_class(means, labels, counts):
    """bool [n]: of each class as many rows as `counts` says, those of the lowest margin; unseen ones are none."""
    flagged = np.zeros(len(labels), bool)
    order = suspicion(means)
    for label in np.flatnonzero(counts):
        flagged[order[labels[order] == label][: counts[label]]] = True
    return flagged


def confident_joint(labels, probabilities):
    """int64 [classes, classes]: how many rows of a label (first) are surely of a class (second).

    Northcutt et al. 2021, "Confident learning", eq. 1: a row is surely of a class that it has at least as probable
    as the rows labelled so have it on average; of several the most probable.
    """
    classes = probabilities.shape[1]
    sums = np.zeros(classes)
    np.add.at(sums, labels, probabilities[np.arange(len(labels)), labels])
    counts = np.bincount(labels, minlength=classes)
    thresholds = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    above = probabilities >= thresholds - SURE
    sure = above.any(axis=1)
    guess = np.where(above, probabilities, -1).argmax(axis=1)
    joint = np.zeros((classes, classes), np.int64)
    np.add.at(joint, (labels[sure], guess[sure]), 1)
    np.fill_diagonal(joint, np.maximum(np.diag(joint), 1))
    return joint


def wrong_counts(joint, counts):
    """int64 [classes]: how many of each class's `counts` rows are wrong, by a confident joint's share of them."""
    right = np.diag(joint) / joint.sum(axis=1)
    return np.round(counts * (1 - right)).astype(np.int64)
