"""A list with its index, and counters of what opening it cost."""

import os

import numpy as np
import pytest

from webvision.data.lists import index

OLD_NS = 1_600_000_000 * 10**9


def a_list(tmp_path, rows=1000, classes=7, mtime_ns=OLD_NS):
    path = tmp_path / "train.txt"
    path.write_text("".join(f"n{i % classes}/{i}.jpg {i % classes}\n" for i in range(rows)))
    os.utime(path, ns=(mtime_ns, mtime_ns))
    return str(path)


def side_file(path):
    return os.path.join(os.path.dirname(path), ".train.txt.index")


@pytest.fixture
def builds(monkeypatch):
    """Counts the scans: an index that was trusted adds none."""
    calls = []
    real = index.scan_list
    monkeypatch.setattr(index, "scan_list", lambda *args, **kwargs: calls.append(1) or real(*args, **kwargs))
    return calls


def check(opened, rows=1000, classes=7):
    assert len(opened) == rows and opened.num_classes == classes
    assert np.array_equal(opened.labels, np.arange(rows) % classes)
    assert opened.names([0, rows - 1, 1]) == ["n0/0.jpg", f"n{(rows - 1) % classes}/{rows - 1}.jpg", "n1/1.jpg"]
    assert np.array_equal(opened.counts, np.bincount(np.arange(rows) % classes, minlength=classes))
    for label in range(classes):
        part = opened.rows_by_class[opened.class_starts[label] : opened.class_starts[label + 1]]
        assert np.array_equal(part, np.arange(label, rows, classes))


@pytest.fixture
def hashes(monkeypatch):
    """Counts how often a whole list is hashed to find out whether it is still the same."""
    calls = []
    real = index._sha256
    monkeypatch.setattr(index, "_sha256", lambda file: calls.append(1) or real(file))
    return calls
