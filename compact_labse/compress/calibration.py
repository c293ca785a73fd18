"""Calibration text, and what a model computes on it.

Shapes: N texts, B batch, T tokens, D dimension.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from compact_labse.corpus.files import TEXT_KINDS, Source, find_sources
from compact_labse.corpus.read import read_pairs, read_texts
from compact_labse.errors import UserError
from compact_labse.sentence_model import SentenceModel
from compact_labse.tokens import Tokens, batches, pad

TOKENS_AT_ONCE = 4096


def some_texts(paths: Sequence[str], count: int, seed: int = 0) -> list[str]:
    """`count` different texts drawn evenly from files, both sides of pairs; fewer if there are not as many.

    UserError if there are fewer than eight, on which nothing can be measured.
    """
    rng, kept, seen = random.Random(seed), list[str](), 0
    for source in find_sources(list(paths), None, TEXT_KINDS):
        for text in _of(source):
            seen += 1
            if len(kept) < 2 * count:
                kept.append(text)
            elif (place := rng.randrange(seen)) < 2 * count:
                kept[place] = text
    rng.shuffle(kept)
    texts = list(dict.fromkeys(kept))[:count]
    if len(texts) < 8:
        raise UserError(f"--data has {len(texts)} different texts; at least 8 are needed, a few hundred are good")
    return texts


def _of(source: Source) -> Iterator[str]:
    kind = None if source.kind == "hub" else source.kind
    if source.languages is None:
        yield from read_texts(source.name, kind=kind)
    else:
        for pair in read_pairs(source.name, kind=kind):
            yield from pair[:2]


def feeds(tokens: Tokens, texts: Sequence[str]) -> Iterator[tuple[np.ndarray, Tensor, Tensor]]:
    """Batches of similar length: the numbers of their texts, ids and mask `[B, T]`."""
    ids = tokens.ids(texts)
    for rows in batches([len(row) for row in ids], TOKENS_AT_ONCE):
        ids_BT, mask_BT = pad([ids[row] for row in rows], tokens.pad_id)
        yield rows, torch.from_numpy(ids_BT), torch.from_numpy(mask_BT)


@torch.inference_mode()
def vectors(module: SentenceModel, batches_: Sequence[tuple[np.ndarray, Tensor, Tensor]], count: int) -> np.ndarray:
    """Unit vectors `[N, D]` of texts in the batches of `feeds`."""
    found_ND = np.zeros((count, module.dim), np.float32)
    for rows, ids_BT, mask_BT in batches_:
        found_ND[rows] = module(ids_BT, mask_BT)[1].numpy()
    return found_ND


def damage(before_ND: np.ndarray, after_NE: np.ndarray) -> float:
    """How far vectors moved: one minus the mean cosine; between widths that differ, of their cosines with each other.

    0 is unchanged. Between widths it is one minus the correlation of the two matrices of cosines, off the diagonal.
    """
    if before_ND.shape == after_NE.shape:
        return float(1 - np.einsum("nd,nd->n", before_ND, after_NE).mean())
    above = np.triu_indices(len(before_ND), 1)
    one, other = ((side @ side.T)[above] for side in (before_ND, after_NE))
    return float(1 - np.corrcoef(one, other)[0, 1])
