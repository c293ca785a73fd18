"""What shorter or coarser vectors cost: int8, one bit per value with rescoring, and the first values only.

Shapes: Q queries, M documents, D dimension, K hits. All vectors are unit float32 unless said otherwise.
"""

from __future__ import annotations

import numpy as np

from compact_labse.measure.quality.quality import nearest

KEPT = 10
CANDIDATES = 4  # times as many hits as wanted are rescored
_SMALLEST = 8


def int8_vectors(vectors_ND: np.ndarray, scale: float) -> np.ndarray:
    """Values as int8, `scale` becoming 127. One scale for all values, so that integer products keep the order."""
    return np.clip(np.rint(vectors_ND * (127 / scale)), -127, 127).astype(np.int8)


def bit_vectors(vectors_ND: np.ndarray) -> np.ndarray:
    """The sign of every value in one bit, `[N, ceil(D / 8)]` uint8: 32 times smaller than float32."""
    return np.packbits(vectors_ND > 0, axis=1)


def hamming(queries_QB: np.ndarray, documents_MB: np.ndarray) -> np.ndarray:
    """Differing bits of packed vectors, `[Q, M]`."""
    a, b = (1 - 2.0 * np.unpackbits(packed, axis=1).astype(np.float32) for packed in (queries_QB, documents_MB))
    return np.rint((a.shape[1] - a @ b.T) / 2).astype(np.int32)


def quantized_hits(queries_QD: np.ndarray, documents_MD: np.ndarray, k: int = KEPT) -> dict[str, np.ndarray]:
    """The `k` best documents of every query, `[Q, K]`, by vectors of each type.

    "float32"; "int8" on both sides; "binary": fewest differing bits, first come first served among equals; "rescored":
    the four times k best of these by the query in float32 against documents in int8.
    """
    scale = float(np.abs(documents_MD).max()) or 1.0
    small_MD = int8_vectors(documents_MD, scale).astype(np.float32)
    k, many = min(k, len(documents_MD)), min(CANDIDATES * k, len(documents_MD))
    distance_QM = hamming(bit_vectors(queries_QD), bit_vectors(documents_MD))
    by_bits_QC = _lowest(distance_QM, many)
    rescored_QC = np.einsum("qd,qcd->qc", queries_QD, small_MD[by_bits_QC])
    order_QK = np.argsort(-rescored_QC, axis=1, kind="stable")[:, :k]
    return {
        "float32": nearest(queries_QD, documents_MD, k),
        "int8": nearest(int8_vectors(queries_QD, scale).astype(np.float32), small_MD, k),
        "binary": by_bits_QC[:, :k],
        "rescored": np.take_along_axis(by_bits_QC, order_QK, axis=1),
    }


def _lowest(distance_QM: np.ndarray, k: int) -> np.ndarray:
    """The columns of the `k` lowest values of each row, lowest first, the earlier of equals first."""
    documents = distance_QM.shape[1]
    keys_QM = distance_QM.astype(np.int64) * documents + np.arange(documents)  # all different, so no tie is left open
    return np.sort(np.partition(keys_QM, k - 1, axis=1)[:, :k], axis=1) % documents


def kept_share(found_QK: np.ndarray, wanted_QK: np.ndarray) -> float:
    """Percent of the wanted hits that were found, whatever their order."""
    shared = (found_QK[:, :, None] == wanted_QK[:, None, :]).any(axis=1)
    return 100 * float(shared.mean())


def truncated(vectors_ND: np.ndarray, dim: int) -> np.ndarray:
    """The first `dim` values, brought back to length 1 (a vector of zeros stays)."""
    cut_ND = vectors_ND[:, :dim]
    length_N1 = np.linalg.norm(cut_ND, axis=1, keepdims=True)
    return cut_ND / np.where(length_N1 > 0, length_N1, 1)


def truncations(dim: int) -> list[int]:
    """Half, a quarter, an eighth and a sixteenth of a dimension, as far as 8 values are left."""
    return [dim // part for part in (2, 4, 8, 16) if dim // part >= _SMALLEST]
