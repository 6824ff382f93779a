"""The targets of each balance rule against numbers worked out by hand."""

import numpy as np
import pytest

from webvision.data.lists.balance import Balance, describe_empty, parse_balance, targets

COUNTS = np.array([100, 25, 1, 0, 50])


@pytest.mark.parametrize(
    "text, expected",
    [
        ("upsample", [100, 100, 100, 0, 100]),
        ("none", [100, 25, 1, 0, 50]),
        ("sqrt", [100, 50, 10, 0, 71]),  # ceil(sqrt(50 * 100)) = ceil(70.71)
        ("cap:3", [100, 75, 3, 0, 100]),
        ("cap:1", [100, 25, 1, 0, 50]),
        ("cap:1000", [100, 100, 100, 0, 100]),
    ],
)
def test_targets(text, expected):
    balance = parse_balance(text)
    assert targets(COUNTS, balance).tolist() == expected
    assert str(balance) == text


def test_sqrt_is_exact_for_large_squares():
    counts = np.array([16_000_000, 15_999_999, 1, 4])
    assert targets(counts, Balance("sqrt")).tolist() == [16_000_000, 16_000_000, 4000, 8000]


@pytest.mark.parametrize(
    "text", ["", "Upsample", "cap", "cap:", "cap:0", "cap:-1", "cap:x", "cap:1.5", "cap:99999999999", "sqrt:2", "cap:٣"]
)
def test_an_unknown_balance_says_which_there_are(text):
    with pytest.raises(ValueError, match="upsample, none, sqrt or cap:N"):
        parse_balance(text)


def test_empty_classes_are_named():  # B1
    assert describe_empty([1, 2], ["a", "b"]) is None
    assert describe_empty([1, 0], ["a", "n2"]) == "1 of 2 classes have no picture and cannot be learned: 1 (n2)"
    assert describe_empty(np.zeros(7), list("abcdefg")).endswith("4 (e) and 2 more")


def test_no_classes_at_all_have_no_target():
    assert targets(np.zeros(3, int), Balance("upsample")).tolist() == [0, 0, 0]
