"""Cross-lingual search: where the translation of a query stands among all documents.

Shapes: Q queries, M documents, D dimension, B rows of a chunk.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_CHUNK = 512


def target_ranks(queries_QD: np.ndarray, documents_MD: np.ndarray, target_Q: np.ndarray) -> np.ndarray:
    """The rank (1 is best) of document `target_Q[q]` for every query by dot product, `[Q]` int64.

    Of documents with equal scores the earlier ones rank higher, so that an encoder whose vectors are all the same does
    not look perfect.
    """
    ranks_Q = np.empty(len(queries_QD), dtype=np.int64)
    places_M = np.arange(len(documents_MD))
    for start in range(0, len(queries_QD), _CHUNK):
        scores_BM = queries_QD[start : start + _CHUNK] @ documents_MD.T
        target_B = target_Q[start : start + _CHUNK, None]
        own_B = np.take_along_axis(scores_BM, target_B, axis=1)
        before_BM = (scores_BM > own_B) | ((scores_BM == own_B) & (places_M < target_B))
        ranks_Q[start : start + _CHUNK] = 1 + before_BM.sum(axis=1)
    return ranks_Q


def recall_at(ranks_Q: np.ndarray, k: int) -> float:
    """Percent of queries whose document is among the first `k`."""
    return 100 * float((ranks_Q <= k).mean())


def mean_reciprocal_rank(ranks_Q: np.ndarray) -> float:
    """100 x the mean of 1 / rank."""
    return 100 * float((1 / ranks_Q).mean())


def search_figures(ranks_Q: np.ndarray, ks: Sequence[int] = (1, 5, 10)) -> dict[str, float]:
    """`recall_1`, `recall_5`, `recall_10` and `mrr`, in percent."""
    return {**{f"recall_{k}": recall_at(ranks_Q, k) for k in ks}, "mrr": mean_reciprocal_rank(ranks_Q)}
