"""Which labels are probably wrong: pure functions against loops, and margins from a file."""

import numpy as np
import pytest

from webvision.errors import DataError
from webvision.scoring.figures import label_errors
from webvision.scoring.predictions.margins_file import Margins, read_margins


def test_the_confident_joint_equals_its_definition_row_by_row():
    rng = np.random.default_rng(4)
    labels, probabilities = rng.integers(0, 5, 300), rng.dirichlet(np.ones(6) * 0.4, 300)  # no row is labelled 5
    thresholds = [probabilities[labels == c, c].mean() if (labels == c).any() else np.inf for c in range(6)]
    joint = np.zeros((6, 6), int)
    for label, p in zip(labels, probabilities):
        above = [c for c in range(6) if p[c] >= thresholds[c] - 1e-6]
        if above:
            joint[label, max(above, key=lambda c: p[c])] += 1
    for c in range(6):
        joint[c, c] = max(joint[c, c], 1)
    found = label_errors.confident_joint(labels, probabilities)
    assert (found == joint).all() and found.dtype == np.int64
    counts = np.bincount(labels, minlength=6)
    expected = [round(counts[c] * (1 - joint[c, c] / joint[c].sum())) for c in range(6)]
    assert label_errors.wrong_counts(joint, counts).tolist() == expected


def test_the_lowest_margins_come_first_and_unseen_rows_not_at_all():
    means = np.array([0.5, np.nan, -2.0, -2.0, 1.0, -0.1])
    assert label_errors.suspicion(means).tolist() == [2, 3, 5, 0, 4]
    assert label_errors.contradicted(means).tolist() == [False, False, True, True, False, True]
    labels = np.array([0, 0, 1, 0, 1, 1])
    assert label_errors.lowest_of_each_class(means, labels, [2, 1]).tolist() == [True, False, True, True, False, False]


def test_margins_add_up_by_row_also_where_one_comes_twice_and_stop_at_the_largest_count(tmp_path):
    margins = Margins(4)
    margins.add(np.array([2, 0, 2]), np.array([1.0, -3.0, 0.5], np.float32))
    margins.add(np.array([0]), np.array([1.0], np.float32))
    assert margins.sums.tolist() == [-2, 0, 1.5, 0] and margins.counts.tolist() == [2, 0, 2, 0]
    np.testing.assert_array_equal(margins.mean(), np.float32([-1, np.nan, 0.75, np.nan]))
    margins.counts[2] = 65534
    margins.add(np.array([2, 2, 3]), np.array([9.0, 9.0, 1.0], np.float32))
    assert margins.counts.tolist() == [2, 0, 65534, 1] and margins.sums[2] == 1.5, "two more do not fit"
    margins.save(tmp_path / "a.npz")
    margins.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    kept = read_margins(tmp_path / "a.npz", 4)
    assert (kept.sums == margins.sums).all() and (kept.counts == margins.counts).all()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY"])
def test_a_file_that_holds_no_margins_of_the_list_is_refused(tmp_path, content):
    path = tmp_path / "m.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match="no margins of a run"):
        read_margins(path, 4)
    Margins(3).save(path)
    with pytest.raises(DataError, match="margins of 3 rows, and the list has 4"):
        read_margins(path, 4)
