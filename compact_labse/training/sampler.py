"""Which rows of a corpus make the batch of a step: a pure function of seed and step, so that a resumed run sees the
same data in the same order as an uninterrupted one.

Shapes: G groups (a language of one weight class), S steps, B rows of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compact_labse.errors import UserError

GOLDEN = (5**0.5 - 1) / 2
STEPS_AT_ONCE = 8192


class Sampler:
    """Batches over groups of rows, each group drawn by its share and run through in a new random order each time.

    Every batch has exactly `batch` rows; each group's number in it is its share of the batch, rounded up or down so
    that it is exact on average.
    """

    def __init__(self, groups: Sequence[np.ndarray], shares_G: np.ndarray, batch: int, seed: int) -> None:
        if not groups or any(len(rows) == 0 for rows in groups):
            raise UserError("nothing to sample from: a group has no rows")
        if batch < 1:
            raise UserError(f"the batch must have at least 1 row, got {batch}")
        self._groups, self._batch, self._seed = list(groups), batch, seed
        total = np.cumsum(shares_G, dtype=np.float64)
        self._edges_G = total / total[-1]
        self._edges_G[-1] = 1.0  # exactly, so that every batch is full
        self._first = np.random.default_rng([seed, 0]).random()
        self._drawn_G, self._next = np.zeros(len(groups), np.int64), 0
        self._orders: dict[tuple[int, int], np.ndarray] = {}

    def rows(self, step: int) -> np.ndarray:
        """Row numbers of the batch of `step` (counted from 0), `[B]`. Steps in order are cheap, any order is right."""
        before_G = self._drawn_before(step)
        counts_G = self._counts(np.array([step]))[0]
        self._drawn_G, self._next = before_G + counts_G, step + 1
        picks = [self._pick(g, int(before_G[g]), int(n)) for g, n in enumerate(counts_G) if n]
        return np.concatenate(picks)

    def _counts(self, steps_S: np.ndarray) -> np.ndarray:
        """How many rows of each group the batches of some steps hold, `[S, G]`: systematic sampling.

        The batch's rows sit at equal distances on [0, 1), shifted by a low-discrepancy sequence; a group gets those
        that fall on its stretch.
        """
        shift_S = (self._first + steps_S * GOLDEN) % 1.0
        up_to_SG = np.ceil(self._edges_G[None, :] * self._batch - shift_S[:, None]).astype(np.int64)
        up_to_SG[:, -1] = self._batch
        return np.diff(up_to_SG, axis=1, prepend=0)

    def _drawn_before(self, step: int) -> np.ndarray:
        if step < self._next:
            self._drawn_G, self._next = np.zeros_like(self._drawn_G), 0
        drawn_G = self._drawn_G
        for start in range(self._next, step, STEPS_AT_ONCE):
            steps_S = np.arange(start, min(step, start + STEPS_AT_ONCE))
            drawn_G = drawn_G + self._counts(steps_S).sum(0)
        return drawn_G

    def _pick(self, group: int, drawn: int, count: int) -> np.ndarray:
        """`count` rows of a group after `drawn` ones, running into the next pass where this one ends."""
        rows, size = self._groups[group], len(self._groups[group])
        place = drawn + np.arange(count)
        passes = np.unique(place // size)
        found = [self._order(group, int(p))[place[place // size == p] % size] for p in passes]
        return rows[np.concatenate(found)]

    def _order(self, group: int, number: int) -> np.ndarray:
        order = self._orders.get((group, number))
        if order is None:
            self._orders.pop((group, number - 2), None)
            random = np.random.default_rng([self._seed, 1, group, number])
            order = random.permutation(len(self._groups[group])).astype(np.uint32)
            self._orders[group, number] = order
        return order


def grouped(classes_N: np.ndarray) -> dict[int, np.ndarray]:
    """Row numbers by class, ascending: `{class: rows}`."""
    order_N = np.argsort(classes_N, kind="stable")
    values, starts = np.unique(classes_N[order_N], return_index=True)
    return dict(zip(values.tolist(), np.split(order_N, starts[1:]), strict=True))
