"""Neighbours come into the batch of the pair that brings them; everything else stays as the sampler below draws it."""

from __future__ import annotations

import numpy as np
import pytest

from compact_labse import neighbours
from compact_labse.errors import UserError
from compact_labse.neighbours import nearest_others
from compact_labse.training.companions import CompanionSampler
from compact_labse.training.sampler import Sampler


class FewPairs:
    """Eight rows of five source texts; row 6 is not for training."""

    unique = np.array([0, 0, 1, 2, 2, 3, 4, 3], np.uint32)
    train_rows = np.array([0, 1, 2, 3, 4, 5, 7])


NEAR = np.array([[1, 2], [0, 3], [3, 0], [2, 1]], np.uint32)  # of texts 0, 1, 2, 3


def sampler(weights=(1.0,) * 7, companions=2):
    base = Sampler([FewPairs.train_rows], np.array([1.0]), 3, seed=0)
    return base, CompanionSampler(base, FewPairs(), NEAR, np.array(weights), companions, seed=0)


def test_each_drawn_row_brings_rows_of_its_neighbours():
    base, with_companions = sampler()
    for step in range(30):
        rows = with_companions.rows(step)
        drawn, brought = rows[:3], rows[3:].reshape(3, 2)
        assert drawn.tolist() == base.rows(step).tolist()
        for row, others in zip(drawn, brought, strict=True):
            assert sorted(FewPairs.unique[others]) == sorted(NEAR[FewPairs.unique[row]])
            assert 6 not in others


def test_a_step_gives_the_same_rows_whenever_it_is_asked():
    _, one = sampler(companions=1)
    _, other = sampler(companions=1)
    expected = [one.rows(step).tolist() for step in range(5)]
    assert [other.rows(step).tolist() for step in (4, 3, 2, 1, 0)][::-1] == expected
    assert len({tuple(rows) for rows in expected}) > 1


def test_rows_of_weight_zero_are_not_brought():
    _, with_companions = sampler(weights=(1, 0, 1, 1, 1, 1, 1), companions=2)
    brought = np.concatenate([with_companions.rows(step)[3:] for step in range(60)])
    assert 1 not in brought and 0 in brought


def test_more_companions_than_neighbours_are_refused():
    with pytest.raises(UserError, match="companions must be from 1 to 2 here, got 3"):
        sampler(companions=3)


@pytest.fixture(params=["exact", "cells"])
def by(request, monkeypatch):
    if request.param == "cells":
        pytest.importorskip("faiss")
        monkeypatch.setattr(neighbours, "EXACT_UP_TO", 10)
        monkeypatch.setattr(neighbours, "CELLS_VISITED", 64)
    monkeypatch.setattr(neighbours, "QUERIES", 150)
    return request.param


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_nearest_others_are_those_of_comparing_with_all(by):
    vectors = np.random.default_rng(0).normal(size=(400, 8)).astype(np.float32)
    vectors[7] = vectors[8] = vectors[9]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -2)
    found = nearest_others(vectors, 5)
    assert found.shape == (400, 5)
    assert (found != np.arange(400)[:, None]).all()
    np.testing.assert_allclose(np.take_along_axis(cosines, found, 1), -np.sort(-cosines, axis=1)[:, :5], atol=1e-6)
