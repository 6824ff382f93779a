"""Rows that name a picture which an earlier row names: told by hashes, 8 bytes a row, and where it matters by name."""

import numpy as np

_NAMES_AT_ONCE = 1 << 14  # so that memory does not grow with the list


def hash_rows(look_up, count):
    """A 64-bit hash of what `look_up` (an index's `names` or `paths`) says of rows 0..count-1, good within this
    process; 0.3 us a row."""
    hashes = np.empty(count, np.int64)
    for start in range(0, count, _NAMES_AT_ONCE):
        names = look_up(range(start, min(start + _NAMES_AT_ONCE, count)))
        hashes[start : start + len(names)] = np.fromiter(map(hash, names), np.int64, len(names))
    return hashes


def find_repeats(index, hashes, *, limit=None):
    """(rows, the earlier row of each), both in list order, of the rows that name a picture again.

    hashes: a 64-bit hash of each row's name or path; equal ones are compared by name.
    limit: so many rows with equal hashes are compared, the first ones: a list doubled as a whole has millions.
    """
    order = np.argsort(hashes, kind="stable")
    equal = np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]])
    suspects = np.unique(np.concatenate([order[equal], order[equal + 1]]))[:limit]
    rows, first, seen = [], [], {}
    for row, name in zip(suspects.tolist(), index.names(suspects), strict=True):
        earlier = seen.setdefault(name, row)
        if earlier != row:
            rows.append(row)
            first.append(earlier)
    return np.array(rows, np.int64), np.array(first, np.int64)


def is_repeated(index):
    """Which rows name a picture that an earlier row names, bool [n]. Told by hashes alone: of
    16 million paths two differing ones share one in 1 of 100,000 lists."""
    repeated = np.ones(len(index), bool)
    repeated[np.unique(hash_rows(index.paths, len(index)), return_index=True)[1]] = False
    return repeated
