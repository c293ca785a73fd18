"""How good vectors are: retrieval accuracy, rank correlation, agreement. Pure numpy, exact, in bounded memory.

Shapes: N sentences, M candidates, D dimension, B rows of a chunk, K neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from compact_labse.errors import UserError

_CHUNK = 1024


@dataclass(frozen=True, kw_only=True)
class Retrieval:
    """Percent of sentences whose nearest vector on the other side is their translation, in both directions, and F1."""

    forward: float
    backward: float
    forward_f1: float
    backward_f1: float
    pairs: int


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far two encoders agree on the same texts.

    Cosines are None where the dimensions differ; overlaps (percent) compare neighbourhoods and always exist.
    """

    mean_cosine: float | None
    worst_cosine: float | None
    worst_index: int | None
    top1_overlap: float
    top10_overlap: float
    texts: int


def nearest(x_ND: np.ndarray, y_MD: np.ndarray, k: int = 1, *, skip_self: bool = False) -> np.ndarray:
    """Indices [N, K] of the K rows of `y_MD` with the highest dot product, best first; ties go to the lower index.

    `skip_self` leaves row i out of the candidates of query i. Rows are handled 1,024 at a time.
    """
    return nearest_scored(x_ND, y_MD, k, skip_self=skip_self)[1]


