"""The order of an epoch: a bijection, seeded; balance exact in each epoch and over epochs."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webvision.data.lists import order
from webvision.data.lists.balance import parse_balance, targets
from webvision.data.lists.index import open_index
from webvision.data.lists.index_file import group_by_class
from webvision.data.lists.order import EpochOrder, permute
from webvision.errors import DataError


def an_order(counts, balance="upsample", seed=1):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    rows, starts = group_by_class(labels, len(counts))
    return EpochOrder((starts, rows), targets(np.array(counts), parse_balance(balance)), seed=seed), labels


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.integers(1, 70), st.integers(71, 40_000)), st.integers(0, 2**63), st.integers(0, 10**6))
def test_permute_is_a_bijection(size, seed, epoch):
    image = permute(np.arange(size), size, seed=seed, epoch=epoch)
    assert np.array_equal(np.sort(image), np.arange(size))


def test_permute_is_a_bijection_of_a_million_and_not_near_the_identity():
    size = 1_300_001  # four rounds, a little above a power of two's half
    image = permute(np.arange(size), size, seed=5, epoch=0)
    assert np.array_equal(np.sort(image), np.arange(size))
    assert abs(np.corrcoef(np.arange(size), image)[0, 1]) < 0.004
    steps = np.diff(image)
    assert abs((steps > 0).mean() - 0.5) < 0.003 and (np.abs(steps) < size / 1000).mean() < 0.003


@pytest.mark.parametrize("size", [3, 10, 50, 1000, 1 << 20])
def test_every_place_is_equally_likely_over_seeds(size):
    """Chi-square of where four early positions land, over 2000 keys and 10 bins; 99.99 % of uniform draws stay below
    33.7 (9 degrees)."""
    where = np.array([permute(np.arange(min(4, size)), size, seed=seed, epoch=0) for seed in range(2000)])
    bins = np.minimum(10, size)
    expected = np.histogram(np.arange(size), bins, (0, size))[0] / size * 2000
    for column in where.T:
        counts = np.histogram(column, bins, (0, size))[0]
        assert ((counts - expected) ** 2 / expected).sum() < 33.7


def test_pairs_are_independent_for_a_small_set():
    """Over keys, the images of positions 0 and 1 take each ordered pair of 5 values alike: 20 pairs, 19 degrees, 99.99
    % below 50.8."""
    pairs = np.array([permute(np.arange(2), 5, seed=seed, epoch=0) for seed in range(4000)])
    counts = np.bincount(pairs[:, 0] * 5 + pairs[:, 1], minlength=25)
    assert ((counts[counts > 0] - 200) ** 2 / 200).sum() < 50.8 and (counts > 0).sum() == 20


def test_seed_and_epoch_choose_and_nothing_else_does():
    base = permute(np.arange(1000), 1000, seed=1, epoch=1)
    assert not np.array_equal(base, permute(np.arange(1000), 1000, seed=2, epoch=1))
    assert not np.array_equal(base, permute(np.arange(1000), 1000, seed=1, epoch=2))
    parts = [permute(np.array([i]), 1000, seed=1, epoch=1)[0] for i in range(1000)]
    assert np.array_equal(base, parts)


GOLDEN_SMALL = [2, 8, 7, 5, 3, 1]
GOLDEN_LARGE = [44802341, 15349547, 5843902]


def test_the_order_is_part_of_the_format():
    """A resumed run continues an order that another version began: these numbers may never change."""
    assert permute(np.arange(6), 10, seed=7, epoch=3).tolist() == GOLDEN_SMALL
    assert permute(np.array([0, 1, 70_900_000 - 1]), 70_900_000, seed=0, epoch=0).tolist() == GOLDEN_LARGE


def test_positions_outside_are_refused():
    for position in (-1, 10):
        with pytest.raises(IndexError):
            permute(np.array([position]), 10, seed=0, epoch=0)


@pytest.mark.parametrize("balance", ["upsample", "none", "sqrt", "cap:2", "cap:7"])
def test_each_picture_occurs_floor_or_ceil_of_its_share(balance):
    counts = [400, 123, 1, 0, 37, 399, 2]
    epoch_order, labels = an_order(counts, balance)
    goal = targets(np.array(counts), parse_balance(balance))
    rows = epoch_order.rows(3, np.arange(len(epoch_order)))
    assert len(rows) == goal.sum()
    assert np.array_equal(np.bincount(labels[rows], minlength=7), goal)
    times = np.bincount(rows, minlength=len(labels))
    share = goal[labels] / np.array(counts)[labels]
    assert (times >= 1).all() and (np.floor(share) <= times).all() and (times <= np.ceil(share)).all()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(any),
    st.sampled_from(["upsample", "sqrt", "cap:3"]),
    st.integers(0, 99),
    st.integers(0, 50),
)
def test_over_epochs_no_picture_is_repeated_twice_more_than_another(counts, balance, seed, first_epoch):
    epoch_order, labels = an_order(counts, balance, seed)
    total = np.zeros(len(labels), int)
    for epoch in range(first_epoch, first_epoch + 7):
        total += np.bincount(epoch_order.rows(epoch, np.arange(len(epoch_order))), minlength=len(labels))
        for label in range(len(counts)):
            assert np.ptp(total[labels == label]) <= 1 if counts[label] else True


def test_extras_of_an_epoch_are_spread_over_the_class_not_neighbours():
    epoch_order, _ = an_order([1000, 750])  # 250 extras among 750
    labels_start = 1000
    times = np.bincount(epoch_order.rows(0, np.arange(len(epoch_order))), minlength=1750)
    by_class = times[epoch_order._rows[labels_start:]]
    assert all(20 < (part == 2).sum() < 30 for part in np.array_split(by_class, 10))


def test_any_positions_in_any_shape_give_the_same_rows():
    epoch_order, _ = an_order([30, 7, 11])
    all_rows = epoch_order.rows(2, np.arange(len(epoch_order)))
    picked = np.array([[5, 89], [0, 5]])
    assert np.array_equal(epoch_order.rows(2, picked), all_rows[picked])
    assert epoch_order.rows(2, np.array([], int)).shape == (0,)


def test_other_processes_agree():
    code = (
        "import numpy as np; from webvision.data.lists.order import permute; "
        "print(permute(np.arange(50), 12345, seed=9, epoch=4).tolist())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == str(permute(np.arange(50), 12345, seed=9, epoch=4).tolist())


def test_wrong_targets_are_refused():
    starts, rows = np.array([0, 2, 2]), np.array([0, 1])
    for wrong in ([1, 0], [2, 1], [2]):
        with pytest.raises(ValueError, match="targets must hold"):
            EpochOrder((starts, rows), wrong, seed=0)


def test_a_list_without_labels_cannot_be_balanced(tmp_path):
    (tmp_path / "test.txt").write_text("a.jpg\nb.jpg\n")
    with pytest.raises(DataError, match="test.txt has no labels"):
        EpochOrder(open_index(tmp_path / "test.txt", 3), [0, 0, 0], seed=0)


def test_strides_are_coprime_to_their_counts():
    counts = np.arange(0, 3000)
    assert (np.gcd(order._coprime_strides(counts).astype(int), np.maximum(counts, 1)) == 1).all()
