"""Find repetitions in a stream by 64-bit hashes, in 11 to 23 bytes per different item."""

from __future__ import annotations

from array import array
from hashlib import blake2b

import numpy as np

FULL = 0.7  # share of the table in use at which it doubles


def hash64(text: str) -> int:
    """A 64-bit hash of `text` that is the same on every machine and in every run: BLAKE2b of its UTF-8, not zero."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little") or 1


class Seen:
    """A set of hashes that only grows: a table of 8-byte slots with linear probing.

    It takes 11 to 23 bytes per hash (a Python set takes about 100), and for a moment 60 while it grows. Two different
    texts share a hash with probability 2**-64: one run over 100 million texts in 3,700 drops a text wrongly.
    """

    def __init__(self) -> None:
        self._count = 0
        self._allocate(1 << 16)

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """Size of the table in bytes."""
        return len(self._table) * self._table.itemsize

    def add(self, item: int) -> bool:
        """Put a hash from `hash64` in; False if it was there already."""
        table, mask = self._table, self._mask
        slot = item & mask
        while found := table[slot]:
            if found == item:
                return False
            slot = (slot + 1) & mask
        table[slot] = item
        self._count += 1
        if self._count > self._room:
            self._grow()
        return True

    def _allocate(self, slots: int) -> None:
        self._table = array("Q", [0]) * slots
        self._mask = slots - 1
        self._room = int(slots * FULL)

    def _grow(self) -> None:
        # In place wherever possible: at this moment memory is at its highest.
        slots = 2 * len(self._table)
        items = np.frombuffer(self._table, dtype=np.uint64)
        items = items[items != 0]
        self._table = array("Q")
        home = (items & np.uint64(slots - 1)).astype(np.int64)
        items = items[np.argsort(home)]
        home.sort()
        # Placed in the order of their homes, each goes to its home or right after its neighbour.
        steps = np.arange(len(home))
        home -= steps
        np.maximum.accumulate(home, out=home)
        home += steps
        fits = int(np.searchsorted(home, slots))
        self._allocate(slots)
        np.frombuffer(self._table, dtype=np.uint64)[home[:fits]] = items[:fits]
        self._count = fits
        for item in items[fits:].tolist():
            self.add(item)
