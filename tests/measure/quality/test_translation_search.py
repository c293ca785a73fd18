"""Ranks against sorting, at chunks that do not divide, and figures by hand."""

from __future__ import annotations

import numpy as np
import pytest

from compact_labse.measure.quality import translation_search
from compact_labse.measure.quality.translation_search import search_figures, target_ranks
from tests.measure.vectors import noisy, unit


@pytest.mark.parametrize("chunk", [1, 7, 40, 512])
def test_ranks_equal_sorting(monkeypatch: pytest.MonkeyPatch, chunk: int):
    monkeypatch.setattr(translation_search, "_CHUNK", chunk)
    documents = unit(60, 5, 1)
    target = np.random.default_rng(2).integers(0, 60, 40)
    queries = noisy(documents[target], 0.9, 3)
    wanted = []
    for query, own in zip(queries, target, strict=True):
        order = sorted(range(60), key=lambda row: (-float(query @ documents[row]), row))
        wanted.append(order.index(own) + 1)
    found = target_ranks(queries, documents, target)
    assert found.tolist() == wanted
    assert 1 < np.mean(wanted) < 30


def test_equal_scores_rank_in_order_so_that_a_constant_encoder_is_not_perfect():
    same = np.ones((4, 3), np.float32)
    assert target_ranks(same, same, np.arange(4)).tolist() == [1, 2, 3, 4]


def test_figures_by_hand():
    assert search_figures(np.array([1, 2, 4, 20])) == pytest.approx(
        {"recall_1": 25, "recall_5": 75, "recall_10": 75, "mrr": 100 * (1 + 0.5 + 0.25 + 0.05) / 4}
    )
