"""Held-out pairs as a measure of a model in training.

Shapes: N texts, D dimension.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from torch import Tensor

from compact_labse.pairs import Pairs
from compact_labse.training.sampler import grouped

Side = Literal["source", "target"]


def retrieval(pairs: Pairs, encode: Callable[[Side, np.ndarray], Tensor]) -> dict[str, float]:
    """Accuracy of finding the source among the held-out sources of its language, per language; "score" is the mean.

    `encode(side, rows)` gives unit vectors `[N, D]`. Empty when nothing was held out.
    """
    rows_N = np.asarray(pairs.heldout_rows)
    languages = grouped(pairs.language[rows_N]) if len(rows_N) else {}
    found = {pairs.languages[k]: _accuracy(rows_N[rows], encode) for k, rows in languages.items() if len(rows) > 1}
    return {**found, "score": float(np.mean(list(found.values())))} if found else {}


def _accuracy(rows_N: np.ndarray, encode: Callable[[Side, np.ndarray], Tensor]) -> float:
    source_ND, target_ND = encode("source", rows_N), encode("target", rows_N)
    nearest_N = (target_ND @ source_ND.T).argmax(1).cpu().numpy()
    return float((nearest_N == np.arange(len(rows_N))).mean())
