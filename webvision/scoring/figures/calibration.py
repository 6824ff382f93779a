"""Does 90 % sure mean right in 90 %? Reliability of confidences (Guo et al. 2017, "On calibration of modern neural
networks")."""

from typing import NamedTuple

import numpy as np

from webvision.errors import DataError


class Reliability(NamedTuple):
    """Equal-width bins over 0..1; bins without images hold NaN."""

    edges: np.ndarray  # float64[bins + 1]
    counts: np.ndarray  # int64[bins]
    confidence: np.ndarray  # mean confidence in each bin
    accuracy: np.ndarray  # share of right images in each bin
    ece: float  # expected calibration error: mean of |confidence - accuracy| over images
    mce: float  # the largest such gap of a bin


def reliability(confidence, wrong, bins=15):
    """Compare `confidence` (probability of the first class, float[n] in 0..1) with bool[n] `wrong`.

    A bin holds its upper edge; 15 bins as in the paper. NaN for no images.
    """
    confidence, wrong = np.asarray(confidence, np.float64), np.asarray(wrong, bool)
    if confidence.shape != wrong.shape:
        raise ValueError(f"{confidence.shape} confidences for {wrong.shape} outcomes")
    tolerance = 1e-5  # a softmax in float32 or bfloat16 sums to 1 only nearly
    if confidence.size and not (confidence.min() >= -tolerance and confidence.max() <= 1 + tolerance):
        raise DataError(
            f"confidences {confidence.min():g}..{confidence.max():g} are not probabilities; calibration needs a softmax"
        )
    edges = np.linspace(0, 1, bins + 1)
    which = np.searchsorted(edges[1:-1], confidence)
    counts = np.bincount(which, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean_confidence = np.bincount(which, weights=confidence, minlength=bins) / counts
        accuracy = np.bincount(which, weights=~wrong, minlength=bins) / counts
    if not confidence.size:
        return Reliability(edges, counts, mean_confidence, accuracy, float("nan"), float("nan"))
    gaps = np.abs(mean_confidence - accuracy)
    ece = np.nansum(gaps * counts) / confidence.size
    return Reliability(edges, counts, mean_confidence, accuracy, float(ece), float(np.nanmax(gaps)))
