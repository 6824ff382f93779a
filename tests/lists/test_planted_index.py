"""A side file that its maker wants us to believe: it gives no picture another label, and leads nowhere else."""

import contextlib
import fcntl
import os
import shutil

import numpy as np
import pytest

from tests.support.index_fixtures import OLD_NS, a_list, check, side_file
from webvision.data.lists import index, index_file
from webvision.data.lists.balance import parse_balance, targets
from webvision.data.lists.index import open_index
from webvision.data.lists.order import EpochOrder
from webvision.data.native import library
from webvision.errors import DataError, WebvisionError


def rotated(tables, by=1, classes=7):
    labels = ((tables.labels.astype(int) + by) % classes).astype(tables.labels.dtype)
    return index_file.Tables(tables.offsets, labels, *index_file.group_by_class(labels, classes))


def tables_of(opened):
    """Copies of what an index says."""
    fields = opened._offsets, opened.labels, opened.rows_by_class, opened.class_starts
    return index_file.Tables(*(None if field is None else np.array(field) for field in fields))


def forge(path, change, **options):
    """Let the side file of `path` say what `change(tables)` does, with everything else about it right; then open it."""
    opened = open_index(path, 7, **options)
    forged = change(tables_of(opened))
    index_file.write_tables(side_file(path), forged, facts=opened._facts, sha256=opened.hash)
    return open_index(path, 7, **options)


def test_an_index_that_comes_along_with_its_list_is_not_believed(tmp_path, builds):
    """Packed by somebody who made it of the same list, with other labels; unpacked by this user, so it is theirs."""
    (tmp_path / "theirs").mkdir()
    theirs = a_list(tmp_path / "theirs")
    forge(theirs, rotated)
    (tmp_path / "ours").mkdir()
    ours = tmp_path / "ours" / "train.txt"
    shutil.copy2(theirs, ours)
    shutil.copy2(side_file(theirs), side_file(str(ours)))
    os.utime(side_file(str(ours)), ns=(OLD_NS, OLD_NS + 10**15))
    check(open_index(str(ours), 7))
    assert len(builds) == 2


