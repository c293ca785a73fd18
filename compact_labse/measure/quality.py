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
    """Percent of sentences whose nearest vector on the other side is their translation, in both directions."""

    forward: float
    backward: float
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
    found_NK = np.empty((len(x_ND), k), dtype=np.int64)
    for start in range(0, len(x_ND), _CHUNK):
        scores_BM = x_ND[start : start + _CHUNK] @ y_MD.T
        if skip_self:
            rows = np.arange(len(scores_BM))
            scores_BM[rows, start + rows] = -np.inf
        found_NK[start : start + _CHUNK] = _top(scores_BM, k)
    return found_NK


def _top(scores_BM: np.ndarray, k: int) -> np.ndarray:
    if k == 1:
        return scores_BM.argmax(axis=1)[:, None]
    # A stable full sort, because a partition breaks ties arbitrarily and overlaps must not depend on that.
    return np.argsort(-scores_BM, axis=1, kind="stable")[:, :k]


def retrieval_accuracy(x_ND: np.ndarray, y_ND: np.ndarray) -> Retrieval:
    """Tatoeba-style accuracy of unit vectors whose rows translate each other: x->y (forward) and y->x (backward).

    Only the index of the pair counts, so a duplicate of the right sentence is an error, as in LASER and MTEB.
    """
    _check("x", x_ND)
    _check("y", y_ND)
    if x_ND.shape != y_ND.shape:
        raise UserError(f"retrieval needs one vector per side of each pair: got shapes {x_ND.shape} and {y_ND.shape}")
    own_N = np.arange(len(x_ND))
    forward = float((nearest(x_ND, y_ND)[:, 0] == own_N).mean())
    backward = float((nearest(y_ND, x_ND)[:, 0] == own_N).mean())
    return Retrieval(forward=100 * forward, backward=100 * backward, pairs=len(x_ND))


def ranks(values_N: Sequence[float] | np.ndarray) -> np.ndarray:
    """Ranks 1..N; equal values share the mean of their ranks."""
    _, group_N, counts = np.unique(np.asarray(values_N, dtype=np.float64), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[group_N]


def spearman(a_N: Sequence[float] | np.ndarray, b_N: Sequence[float] | np.ndarray) -> float:
    """Spearman's rank correlation with ties; nan when one side is constant, as its ranks say nothing."""
    a, b = ranks(a_N), ranks(b_N)
    if len(a) != len(b):
        raise UserError(f"a correlation needs as many values on both sides: got {len(a)} and {len(b)}")
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else float("nan")


def sts_spearman(a_ND: np.ndarray, b_ND: np.ndarray, scores_N: Sequence[float] | np.ndarray) -> float:
    """100 x Spearman between the cosines of sentence pairs (unit vectors) and human scores."""
    _check("first sentences", a_ND)
    _check("second sentences", b_ND)
    return 100 * spearman(np.einsum("nd,nd->n", a_ND, b_ND), scores_N)


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
