"""Noise like the web's: a label is the folder, and pictures wander into it.

Each folder gets a share of its two most confusable classes, half of it drawn at random and half by how alike a picture
is to the folder, a share of pictures of no class at all, and fewer pictures the rarer its class is.
"""

from typing import NamedTuple

import numpy as np

CONFUSED, OUTSIDE = 0.25, 0.15  # mean shares of a folder that are other classes', and of no class
SPREAD = (0.6, 1.4)  # of the share of confused pictures from folder to folder
SPLIT = (0.7, 0.3)  # between the most and the second most confusable class
IMBALANCE = 20
NEIGHBOURS = 20


class Noisy(NamedTuple):
    """A training list: which pictures, in which folder, and what they are."""

    pictures: np.ndarray  # numbers of pictures
    folders: np.ndarray  # the label that training is told
    truth: np.ndarray  # the class, -1: none of those known


def class_sizes(largest, classes, rng):
    """Sizes from `largest` to a twentieth of it, in an order drawn by `rng`."""
    sizes = largest * IMBALANCE ** (-np.arange(classes) / max(classes - 1, 1))
    return rng.permutation(np.round(sizes).astype(int))


def likeness(features, reference, reference_labels, classes, neighbours=NEIGHBOURS, chunk=1000):
    """[n, classes]: the share of the votes of the nearest clean reference pictures, none of which is trained on."""
    votes = np.zeros((len(features), classes), np.float32)
    squares = (reference**2).sum(axis=1)
    for first in range(0, len(features), chunk):
        distance = squares - 2 * features[first : first + chunk] @ reference.T
        nearest = np.argpartition(distance, neighbours, axis=1)[:, :neighbours]
        for row, labels in enumerate(reference_labels[nearest], first):
            votes[row] = np.bincount(labels, minlength=classes) / neighbours
    return votes


def web_noise(labels, likeness, sizes, seed):
    """A Noisy list out of pictures with the true `labels` (-1: of no known class) and `likeness` [n, classes].

    No picture is used twice; ValueError if there are too few.
    """
    rng = np.random.default_rng(seed)
    left = {c: list(rng.permutation(np.flatnonzero(labels == c))) for c in range(-1, len(sizes))}
    confusion = np.array([likeness[labels == c].mean(axis=0) for c in range(len(sizes))])  # [class, folder]
    np.fill_diagonal(confusion, -1)
    chosen = [([], folder) for folder in range(len(sizes))]
    for pictures, folder in chosen:
        confused = round(CONFUSED * rng.uniform(*SPREAD) * sizes[folder])
        outside = round(OUTSIDE * sizes[folder])
        for share, c in zip(SPLIT, np.argsort(-confusion[:, folder], kind="stable")):
            pictures += _take(left[c], round(share * confused), likeness[:, folder], rng)
        pictures += _take(left[-1], outside, likeness[:, folder], rng)
        own = sizes[folder] - len(pictures)
        pictures += _take(left[folder], own, None, rng)
    pictures = np.concatenate([found for found, _ in chosen]).astype(int)
    folders = np.concatenate([np.full(len(found), folder) for found, folder in chosen])
    order = rng.permutation(len(pictures))
    return Noisy(pictures[order], folders[order], labels[pictures[order]])


def _take(left, count, alike, rng):
    """`count` pictures out of `left`, in which they no longer are: with `alike` half of them in proportion to it."""
    if count > len(left):
        raise ValueError(f"{count} pictures of a class are needed and {len(left)} are left; fewer rows are")
    drawn = 0 if alike is None else count // 2
    by_likeness = []
    if drawn:
        weight = alike[left].astype(np.float64) + 1e-6
        by_likeness = list(rng.choice(left, drawn, replace=False, p=weight / weight.sum()))
        taken = set(by_likeness)
        left[:] = [picture for picture in left if picture not in taken]
    rest = [left.pop() for _ in range(count - drawn)]
    return by_likeness + rest
