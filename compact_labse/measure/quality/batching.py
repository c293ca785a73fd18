"""Does a text's vector depend on what runs beside it? The same texts alone, in batches, and padded.

Shapes: N texts, B batch, T tokens, D dimension.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compact_labse.encoder import Encoder
from compact_labse.tokens import pad

BATCHES = (8, 64)
PADDED = 128


def in_batches(encoder: Encoder, texts: Sequence[str], batch: int, length: int = 0) -> np.ndarray:
    """Vectors `[N, D]` of texts run `batch` at a time in the order given, padded to the longest or to `length` tokens.

    `encode` sorts by length, which hides most of the padding; here short and long texts meet, as in a server's queue.
    """
    ids = encoder.tokenize(texts)
    parts = []
    for start in range(0, len(ids), batch):
        ids_BT, mask_BT = pad(ids[start : start + batch], encoder.tokens.pad_id)
        more = max(0, min(length, encoder.max_tokens or length) - ids_BT.shape[1])
        ids_BT = np.pad(ids_BT, ((0, 0), (0, more)), constant_values=encoder.tokens.pad_id)
        parts.append(encoder.forward(ids_BT, np.pad(mask_BT, ((0, 0), (0, more)))))
    return np.vstack(parts)


def conditions(encoder: Encoder, texts: Sequence[str]) -> dict[str, np.ndarray]:
    """Vectors of the texts alone, in batches of 8 and 64, and alone but padded to 128 tokens."""
    batched = {f"batch_{batch}": in_batches(encoder, texts, batch) for batch in BATCHES}
    padded = in_batches(encoder, texts, 1, PADDED)
    return {"alone": in_batches(encoder, texts, 1), **batched, f"padded_{PADDED}": padded}


def lowest_cosine(a_ND: np.ndarray, b_ND: np.ndarray) -> float:
    """The lowest cosine between rows, in float64, because float32 rounds the difference away."""
    a, b = a_ND.astype(np.float64), b_ND.astype(np.float64)
    lengths_N = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float((np.einsum("nd,nd->n", a, b) / np.where(lengths_N > 0, lengths_N, 1)).min())
