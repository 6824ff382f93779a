"""The bounds of lists and orders, each at its edge, without the rows: see docs/scale.md."""

import numpy as np
import pytest

from webvision.data.lists.order import EpochOrder, permute
from webvision.data.lists.scan import label_dtype, offset_dtype


class Identity:
    """Stands for rows_by_class of any length: row number n is n."""

    def __getitem__(self, rows):
        return np.asarray(rows)


@pytest.mark.parametrize("size", [(1 << 32) - 1, 1 << 32, (1 << 32) + 1, 10**12, (1 << 62) + 3])
def test_positions_beyond_32_bits_are_permuted_and_none_meets_another(size):
    edge = np.array([0, 1, size // 2, size - 2, size - 1])
    positions = np.unique(np.concatenate([edge, np.random.default_rng(1).integers(0, size, 20_000)]))
    found = permute(positions, size, seed=1, epoch=3)
    assert len(np.unique(found)) == len(positions)
    assert found.min() >= 0 and found.max() < size
    assert abs(np.corrcoef(positions.astype(float), found.astype(float))[0, 1]) < 0.05
    assert found.max() > 0.99 * size and found.min() < 0.01 * size


def test_four_billion_rows_are_balanced_each_class_to_its_target():
    counts = np.array([3_000_000_000, 1_500_000_000, 7])
    starts = np.concatenate([[0], np.cumsum(counts)])
    order = EpochOrder((starts, Identity()), np.full(3, counts.max()), seed=2)
    assert len(order) == 9_000_000_000
    rows = order.rows(5, np.random.default_rng(2).integers(0, len(order), 30_000))
    label = np.searchsorted(starts, rows, "right") - 1
    assert np.abs(np.bincount(label, minlength=3) - 10_000).max() < 500
    assert rows.max() < starts[-1] and rows.max() > 1 << 32


def test_a_class_at_the_edge_of_what_a_stride_can_be_has_each_picture_once():
    count = (1 << 32) - 5
    order = EpochOrder((np.array([0, count]), Identity()), np.array([count]), seed=3)
    rows = order.rows(0, np.arange(count - 20_000, count))
    assert len(np.unique(rows)) == 20_000 and 0 <= rows.min() <= rows.max() < count


def test_a_class_beyond_it_is_refused():
    count = 1 << 32
    with pytest.raises(ValueError, match="4,294,967,296 pictures in one class"):
        EpochOrder((np.array([0, count]), Identity()), np.array([count]), seed=3)


def test_types_grow_where_their_numbers_do():
    assert offset_dtype((1 << 32) - 2).itemsize == 4 and offset_dtype((1 << 32) - 1).itemsize == 8
    assert label_dtype(1 << 16).itemsize == 2 and label_dtype((1 << 16) + 1).itemsize == 4