AMID = (np.arange(1001) % 5 == 3).astype(np.uint32)
PAIRS = np.minimum(2 * np.arange(1001), 1000)
HUGE = np.minimum(1000 * np.arange(1001), 1000)
FORGERIES = {
    "labels": rotated,
    "a label that no class has": lambda tables: tables._replace(labels=np.full_like(tables.labels, 60_000)),
    "starts within lines": lambda tables: tables._replace(offsets=tables.offsets + 3),
    "a start amid its line": lambda tables: tables._replace(offsets=tables.offsets - AMID),
    "two lines in one": lambda tables: tables._replace(offsets=tables.offsets[PAIRS]),
    "starts past the end": lambda tables: tables._replace(offsets=tables.offsets + 10**9),
    "backwards": lambda tables: tables._replace(offsets=tables.offsets[::-1].copy()),
    "one huge line": lambda tables: tables._replace(offsets=tables.offsets[HUGE]),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_what_an_index_says_is_compared_with_the_list(tmp_path, forgery):
    """Whatever comes out is a line of the list with its own label, or an error."""
    path = a_list(tmp_path)
    truth = list(open_index(path, 7).entries())
    opened = forge(path, FORGERIES[forgery])
    with pytest.raises(DataError, match="its index does not fit it.*Delete .*train.txt.index"):
        for row in range(1000):
            assert opened.entry(row) in truth
    for ask in (lambda: opened.names([7, 3, 999, 0]), lambda: opened.names(range(1000))):
        with contextlib.suppress(DataError):
            assert set(ask()) <= {entry.name for entry in truth}
    with contextlib.suppress(DataError):
        assert list(opened.entries()) == truth
    with contextlib.suppress(DataError):
        assert set(opened.lines(range(1000)).tobytes().split(b"\n")[:-1]) <= set(open(path, "rb").read().split(b"\n"))


def test_rows_that_are_none_are_an_error_of_the_data(tmp_path):
    opened = forge(
        a_list(tmp_path), lambda tables: tables._replace(rows_by_class=tables.rows_by_class + np.uint32(5000))
    )
    order = EpochOrder(opened, targets(opened.counts, parse_balance("none")), seed=1)
    with pytest.raises(DataError, match="row outside"):
        opened.names(order.rows(0, np.arange(8)))


def test_classes_that_do_not_add_up_are_a_stale_index(tmp_path, builds):
    check(forge(a_list(tmp_path), lambda tables: tables._replace(class_starts=tables.class_starts + 1)))
    assert len(builds) == 2


@pytest.mark.parametrize("name", ["../../secret.jpg", "/etc/secret.jpg", "n0/../../secret.jpg"])
def test_a_name_that_leads_outside_is_refused_though_an_index_lets_it_in(tmp_path, name):
    path = tmp_path / "train.txt"
    path.write_text(f"a.jpg 1\n{name} 2\n")
    os.utime(path, ns=(OLD_NS, OLD_NS))
    allowed = open_index(path, 7, allow_outside=True)
    facts = allowed._facts._replace(allow_outside=False)
    index_file.write_tables(side_file(str(path)), tables_of(allowed), facts=facts, sha256=allowed.hash)
    opened = open_index(path, 7)
    assert opened.name(0) == "a.jpg"
    with pytest.raises(DataError, match="does not fit"):
        opened.paths([0, 1])


def test_an_index_that_others_made_or_may_change_is_made_again(tmp_path, builds):
    path = a_list(tmp_path)
    open_index(path, 7)
    os.chmod(side_file(path), 0o664)
    check(open_index(path, 7))
    assert len(builds) == 2 and not os.stat(side_file(path)).st_mode & 0o022
    if os.getuid() == 0:
        os.chown(side_file(path), 65534, 65534)
        check(open_index(path, 7))
        assert len(builds) == 3 and os.stat(side_file(path)).st_uid == 0
    os.rename(side_file(path), tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", side_file(path))
    check(open_index(path, 7))
    assert not os.path.islink(side_file(path))


def test_a_wide_umask_does_not_make_every_start_a_first_one(tmp_path, builds):
    path, before = a_list(tmp_path), os.umask(0)
    try:
        check(open_index(path, 7))
        check(open_index(path, 7))
    finally:
        os.umask(before)
    assert len(builds) == 1


@pytest.mark.parametrize("compiled", [True, False])
def test_a_side_file_cut_short_in_use_ends_in_an_error_not_in_a_signal(tmp_path, compiled, monkeypatch):
    path = a_list(tmp_path, rows=200_000)
    compiled = compiled and bool(library.loaded())  # without a compiler both are the same case
    if not compiled:
        monkeypatch.setattr(library, "guard", lambda mapped, address: None)
    opened = open_index(path, 7)
    os.truncate(side_file(path), 4096)
    sums = opened.labels.sum(), opened.rows_by_class.max(), opened.counts.sum()
    if compiled:
        with pytest.raises(WebvisionError, match="cut short while it was in use|does not fit"):
            opened.names([0, 199_999])
        with pytest.raises(WebvisionError, match="cut short"):
            list(opened.entries())
    else:
        assert sums[1] == 199_999
        check(opened, rows=200_000)
    check(open_index(path, 7), rows=200_000)


def test_a_side_file_that_is_cut_while_it_is_read_is_made_again(tmp_path, monkeypatch, builds):
    path = a_list(tmp_path, rows=200_000)
    open_index(path, 7)
    real = index_file._checked_header

    def cut(*args):
        monkeypatch.setattr(index_file, "_checked_header", real)
        os.truncate(side_file(path), 4096)
        return real(*args)

    monkeypatch.setattr(index_file, "_checked_header", cut)
    check(open_index(path, 7), rows=200_000)
    assert len(builds) == 2


def test_who_holds_a_lock_on_the_list_delays_nobody(tmp_path, monkeypatch):
    """Whoever can read a list can lock it."""
    path = a_list(tmp_path)
    with open(path, "rb") as theirs:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        monkeypatch.setattr(index.time, "sleep", lambda seconds: pytest.fail("waits for a stranger's lock"))
        check(open_index(path, 7))
