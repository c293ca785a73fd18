"""A static student whose pieces share what they learn with the shorter pieces inside them.

Shapes: V vocabulary, U distinct tokens, S parts of some pieces end to end, D dimension.
"""

from __future__ import annotations

import json

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from compact_labse.errors import UserError
from compact_labse.students.config import StudentConfig
from compact_labse.students.static import StaticStudent
from compact_labse.unigram import best_cut


class ComposedStudent(StaticStudent):
    """Row of a piece = its own vector + the mean of the vectors of its parts (`parts_of`).

    A rare inflected form so starts near its stem, as with the character n-grams of fastText (Bojanowski et al. 2017),
    but with rows that the table has anyway, and `table()` is plain: nothing of it is left in the saved student.
    """

    def __init__(self, config: StudentConfig, tokenizer: Tokenizer) -> None:
        parts = parts_of(tokenizer)
        super().__init__(config, len(parts))
        counts_V = np.array([len(p) for p in parts], np.int64)
        self._lengths_V = np.array([len(tokenizer.id_to_token(number) or "") for number in range(len(parts))])
        self._starts_V1 = np.concatenate([[0], np.cumsum(counts_V)])
        self._parts_S = np.array([number for p in parts for number in p], np.int64)

    def rows(self, ids_U: Tensor) -> Tensor:
        """Composed vectors `[U, D]`, with gradient."""
        parts_S, starts_U = self._parts(ids_U.cpu().numpy())
        needed, place = np.unique(np.concatenate([ids_U.cpu().numpy(), parts_S]), return_inverse=True)
        place_US = torch.from_numpy(place).to(ids_U.device)
        rows_ND = super().rows(torch.from_numpy(needed).to(ids_U.device))
        starts = torch.from_numpy(starts_U).to(ids_U.device)
        count = len(ids_U)
        return rows_ND[place_US[:count]] + F.embedding_bag(place_US[count:], rows_ND, starts, mode="mean")

    @torch.no_grad()
    def start_as(self, table_VD: Tensor) -> None:
        """Set the pieces' own vectors so that `table()` is `table_VD`: shorter pieces first, for they are the parts."""
        own_VD = table_VD.float().clone()
        for piece in np.argsort(self._lengths_V, kind="stable"):
            parts = self._parts_S[self._starts_V1[piece] : self._starts_V1[piece + 1]]
            if len(parts):
                own_VD[piece] -= own_VD[parts].mean(0)
        self.weight.copy_(own_VD)

    def _parts(self, ids_U: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The parts of some pieces end to end, `[S]`, and where each piece's begin, `[U]`."""
        first_U, counts_U = self._starts_V1[ids_U], self._starts_V1[ids_U + 1] - self._starts_V1[ids_U]
        starts_U = np.cumsum(counts_U) - counts_U
        place_S = np.arange(counts_U.sum()) + np.repeat(first_U - starts_U, counts_U)
        return self._parts_S[place_S], starts_U


def parts_of(tokenizer: Tokenizer) -> list[list[int]]:
    """For each piece of a Unigram vocabulary, the shorter pieces of its most probable other segmentation.

    Empty for special tokens, for single characters, and where there is no other way to cut. The bare word-start marker
    is left out: it says nothing about its word. UserError for other kinds of vocabulary.
    """
    model = json.loads(tokenizer.to_str())["model"]
    if model["type"] != "Unigram":
        kind = model["type"]
        raise UserError(f"student.compose needs a Unigram vocabulary, got {kind}: set vocabulary.kind to unigram")
    known = {piece: (score, number) for number, (piece, score) in enumerate(model["vocab"])}
    special = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    marker = known.get("▁", (0.0, -1))[1]
    return [
        [] if number in special else [part for part in best_cut(piece, known) if part != marker]
        for number, (piece, _) in enumerate(model["vocab"])
    ]
