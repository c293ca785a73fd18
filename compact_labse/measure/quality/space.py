"""A picture of the vector space: translation pairs in a plane, and how far pairs lie above other sentences.

Shapes: N points, D dimension, P pairs.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping

import numpy as np

BINS = 40
LOW, HIGH = -0.2, 1.0  # cosines below are counted in the first bin
SHIFTS = 10  # each sentence is compared with the partners of ten others
GRID = 1000  # coordinates are whole numbers from -1000 to 1000


def plane(points_ND: np.ndarray) -> tuple[np.ndarray, float]:
    """Principal components: points `[N, 2]`, and the percent of the variance that this plane shows.

    The sign of each axis is chosen so that the same vectors always give the same picture.
    """
    centred_ND = (points_ND - points_ND.mean(axis=0)).astype(np.float64)
    _, spread, axes_DD = np.linalg.svd(centred_ND, full_matrices=False)
    total = float((spread**2).sum())
    axes_2D = axes_DD[:2] * np.where(axes_DD[:2].sum(axis=1, keepdims=True) < 0, -1, 1)
    flat = centred_ND @ axes_2D.T
    if flat.shape[1] < 2:
        flat = np.pad(flat, ((0, 0), (0, 2 - flat.shape[1])))
    return flat, 100 * float((spread[:2] ** 2).sum()) / total if total > 0 else 0.0


def umap_plane(points_ND: np.ndarray) -> np.ndarray | None:
    """UMAP of the points, `[N, 2]`, with a fixed seed; None where umap-learn is not installed."""
    if importlib.util.find_spec("umap") is None:
        return None
    umap = importlib.import_module("umap")
    found = umap.UMAP(n_components=2, metric="cosine", random_state=0, n_jobs=1).fit_transform(points_ND)
    return np.asarray(found, dtype=np.float64)


def turned(points_N2: np.ndarray, onto_N2: np.ndarray) -> np.ndarray:
    """Points rotated, mirrored and scaled onto others as closely as that allows (orthogonal Procrustes).

    Two encoders' planes have no common axes; this makes a student's picture comparable with its teacher's.
    """
    a, b = points_N2 - points_N2.mean(axis=0), onto_N2 - onto_N2.mean(axis=0)
    u, stretch, v = np.linalg.svd(a.T @ b)
    size = float((a**2).sum())
    return (a @ (u @ v)) * (float(stretch.sum()) / size if size > 0 else 1.0) + onto_N2.mean(axis=0)


def whole_numbers(points_N2: np.ndarray) -> list[list[int]]:
    """Coordinates centred and scaled together into -1000 to 1000, so that a record stays small."""
    centred = points_N2 - (points_N2.max(axis=0) + points_N2.min(axis=0)) / 2
    widest = float(np.abs(centred).max()) or 1.0
    return [[int(x), int(y)] for x, y in np.rint(GRID * centred / widest)]


def cosines(x_PD: np.ndarray, y_PD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of P pairs, and of every x with the y of ten other rows (fewer where there are fewer)."""
    own = np.einsum("pd,pd->p", x_PD, y_PD)
    shifts = range(1, min(SHIFTS, len(x_PD) - 1) + 1)
    others = [np.einsum("pd,pd->p", x_PD, np.roll(y_PD, -shift, axis=0)) for shift in shifts]
    return own, np.concatenate(others) if others else np.zeros(0, x_PD.dtype)


def separation(pairs_P: np.ndarray, others_O: np.ndarray) -> float:
    """Percent of (pair, non-pair) in which the pair has the higher cosine, ties half: the area under the ROC curve."""
    if not len(others_O):
        return 100.0
    ordered = np.sort(others_O)
    below, up_to = np.searchsorted(ordered, pairs_P, "left"), np.searchsorted(ordered, pairs_P, "right")
    return 100 * float((below + up_to).mean()) / (2 * len(ordered))


def histogram(values: np.ndarray) -> list[int]:
    """Counts in 40 equal bins from -0.2 to 1; values outside count in the first or last."""
    counts, _ = np.histogram(np.clip(values, LOW, HIGH), bins=BINS, range=(LOW, HIGH))
    return [int(count) for count in counts]


def picture(sides: Mapping[str, np.ndarray]) -> dict[str, object]:
    """Both planes of all sides' vectors together: `pca` and `umap` (or None) as `{side: [[x, y], ...]}`, `shown` %."""
    stacked = np.vstack(list(sides.values()))
    ends = np.cumsum([len(side) for side in sides.values()])[:-1]
    flat, shown = plane(stacked)
    bent = umap_plane(stacked)

    def split(points: np.ndarray | None) -> dict[str, list[list[int]]] | None:
        if points is None:
            return None
        numbers = np.split(np.array(whole_numbers(points)), ends)
        return {name: part.tolist() for name, part in zip(sides, numbers, strict=True)}

    return {"pca": split(flat), "umap": split(bent), "shown": round(shown, 1)}
