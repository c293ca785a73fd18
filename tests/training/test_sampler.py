"""The sampler: exact shares, no repetition within a pass, and the same batches whatever the order of asking."""

from __future__ import annotations

import numpy as np
import pytest

from compact_labse.errors import UserError
from compact_labse.training.sampler import Sampler, grouped

GROUPS = [np.arange(0, 50), np.arange(50, 57), np.arange(57, 200)]
SHARES = np.array([0.5, 0.07, 0.43])


def test_batches_are_full_and_shares_exact_on_average():
    sampler = Sampler(GROUPS, SHARES, batch=8, seed=3)
    batches = [sampler.rows(step) for step in range(1000)]
    assert {len(rows) for rows in batches} == {8}
    drawn = np.bincount(np.searchsorted([50, 57], np.concatenate(batches), side="right"), minlength=3)
    np.testing.assert_allclose(drawn / 8000, SHARES, atol=0.002)


def test_a_group_is_used_up_before_any_row_comes_again():
    sampler = Sampler(GROUPS, SHARES, batch=8, seed=3)
    rows = np.concatenate([sampler.rows(step) for step in range(400)])
    for group in GROUPS:
        mine = rows[np.isin(rows, group)]
        for start in range(0, len(mine) - len(group), len(group)):
            assert len(set(mine[start : start + len(group)])) == len(group)
    first, second = (rows[np.isin(rows, GROUPS[1])][i * 7 : i * 7 + 7].tolist() for i in (0, 1))
    assert first != second, "each pass has an order of its own"


def test_a_step_gives_the_same_rows_in_any_order_of_asking():
    straight = Sampler(GROUPS, SHARES, batch=5, seed=1)
    expected = [straight.rows(step).tolist() for step in range(60)]
    jumping = Sampler(GROUPS, SHARES, batch=5, seed=1)
    for step in (59, 3, 30, 31, 0):
        assert jumping.rows(step).tolist() == expected[step]
    assert Sampler(GROUPS, SHARES, batch=5, seed=2).rows(0).tolist() != expected[0]


def test_grouped_gives_the_rows_of_each_class():
    found = grouped(np.array([2, 0, 2, 5]))
    assert {k: v.tolist() for k, v in found.items()} == {0: [1], 2: [0, 2], 5: [3]}


def test_an_empty_group_is_a_user_error():
    with pytest.raises(UserError, match="no rows"):
        Sampler([np.array([], int)], np.array([1.0]), batch=2, seed=0)
