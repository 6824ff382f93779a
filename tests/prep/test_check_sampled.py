"""Sampled checks and copies in bounded memory."""

import numpy as np
import pytest

from tests.support.archive_fixtures import put_into_archives
from tests.support.loader_fixtures import CLASSES, make_tree
from webvision.data.data_set import DataSet
from webvision.data.pictures.images import REASONS
from webvision.prep.check import same
from webvision.prep.check.sampled import bounds, sample_split, summarise, tell
from webvision.prep.check.scan import READ, RECORD, ScanOptions


@pytest.mark.parametrize(
    "bad, looked_at, least, most",
    [
        (0, 3000, 0.0, 0.0012289),  # R: binom.test(0, 3000)
        (1, 10, 0.0025286, 0.4450161),
        (5, 100, 0.0164319, 0.1128349),
        (10, 10, 0.6915029, 1.0),
        (300, 100_000, 0.0026713, 0.0033581),
    ],
)
def test_the_bounds_are_clopper_and_pearsons(bad, looked_at, least, most):
    assert bounds(bad, looked_at) == pytest.approx((least, most), abs=2e-6)


def test_the_bounds_hold_as_often_as_they_say():
    draw = np.random.Generator(np.random.Philox(key=1))
    for share in (0.002, 0.05):
        intervals = [bounds(bad, 400) for bad in draw.binomial(400, share, 400).tolist()]
        assert np.mean([low <= share <= high for low, high in intervals]) > 0.95


def test_a_sample_of_all_is_exact_and_needs_no_bounds():
    reasons = np.zeros(10, np.uint8)
    reasons[3] = REASONS.index("corrupt")
    found = summarise(np.arange(10), reasons, 10)
    assert (found.at_least, found.at_most, found.bad) == (0.1, 0.1, {"corrupt": 1}) and found.first == ((3, "corrupt"),)


def test_a_sample_finds_what_is_bad_among_files_and_in_archives(tmp_path):
    root = make_tree(tmp_path, 60, broken=range(0, 60, 3))
    (root / "meta" / "synsets.txt").write_text("".join(f"c{label}\n" for label in range(CLASSES)))

    def sampled(seed):
        split = DataSet.open(str(root)).split("train")
        options = ScanOptions("decode", split.pictures.policy)
        found = sample_split(split.index, split.pictures, options, count=40, seed=seed, jobs=2, timeout_s=60)
        return found, list(tell("train", found, path_of=lambda row: split.index.paths([row])[0]))

    loose, said = sampled(1)
    assert loose.looked_at == 40 and 5 < loose.bad["truncated"] < 20
    assert loose.at_least < 1 / 3 < loose.at_most
    assert all(row % 3 == 0 for row, _ in loose.first)
    assert "looked at 40 of 60 pictures" in said[0] and said[1].endswith("[truncated]")
    assert sampled(2)[0].first != loose.first and sampled(1)[0] == loose
    put_into_archives(root, "train")
    assert sampled(1)[0] == loose


def test_copies_are_the_same_however_many_parts_they_are_sought_in(monkeypatch):
    draw = np.random.Generator(np.random.Philox(key=3))
    records = np.zeros(5000, RECORD)
    records["content"] = draw.integers(0, 1 << 64, (1500, 2), np.uint64)[draw.integers(0, 1500, 5000)]
    records["content"][::7, 1] += 1  # an equal first half is not enough
    records["flags"] = READ * (draw.random(5000) < 0.9)
    seen, left, right = {}, [], []
    for row in np.flatnonzero(records["flags"]).tolist():
        first = seen.setdefault(records["content"][row].tobytes(), row)
        if first != row:
            left.append(row)
            right.append(first)
    for rows, sorted_at_once in ((1 << 20, 1 << 21), (512, 700), (100, 1)):
        monkeypatch.setattr(same, "_ROWS", rows)
        monkeypatch.setattr(same, "_SORTED", sorted_at_once)
        found = same.copies(records)
        assert found.left.tolist() == left and found.right.tolist() == right