def nearest_scored(
    x_ND: np.ndarray, y_MD: np.ndarray, k: int, *, skip_self: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Dot products and indices, both [N, K], as `nearest` finds them."""
    scores_NK, found_NK = np.empty((len(x_ND), k), dtype=x_ND.dtype), np.empty((len(x_ND), k), dtype=np.int64)
    for start in range(0, len(x_ND), _CHUNK):
        scores_BM = x_ND[start : start + _CHUNK] @ y_MD.T
        rows_B = np.arange(len(scores_BM))
        if skip_self:
            scores_BM[rows_B, start + rows_B] = -np.inf
        # The maximum, K times: for few neighbours far faster than sorting, and ties are decided as in a stable sort.
        for rank in range(k):
            best_B = scores_BM.argmax(axis=1)
            found_NK[start : start + _CHUNK, rank] = best_B
            scores_NK[start : start + _CHUNK, rank] = scores_BM[rows_B, best_B]
            scores_BM[rows_B, best_B] = -np.inf
    return scores_NK, found_NK


def retrieval_accuracy(x_ND: np.ndarray, y_ND: np.ndarray) -> Retrieval:
    """Tatoeba-style accuracy of unit vectors whose rows translate each other: x->y (forward) and y->x (backward).

    Only the index of the pair counts, so a duplicate of the right sentence is an error, as in LASER and MTEB.
    """
    _check("x", x_ND)
    _check("y", y_ND)
    if x_ND.shape != y_ND.shape:
        raise UserError(f"retrieval needs one vector per side of each pair: got shapes {x_ND.shape} and {y_ND.shape}")
    own_N = np.arange(len(x_ND))
    forward_N, backward_N = nearest(x_ND, y_ND)[:, 0], nearest(y_ND, x_ND)[:, 0]
    return Retrieval(
        forward=100 * float((forward_N == own_N).mean()),
        backward=100 * float((backward_N == own_N).mean()),
        forward_f1=retrieval_f1(forward_N),
        backward_f1=retrieval_f1(backward_N),
        pairs=len(x_ND),
    )


def retrieval_f1(found_N: np.ndarray) -> float:
    """F1 (percent) of finding row i for query i, every row a class of its own: MTEB's figure for Tatoeba.

    Recall of a class is whether its query was right, precision one over how often its row was found at all.
    """
    times_N = np.bincount(found_N, minlength=len(found_N))
    right_N = found_N == np.arange(len(found_N))
    return 100 * float(np.where(right_N, 2 / (1 + times_N), 0).mean())


def ranks(values_N: Sequence[float] | np.ndarray) -> np.ndarray:
    """Ranks 1..N; equal values share the mean of their ranks."""
    _, group_N, counts = np.unique(np.asarray(values_N, dtype=np.float64), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[group_N]


def spearman(a_N: Sequence[float] | np.ndarray, b_N: Sequence[float] | np.ndarray) -> float:
    """Spearman's rank correlation with ties; nan when one side is constant, as its ranks say nothing."""
    return pearson(ranks(a_N), ranks(b_N))


def pearson(a_N: Sequence[float] | np.ndarray, b_N: Sequence[float] | np.ndarray) -> float:
    """Pearson's correlation; nan when one side is constant."""
    a, b = np.asarray(a_N, dtype=np.float64), np.asarray(b_N, dtype=np.float64)
    if len(a) != len(b):
        raise UserError(f"a correlation needs as many values on both sides: got {len(a)} and {len(b)}")
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else float("nan")


def sts_correlations(a_ND: np.ndarray, b_ND: np.ndarray, scores_N: Sequence[float] | np.ndarray) -> dict[str, float]:
    """100 x the correlations of sentence pairs (unit vectors) with human scores.

    `spearman` is the same for cosines and angles, whose order is the same; `pearson` is of cosines and
    `pearson_angular` of 1 - angle / pi, which tells apart what is nearly equal.
    """
    _check("first sentences", a_ND)
    _check("second sentences", b_ND)
    cosine_N = np.einsum("nd,nd->n", a_ND, b_ND)
    angular_N = 1 - np.arccos(np.clip(cosine_N, -1, 1)) / np.pi
    found = {"spearman": spearman(cosine_N, scores_N), "pearson": pearson(cosine_N, scores_N)}
    return {name: 100 * value for name, value in {**found, "pearson_angular": pearson(angular_N, scores_N)}.items()}


def agreement(a_ND: np.ndarray, b_NE: np.ndarray) -> Agreement:
    """Compare two encoders' unit vectors of the same N >= 2 texts: cosines row by row and shared neighbours."""
    _check("first encoder", a_ND)
    _check("second encoder", b_NE)
    if len(a_ND) != len(b_NE) or len(a_ND) < 2:
        raise UserError(f"agreement needs the same two or more texts on both sides: got {len(a_ND)} and {len(b_NE)}")
    k = min(10, len(a_ND) - 1)
    near_a, near_b = (nearest(v, v, k, skip_self=True) for v in (a_ND, b_NE))
    shared = np.mean([len(np.intersect1d(x, y)) for x, y in zip(near_a, near_b, strict=True)]) / k
    cosines = np.einsum("nd,nd->n", a_ND, b_NE) if a_ND.shape == b_NE.shape else None
    return Agreement(
        mean_cosine=None if cosines is None else float(cosines.mean()),
        worst_cosine=None if cosines is None else float(cosines.min()),
        worst_index=None if cosines is None else int(cosines.argmin()),
        top1_overlap=100 * float((near_a[:, 0] == near_b[:, 0]).mean()),
        top10_overlap=100 * float(shared),
        texts=len(a_ND),
    )


def means_over_sets(per_language: Mapping[str, float], sets: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """The unweighted mean over each named set, all of whose languages must have a value."""
    return {name: float(np.mean([per_language[code] for code in members])) for name, members in sets.items()}


def worst_languages(per_language: Mapping[str, float], count: int = 3) -> tuple[str, ...]:
    """The languages with the lowest values, lowest first."""
    return tuple(sorted(per_language, key=lambda code: (per_language[code], code))[:count])


def _check(side: str, vectors_ND: np.ndarray) -> None:
    if vectors_ND.ndim != 2 or not vectors_ND.size:
        raise UserError(f"{side}: expected a matrix of vectors [N, D] with N and D >= 1, got shape {vectors_ND.shape}")
    finite_N = np.isfinite(vectors_ND).all(axis=1)
    if not finite_N.all():
        raise UserError(f"{side}: vector {int(finite_N.argmin())} of {len(vectors_ND)} has values that are not finite")
