"""Margins of the pictures of a training list, as a run keeps them beside a checkpoint: model-STEP.margins.npz."""

import zipfile

import numpy as np

from webvision.errors import DataError, printable

_FULL = np.iinfo(np.uint16).max  # visits that are counted; later ones change a mean no more


class Margins:
    """Sum and count of each row's margins: float32 and uint16, 96 MB at 16 million rows."""

    def __init__(self, rows):
        self.sums = np.zeros(rows, np.float32)
        self.counts = np.zeros(rows, np.uint16)

    def __len__(self):
        return len(self.counts)

    def add(self, rows, margins):
        """Count `margins` of `rows`; a row may be there twice."""
        unique, first, inverse, visits = np.unique(rows, return_index=True, return_inverse=True, return_counts=True)
        if len(unique) < len(rows):
            added = np.zeros(len(unique), np.float32)
            np.add.at(added, inverse, margins)
        else:
            added = margins[first]
        room = self.counts[unique] <= _FULL - visits
        self.sums[unique[room]] += added[room]
        self.counts[unique[room]] += visits[room].astype(np.uint16)

    def mean(self):
        """float32, the mean margin of each row; NaN for one that was never shown unmixed."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.sums / self.counts

    def save(self, path):
        """Write the file at `path`; the same bytes for the same margins."""
        with open(path, "wb") as file:
            np.savez(file, sums=self.sums, counts=self.counts)


def read_margins(path, rows):
    """The Margins in the file `path`, of a list of `rows`; DataError if it holds something else."""
    margins = Margins(0)
    try:
        with np.load(path, allow_pickle=False) as archive:
            margins.sums, margins.counts = archive["sums"], archive["counts"]
    except (OSError, ValueError, EOFError, KeyError, IndexError, zipfile.BadZipFile) as error:
        raise DataError(f"{printable(path)}: no margins of a run ({error}); use another checkpoint's") from None
    found = (margins.sums.dtype, margins.counts.dtype, margins.sums.shape, margins.counts.shape)
    if found != (np.float32, np.uint16, (rows,), (rows,)):
        raise DataError(
            f"{printable(path)}: margins of {len(margins)} rows, and the list has {rows}; is it another list?"
        )
    return margins
