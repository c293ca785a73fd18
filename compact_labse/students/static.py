"""A bag of tokens: a text's vector is the mean of its tokens' vectors.

Shapes: V vocabulary, U distinct tokens of a batch, K tokens of a batch, B texts, D dimension.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compact_labse.students.config import StudentConfig

ROWS_AT_ONCE = 16_384
# In standard deviations: the steps with which 2^bits equal ones around zero err least on normal values (Max 1960).
STEPS = {2: 0.9957, 3: 0.5860, 4: 0.3352}
# Adam moves every entry by about the learning rate, so that rare pieces would take long to lose larger first values.
FIRST_STD = 0.01


class StaticStudent(nn.Module):
    """A table of token vectors; forward gives the unit-norm mean over each text's tokens.

    Subclasses may compute the rows in another way while training (`rows`), or damage the input on purpose (`augment`);
    what is saved is `table()`.
    """

    def __init__(self, config: StudentConfig, vocab_size: int) -> None:
        super().__init__()
        self.config, self.vocab_size, self.dim = config, vocab_size, config.dim
        self.weight = nn.Parameter(torch.empty(vocab_size, config.dim).normal_(std=FIRST_STD))

    def rows(self, ids_U: Tensor) -> Tensor:
        """Vectors of the tokens `ids_U` (each at most once), `[U, D]`, with gradient."""
        # Sparse: the gradient of a batch touches a fraction of the table, and a dense one is as large as the table.
        return F.embedding(ids_U, self.weight, sparse=True)

    def augment(self, ids_K: np.ndarray, offsets_B1: np.ndarray, random: np.random.Generator) -> tuple:
        """Called on each training batch before forward; gives the ids and offsets to train on instead.

        Drops the share `config.dropout` of the tokens, so that no text rests on a single word; a text that would lose
        all of them keeps all.
        """
        if not self.config.dropout:
            return ids_K, offsets_B1
        keep_K = random.random(len(ids_K)) >= self.config.dropout
        left_B = np.diff(_sums(keep_K)[offsets_B1])
        keep_K |= np.repeat(left_B == 0, np.diff(offsets_B1))
        return ids_K[keep_K], _sums(keep_K)[offsets_B1]

    def table_parameters(self) -> list[nn.Parameter]:
        """The parameters that get the learning rate of tables."""
        return [self.weight]

    @torch.no_grad()
    def start_as(self, table_VD: Tensor) -> None:
        """Make `table()` equal to `table_VD`."""
        self.weight.copy_(table_VD)

    @torch.no_grad()
    def table(self) -> Tensor:
        """The whole table as it is saved, `[V, D]`."""
        ids_V = torch.arange(self.vocab_size, device=self.weight.device)
        return torch.cat([self._stored(self.rows(ids)) for ids in ids_V.split(ROWS_AT_ONCE)])

    def forward(self, ids_K: Tensor, offsets_B1: Tensor) -> Tensor:
        """Unit vectors `[B, D]`; a text without tokens gets the zero vector."""
        ids_U, place_K = torch.unique(ids_K, return_inverse=True)
        mean_BD = F.embedding_bag(place_K, self._stored(self.rows(ids_U)), offsets_B1[:-1], mode="mean")
        return F.normalize(mean_BD, dim=-1)

    def _stored(self, rows_UD: Tensor) -> Tensor:
        return rows_UD if self.config.bits is None else in_bits(rows_UD, self.config.bits)


def in_bits(rows_UD: Tensor, bits: int) -> Tensor:
    """Each row rounded to `2^bits` values, half a step, one and a half steps, ... to both sides of zero.

    The gradient passes as if nothing had been rounded (straight-through, Bengio et al. 2013, arXiv 1308.3432), so that
    training finds rows that are good after rounding. `formats.integers.table_small` stores the result exactly.
    Steps are not searched as in `compress.fake_quantize`: that takes 18 times as long, and saves a row its few outliers
    (7 % of the squared error of all-MiniLM-L6-v2's table in 4 bits), which rows trained this way do not have.
    """
    exact_UD = rows_UD.detach()
    step_U1 = exact_UD.square().mean(1, keepdim=True).sqrt().clamp(min=1e-12) * STEPS[bits]
    half = 2 ** (bits - 1)
    codes_UD = (exact_UD / step_U1).floor_().clamp_(-half, half - 1).add_(0.5)
    return codes_UD.mul_(step_U1) + (rows_UD - exact_UD)


def _sums(values_K: np.ndarray) -> np.ndarray:
    """Sums of the first 0, 1, ... K values, `[K + 1]`."""
    return np.concatenate([[0], np.cumsum(values_K)])
