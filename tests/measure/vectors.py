"""Random unit vectors, and noisy copies of them that stand for translations."""

from __future__ import annotations

import numpy as np


def unit(n: int, d: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def noisy(vectors_ND: np.ndarray, amount: float, seed: int) -> np.ndarray:
    moved = vectors_ND + amount * unit(*vectors_ND.shape, seed)
    return moved / np.linalg.norm(moved, axis=1, keepdims=True)
