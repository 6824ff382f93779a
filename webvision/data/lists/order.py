"""The order of an epoch as a function: position -> row, from (seed, epoch), at no memory.

A shuffled list of 71 million balanced entries would cost 280 MB or more in every process and must be handed about. A
keyed bijection needs nothing: any worker computes any batch, and a run resumes at any position.
"""

import functools
import hashlib

import numpy as np

from webvision.errors import DataError, printable

_SMALL_BITS = 20  # below, four rounds leave visible structure: few round-function values; see test_order.py
_CHUNK = 4096  # positions at a time: temporaries stay in the first-level cache; 0.2 us a row against 6 us singly


def permute(positions, size, *, seed, epoch):
    """The images of `positions` (integers 0..size-1) under a bijection of 0..size-1 that (seed, epoch) choose; int64.

    A Feistel network on the smallest power of two that holds `size`, walked on until the value is inside.
    """
    positions = np.asarray(positions)
    if positions.size and not 0 <= int(positions.min()) <= int(positions.max()) < size:
        raise IndexError(f"position outside 0..{size - 1}")
    out = np.empty(positions.shape, np.uint64)
    flat_in, flat_out = positions.reshape(-1), out.reshape(-1)
    bits = max(2, int(size - 1).bit_length())
    keys = _round_keys(seed, epoch, 4 if bits >= _SMALL_BITS else 12)
    for low in range(0, len(flat_in), _CHUNK):
        values = _encrypt(flat_in[low : low + _CHUNK].astype(np.uint64), bits, keys)
        outside = np.flatnonzero(values >= size)
        while len(outside):  # below half of the values at each turn: two turns on average at worst
            values[outside] = walked = _encrypt(values[outside], bits, keys)
            outside = outside[walked >= size]
        flat_out[low : low + _CHUNK] = values
    return out.astype(np.int64)


@functools.lru_cache(maxsize=8)
def _round_keys(seed, epoch, rounds):
    stream = hashlib.shake_256(f"webvision order {int(seed)} {int(epoch)}".encode()).digest(8 * rounds)
    return tuple(np.frombuffer(stream, "<u8"))


def _encrypt(values, bits, keys):
    """One pass through the network: the two halves take turns, each is changed by a keyed hash of the other."""
    low_bits = np.uint64(bits // 2)
    masks = (np.uint64((1 << (bits - bits // 2)) - 1), np.uint64((1 << (bits // 2)) - 1))
    halves = [values >> low_bits, values & masks[1]]
    for turn, key in enumerate(keys):
        changed = turn % 2
        halves[changed] ^= _mix(halves[1 - changed], key) & masks[changed]
    return halves[0] << low_bits | halves[1]


def _mix(values, key):
    """A 64-bit hash: the finaliser of MurmurHash3 on the keyed value; its low bits depend on all others."""
    mixed = values ^ key
    mixed ^= mixed >> np.uint64(33)
    mixed *= np.uint64(0xFF51AFD7ED558CCD)
    mixed ^= mixed >> np.uint64(33)
    mixed *= np.uint64(0xC4CEB9FE1A85EC53)
    mixed ^= mixed >> np.uint64(33)
    return mixed


class EpochOrder:
    """Balanced epochs over a labelled list: position -> row, pure in (list, targets, seed).

    In each epoch every picture occurs floor or ceil of target/count times of its class. The extra ones go on where
    those of the last epoch ended, so over any number of epochs no picture of a class occurs twice more than another;
    a stride coprime to the count spreads them over the class instead of taking neighbours in the list.
    """

    def __init__(self, index, targets, *, seed):
        """`index`: a ListIndex with labels, or the pair (class_starts, rows_by_class)."""
        starts, self._rows = index if isinstance(index, tuple) else (index.class_starts, index.rows_by_class)
        if starts is None:
            raise DataError(
                f"{printable(index.path)} has no labels, so there is nothing to train on; each line is `name label`"
            )
        self._targets = np.asarray(targets, np.int64)
        self._class_starts = np.asarray(starts[:-1], np.int64)
        self._counts = np.diff(starts).astype(np.int64)
        if (
            self._targets.shape != self._counts.shape
            or (self._targets < self._counts).any()
            or self._targets[self._counts == 0].any()
        ):
            raise ValueError("targets must hold, for each class, at least its count, and 0 for an empty class")
        if (largest := int(self._counts.max(initial=0))) >= 1 << 32:
            raise ValueError(f"{largest:,} pictures in one class; below {1 << 32:,} can be walked")  # see `picture`
        self._target_ends = np.cumsum(self._targets)
        self.seed = int(seed)
        self._stride = _coprime_strides(self._counts)
        self._first = np.frombuffer(
            hashlib.shake_256(f"webvision extras {self.seed}".encode()).digest(8 * len(self._counts)), "<u8"
        )

    def __len__(self):
        return int(self._target_ends[-1]) if len(self._target_ends) else 0

    def rows(self, epoch, positions):
        """The rows of the list at `positions` (integers 0..len-1) of `epoch`; int64, of the same shape."""
        entries = permute(positions, len(self), seed=self.seed, epoch=epoch)
        label = np.searchsorted(self._target_ends, entries, side="right")
        count = self._counts[label].astype(np.uint64)
        target = self._targets[label].astype(np.uint64)
        slot = entries.astype(np.uint64) - (self._target_ends[label].astype(np.uint64) - target)
        gone = target % count * np.uint64(epoch) % count  # where the epochs before have left off
        turn = (slot + gone + self._first[label] % count) % count
        picture = turn * self._stride[label] % count
        return self._rows[self._class_starts[label] + picture.astype(np.int64)].astype(np.int64)


def _coprime_strides(counts):
    """For each count the first number from 0.618 of it (the golden section spreads multiples best) that is coprime to
    it."""
    counts = np.maximum(np.asarray(counts, np.int64), 1)
    strides = np.maximum((counts * 0.6180339887).astype(np.int64), 1)
    while (shared := np.gcd(strides, counts) > 1).any():
        strides[shared] += 1
    return strides.astype(np.uint64)
