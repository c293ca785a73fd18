"""BUCC-style mining of translations: ratio margins over k nearest neighbours, and F1 at a threshold tuned elsewhere.

Margins and one-to-one matching follow Artetxe and Schwenk, "Margin-based Parallel Corpus Mining" (2019), equation 2
with the ratio. Shapes: N, M sentences of two languages, D dimension, K neighbours, C candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compact_labse.measure.quality.quality import nearest_scored

NEIGHBOURS = 4
_PAIR, _X_ONLY, _Y_ONLY = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class Mined:
    """Candidate translations, best first, every sentence of either side at most once."""

    x_C: np.ndarray
    y_C: np.ndarray
    margin_C: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Score:
    """Percent. `threshold` is the margin from which a candidate counted."""

    precision: float
    recall: float
    f1: float
    threshold: float


@dataclass(frozen=True, kw_only=True)
class Haystack:
    """A parallel set of which half of the sentences lost their partner.

    `x_rows` and `y_rows` are the rows that stay on either side, `gold` maps an x row to its y row, and `half` says for
    every row of the set in which half it is scored.
    """

    x_rows: np.ndarray
    y_rows: np.ndarray
    gold: dict[int, int]
    half: np.ndarray


def haystack(english_rows_N: np.ndarray, pool: int, seed: int = 0) -> Haystack:
    """Of N pairs (x row i, English row `english_rows_N[i]` of `pool`), keep half whole and break half, always the same.

    A quarter of the sentences loses its English, a quarter of the English its sentence. Equal English of two pairs is
    one row, which is kept or dropped once.
    """
    random = np.random.default_rng(seed)
    role_M = random.permutation(np.arange(pool) % 4) - 1
    role_N = np.clip(role_M, _PAIR, _Y_ONLY)[english_rows_N]
    half_N = random.permutation(np.arange(len(english_rows_N)) % 2)
    x_rows = np.flatnonzero(role_N != _Y_ONLY)
    dropped = np.unique(english_rows_N[role_N == _X_ONLY])
    y_rows = np.setdiff1d(np.arange(pool), dropped)
    gold = {int(i): int(english_rows_N[i]) for i in np.flatnonzero(role_N == _PAIR)}
    return Haystack(x_rows=x_rows, y_rows=y_rows, gold=gold, half=half_N)


def mine(x_ND: np.ndarray, y_MD: np.ndarray, k: int = NEIGHBOURS) -> Mined:
    """Match unit vectors by their margin: the cosine over the mean cosine to both sides' `k` nearest neighbours.

    Each sentence proposes the neighbour of highest margin; of all proposals the best are taken first, and a sentence
    that is taken is not taken again.
    """
    forward, backward = nearest_scored(x_ND, y_MD, min(k, len(y_MD))), nearest_scored(y_MD, x_ND, min(k, len(x_ND)))
    mean_N, mean_M = forward[0].mean(axis=1), backward[0].mean(axis=1)
    x_of_x, y_of_x, margin_x = _proposals(*forward, mean_N, mean_M)
    y_of_y, x_of_y, margin_y = _proposals(*backward, mean_M, mean_N)
    x, y = np.concatenate([x_of_x, x_of_y]), np.concatenate([y_of_x, y_of_y])
    margin = np.concatenate([margin_x, margin_y])
    kept, seen_x, seen_y = [], set(), set()
    for c in np.lexsort((y, x, -margin)).tolist():
        if x[c] not in seen_x and y[c] not in seen_y:
            kept.append(c)
            seen_x.add(x[c])
            seen_y.add(y[c])
    return Mined(x_C=x[kept], y_C=y[kept], margin_C=margin[kept])


def _proposals(
    scores_NK: np.ndarray, rows_NK: np.ndarray, own_N: np.ndarray, other_M: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # The means of vectors that point apart may be near zero or below it, where a ratio says nothing.
    margin_NK = scores_NK / np.maximum((own_N[:, None] + other_M[rows_NK]) / 2, 1e-6)
    best_N, own = margin_NK.argmax(axis=1), np.arange(len(scores_NK))
    return own, rows_NK[own, best_N], margin_NK[own, best_N]


def score_halves(mined: Mined, hay: Haystack) -> Score:
    """Precision, recall and F1 with the threshold tuned on one half and scored on the other: mean of both ways."""
    x_C, y_C = hay.x_rows[mined.x_C], hay.y_rows[mined.y_C]
    right_C = np.array([hay.gold.get(x) == y for x, y in zip(x_C.tolist(), y_C.tolist(), strict=True)], dtype=bool)
    half_C, gold_half = hay.half[x_C], hay.half[list(hay.gold)]
    found = []
    for tuned, scored in ((0, 1), (1, 0)):
        on, of = half_C == tuned, half_C == scored
        threshold = best_threshold(mined.margin_C[on], right_C[on], int((gold_half == tuned).sum()))
        taken = of & (mined.margin_C >= threshold)
        figures = f1(int(right_C[taken].sum()), int(taken.sum()), int((gold_half == scored).sum()))
        found.append((*figures, threshold))
    precision, recall, both, threshold = (float(np.mean(column)) for column in zip(*found, strict=True))
    return Score(precision=100 * precision, recall=100 * recall, f1=100 * both, threshold=threshold)


def best_threshold(margin_C: np.ndarray, right_C: np.ndarray, gold: int) -> float:
    """The margin that gives the highest F1, midway to the next candidate; infinite if nothing is right."""
    order = np.argsort(-margin_C, kind="stable")
    margins, hits = margin_C[order], np.cumsum(right_C[order])
    if not len(hits) or not hits[-1]:
        return float("inf")
    # F1 is 2 * hits / (taken + gold); candidates of equal margin are taken together.
    last_of_equals = np.append(margins[1:] < margins[:-1], True)
    f1_C = np.where(last_of_equals, 2 * hits / (np.arange(1, len(hits) + 1) + gold), -1)
    best = int(f1_C.argmax())
    return float((margins[best] + margins[best + 1]) / 2 if best + 1 < len(margins) else margins[best])


def f1(hits: int, taken: int, gold: int) -> tuple[float, float, float]:
    """Precision, recall and F1 as shares; 0 where a denominator is 0."""
    precision, recall = hits / taken if taken else 0.0, hits / gold if gold else 0.0
    return precision, recall, 2 * precision * recall / (precision + recall) if hits else 0.0
