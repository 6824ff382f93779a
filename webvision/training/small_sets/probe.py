"""A linear probe: softmax regression on a frozen network's features, the first thing to try on few pictures and the
figure that training the whole network has to beat.

Everything here is NumPy and a function of its arguments: no random number, no clock.
"""

from dataclasses import dataclass

import numpy as np

L2_CANDIDATES = tuple(10.0**power for power in np.arange(2.0, -3.5, -0.5))  # per picture; strongest first
_FOLD = 5  # every fifth picture of a class chooses the strength, and is learnt from afterwards
_MEMORY = 10  # pairs that L-BFGS keeps
_TOLERANCE = 1e-3  # of the gradient's largest entry; the accuracy stands still long before
_STEPS = 200
_ARMIJO = 1e-4


@dataclass(frozen=True)
class Head:
    """A linear layer on the features as the network gives them."""

    weights: np.ndarray  # float32 [features, classes]
    biases: np.ndarray  # float32 [classes]

    def logits(self, features):
        """Logits [..., classes] of features [..., features]."""
        return features.astype(np.float32) @ self.weights + self.biases


@dataclass(frozen=True)
class Probe:
    """A fitted head, and how its strength of regularisation was chosen."""

    head: Head
    l2: float
    fold_accuracies: dict  # {l2: share of the fold's pictures that were right}


def fit_probe(features, labels, num_classes, *, candidates=L2_CANDIDATES):
    """The Probe of features [pictures, views, d] and labels [pictures]; views of a picture stay together.

    Classes weigh as the root of their size (`--balance sqrt`). The strength is the one that is right most often on a
    fold of these very pictures, of equal ones that with the smallest loss there; then all pictures are learnt from.
    """
    labels = np.asarray(labels, np.int64)
    judged = _fold_of(labels)
    learnt = Problem.of(features[~judged], labels[~judged], num_classes)
    accuracies, losses, start = {}, {}, None
    for l2 in sorted(candidates, reverse=True):
        start = learnt.solve(l2, start)
        logits = learnt.head(start).logits(features[judged]).mean(axis=1)
        accuracies[float(l2)] = float((logits.argmax(axis=1) == labels[judged]).mean()) if judged.any() else 0.0
        losses[float(l2)] = _mean_loss(logits, labels[judged])
    l2 = max(accuracies, key=lambda strength: (accuracies[strength], -losses[strength], strength))
    whole = Problem.of(features, labels, num_classes)
    return Probe(whole.head(whole.solve(l2, None)), l2, accuracies)


def _fold_of(labels):
    """bool [pictures]: every fifth of each class, at least one where it has two."""
    judged = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        judged[rows[min(_FOLD, len(rows)) - 1 :: _FOLD] if len(rows) > 1 else []] = True
    return judged


def _mean_loss(logits, labels):
    if not len(labels):
        return 0.0
    logits = logits - logits.max(axis=1, keepdims=True)
    return float((np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]).mean())


@dataclass(frozen=True)
class Problem:
    """Softmax regression on standardised features: mean over pictures of CE, plus l2 / 2 |weights|^2 / pictures."""

    features: np.ndarray  # float32 [rows, d], standardised
    labels: np.ndarray  # [rows]
    shares: np.ndarray  # float32 [rows], sum 1: what each row weighs
    pictures: int
    classes: int
    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, features, labels, num_classes):
        pictures, views, size = features.shape
        rows = features.reshape(-1, size).astype(np.float32)
        mean = rows.mean(axis=0, dtype=np.float64)
        deviation = np.sqrt(np.square(rows - mean.astype(np.float32)).mean(axis=0, dtype=np.float64) + 1e-8)
        rows = (rows - mean.astype(np.float32)) / deviation.astype(np.float32)
        labels = np.repeat(labels, views)
        counts = np.bincount(labels, minlength=num_classes)
        shares = 1 / np.sqrt(counts[labels])
        return cls(rows, labels, (shares / shares.sum()).astype(np.float32), pictures, num_classes, mean, deviation)

    def solve(self, l2, start):
        """The weights, then a last row of biases, float64 [d + 1, classes], that are best for the strength `l2`."""
        shape = (self.features.shape[1] + 1, self.classes)
        begin = np.zeros(shape) if start is None else start
        return lbfgs(lambda x: self._value(x.reshape(shape), l2), begin.ravel()).reshape(shape)

    def _value(self, x, l2):
        """(what is to be small, its gradient) at weights and biases `x`."""
        logits = self.features @ x[:-1].astype(np.float32) + x[-1].astype(np.float32)
        logits -= logits.max(axis=1, keepdims=True)
        probabilities = np.exp(logits)
        sums = probabilities.sum(axis=1, keepdims=True)
        rows = np.arange(len(logits))
        loss = float(((np.log(sums[:, 0]) - logits[rows, self.labels]) * self.shares).sum(dtype=np.float64))
        probabilities /= sums
        probabilities[rows, self.labels] -= 1
        probabilities *= self.shares[:, None]
        gradient = np.concatenate([self.features.T @ probabilities, probabilities.sum(axis=0, keepdims=True)])
        gradient = gradient.astype(np.float64)
        strength = l2 / self.pictures
        gradient[:-1] += strength * x[:-1]
        return loss + strength / 2 * float(np.square(x[:-1]).sum()), gradient.ravel()

    def head(self, x):
        """The Head for features as they are, of a solution for standardised ones."""
        weights = x[:-1] / self.deviation[:, None]
        return Head(weights.astype(np.float32), (x[-1] - self.mean @ weights).astype(np.float32))


def lbfgs(function, x):
    """A minimum of a smooth convex `function` (x -> value, gradient) near `x`: Nocedal and Wright, algorithm 7.5, with
    steps that are halved until the value falls enough."""
    value, gradient = function(x)
    pairs = []  # (step, change of the gradient, 1 / their product), oldest first
    for _ in range(_STEPS):
        if np.abs(gradient).max() < _TOLERANCE * max(1e-3, abs(value)):
            break
        direction = -_inverse_hessian_times(gradient, pairs)
        slope = _dot(direction, gradient)
        if slope >= 0:  # rounding has the better of it
            pairs, direction, slope = [], -gradient, -_dot(gradient, gradient)
        length = 1.0 if pairs else min(1.0, 1.0 / np.abs(gradient).sum())
        for _ in range(30):
            there = x + length * direction
            there_value, there_gradient = function(there)
            if there_value <= value + _ARMIJO * length * slope:
                break
            length /= 2
        else:
            break
        step, change = there - x, there_gradient - gradient
        if (curvature := _dot(step, change)) > 1e-12:
            pairs = [*pairs[-_MEMORY + 1 :], (step, change, 1 / curvature)]
        x, value, gradient = there, there_value, there_gradient
    return x


def _dot(a, b):
    # Not BLAS: its threads cost 20 times as much for 10,000 numbers where other programs use the cores too.
    return float((a * b).sum())


def _inverse_hessian_times(gradient, pairs):
    q = gradient.copy()
    alphas = []
    for step, change, inverse in reversed(pairs):
        alphas.append(inverse * _dot(step, q))
        q -= alphas[-1] * change
    if pairs:
        step, change, inverse = pairs[-1]
        q /= inverse * _dot(change, change)
    for (step, change, inverse), alpha in zip(pairs, reversed(alphas), strict=True):
        q += (alpha - inverse * _dot(change, q)) * step
    return q
