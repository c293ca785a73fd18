"""Masked and translation language modelling as a task of the training loop (Conneau and Lample 2019, section 3).

A batch holds translation pairs, `[CLS] one [SEP] other [SEP]` in either order, and single sentences, all without a code
of their language. What is masked is drawn anew each time. Of several ranks, each draws the whole batch, which takes no
time beside the model's, and keeps every so-manieth row: the gradient is the whole batch's.

Shapes: B rows of a batch, K tokens, M masked tokens, R rows that run together, T tokens of the longest of these, D
hidden size.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from compact_labse.gather import ALONE
from compact_labse.pairs import Pairs
from compact_labse.shards import Ragged, joined
from compact_labse.students.ragged import lengths_of, padded
from compact_labse.tokens import batches
from compact_labse.training import ranks
from compact_labse.training.loop import Autocast
from compact_labse.training.loop_context import on_device
from compact_labse.training.masking import MaskingConfig, Pieces, mask
from compact_labse.training.mlm_model import MaskedModel
from compact_labse.training.mlm_rows import Draws, Frame, Rows, framed, number_of
from compact_labse.training.tower import replicated

TOKENS_AT_ONCE = 8192
HELDOUT_ROWS = 2048  # the most that an evaluation looks at


class MaskedBatch(NamedTuple):
    """This rank's B rows: ids as seen `[K]`, starts `[B + 1]`, types `[K]`; places `[M]`, labels `[M]`.

    How many of M are of pairs; and what all ranks' batch has of M, and of these of pairs.
    """

    ids_K: Tensor
    offsets_B1: Tensor
    types_K: Tensor
    places_M: Tensor
    labels_M: Tensor
    of_pairs: int
    masked: int
    masked_of_pairs: int


class MaskedLM:
    """What the training loop needs: batches as a function of their number, losses, held-out losses.

    `use` gives it its model. `first` is the number of the first batch: a stage goes on where the one before it ended.
    """

    def __init__(
        self,
        pairs: Pairs,
        tokens: Path,
        *,
        pieces: Pieces,
        frame: Frame,
        masking: MaskingConfig,
        draws: Draws,
        seed: int,
        device: torch.device,
    ) -> None:
        self.pairs, self.pieces, self.frame, self.masking = pairs, pieces, frame, masking
        self.draws, self.seed, self.device = draws, seed, device
        self._on_device = partial(on_device, device)
        self.model: Any = None
        self._called: Any = None
        self.first = 0
        self._sides = [Ragged(tokens, f"{side}_ids", "uint32") for side in ("source", "target")]

    def use(self, model: MaskedModel) -> None:
        """Train this model from now on."""
        self.model = model.to(self.device)
        self._called = replicated(_Losses(self.model), self.device)

    @property
    def module(self) -> nn.Module:
        """The model."""
        return self.model

    @property
    def tables(self) -> tuple[str, ...]:
        """The name of its table of token vectors."""
        return tuple(name for name, parameter in self.model.named_parameters() if parameter is self.model.table)

    def batch(self, number: int) -> MaskedBatch:
        """This rank's share of the batch of that number, on the device."""
        number += self.first
        random = np.random.default_rng([self.seed, 5, number])
        rows_P, rows_S = self.draws.rows(number)
        source_S = random.random(len(rows_S)) < self.draws.source_share
        return self._batch(rows_P, rows_S, source_S, random, ranks.rank(), ranks.world())

    def backward(self, batch: MaskedBatch, share: float, autocast: Autocast) -> dict[str, Tensor]:
        """Add `share` of the whole batch's gradient; gives the mean losses over all ranks' masked tokens."""
        with autocast():
            loss, named = self.losses(batch)
        (loss * share).backward()
        return ranks.mean_of({"loss": loss.detach(), **named})

    def losses(self, batch: MaskedBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean over all masked tokens; the means over those of pairs ("tlm") and single sentences ("mlm").

        A batch without any, of unknown characters say, has loss 0 and a gradient of zeros.
        Of several ranks, each gives what makes these its mean over the ranks: DDP averages gradients too.
        """
        loss_M, pairs, world = self._called(batch), batch.masked_of_pairs, ranks.world()
        parts = {"tlm": (loss_M[: batch.of_pairs], pairs), "mlm": (loss_M[batch.of_pairs :], batch.masked - pairs)}
        return world * loss_M.sum() / max(1, batch.masked), {
            name: world * part.sum() / count for name, (part, count) in parts.items() if count
        }

    def sizes(self, batch: MaskedBatch) -> dict[str, int]:
        """Rows of all ranks, and about as many tokens as they hold."""
        return {"rows": ranks.world() * (len(batch.offsets_B1) - 1), "tokens": ranks.world() * len(batch.ids_K)}

    def evaluate(self) -> dict[str, float]:
        """Loss and accuracy on held-out text, single and in pairs, always masked alike; "score" is minus the loss."""
        rows_N = np.asarray(self.pairs.heldout_rows)
        if not len(rows_N):
            return {}
        rows_N = rows_N[:: -(-len(rows_N) // HELDOUT_ROWS)]
        apart = self.pairs.language[rows_N] != number_of(self.pairs, ALONE)
        random, found = np.random.default_rng([self.seed, 6]), {}
        none, count = rows_N[:0], len(rows_N)
        given = {"mlm": (none, rows_N, np.arange(count) % 2 == 0), "tlm": (rows_N[apart], none, np.zeros(0, bool))}
        for name, (rows_P, rows_S, source_S) in given.items():
            if len(rows_P) + len(rows_S) and (name == "mlm" or self.draws.pairs is not None):
                batch = self._batch(rows_P, rows_S, source_S, random)
                if not batch.masked:
                    continue
                hidden_MD = hidden_of(self.model, batch)
                found[f"{name}_loss"] = float(self.model.losses(hidden_MD, batch.labels_M).mean())
                right_M = self.model.guesses(hidden_MD) == batch.labels_M
                found[f"{name}_accuracy"] = float(right_M.float().mean())
        if not found:
            return {}
        return {**found, "score": -float(np.mean([value for key, value in found.items() if key.endswith("loss")]))}

    def _batch(
        self,
        rows_P: np.ndarray,
        rows_S: np.ndarray,
        source_S: np.ndarray,
        random: np.random.Generator,
        first: int = 0,
        step: int = 1,
    ) -> MaskedBatch:
        """Rows of pairs first, then single sentences, of which `source_S` tells the side; every `step`-th is kept."""
        longest = (self.frame.longest - 3) // 2
        turned_P = random.random(len(rows_P)) < 0.5
        sides_P = self._taken(rows_P, turned_P, longest), self._taken(rows_P, ~turned_P, longest)
        parts = [framed(sides_P[0], sides_P[1], self.frame)]
        parts.append(framed(self._taken(rows_S, source_S, self.frame.longest - 2), None, self.frame))
        ids_K, offsets_B1 = joined([(ids, offsets) for ids, offsets, _ in parts])
        masked = mask(ids_K, offsets_B1, self.pieces, self.masking, random)
        length_B, types_K = np.diff(offsets_B1), np.concatenate([types for _, _, types in parts])
        own_B = np.arange(len(length_B)) % step == first
        own_K = np.repeat(own_B, length_B)
        own_M = own_K[masked.places_M]
        of_pairs = int(np.searchsorted(masked.places_M, len(parts[0][0])))
        return MaskedBatch(
            self._on_device(masked.ids_K[own_K]),
            self._on_device(np.concatenate([[0], np.cumsum(length_B[own_B])])),
            self._on_device(types_K[own_K]),
            self._on_device((np.cumsum(own_K) - 1)[masked.places_M[own_M]]),
            self._on_device(masked.labels_M[own_M]),
            of_pairs=int(own_M[:of_pairs].sum()),
            masked=len(own_M),
            masked_of_pairs=of_pairs,
        )

    def _taken(self, rows_B: np.ndarray, source_B: np.ndarray, longest: int) -> Rows:
        """The source of some rows and the target of the others, in the order of the rows."""
        source = self._sides[0].take(rows_B[source_B], longest)
        target = self._sides[1].take(rows_B[~source_B], longest)
        values, offsets = joined([source, target])
        place_B = np.empty(len(rows_B), np.int64)
        place_B[np.concatenate([np.flatnonzero(source_B), np.flatnonzero(~source_B)])] = np.arange(len(rows_B))
        length_B = np.diff(offsets)[place_B]
        new_B1 = np.concatenate([[0], np.cumsum(length_B)])
        return values[np.arange(new_B1[-1]) + np.repeat(offsets[:-1][place_B] - new_B1[:-1], length_B)], new_B1


class _Losses(nn.Module):
    """The losses of a batch's masked tokens as one call, which DDP wraps."""

    def __init__(self, model: MaskedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: MaskedBatch) -> Tensor:
        return self.model.losses(hidden_of(self.model, batch), batch.labels_M)


def hidden_of(model: MaskedModel, batch: MaskedBatch) -> Tensor:
    """The last hidden states of the masked tokens `[M, D]`; rows of similar length run together."""
    device = batch.ids_K.device
    number_K = torch.full_like(batch.ids_K, -1)
    number_K[batch.places_M] = torch.arange(len(batch.places_M), device=device)
    hidden, order = [], []
    for rows in batches(lengths_of(batch.offsets_B1).tolist(), TOKENS_AT_ONCE, max_batch=TOKENS_AT_ONCE):
        rows_R = torch.from_numpy(rows).to(device)
        ids_RT, mask_RT = padded(batch.ids_K, batch.offsets_B1, rows_R, model.pad_id)
        types_RT, _ = padded(batch.types_K, batch.offsets_B1, rows_R, 0)
        number_RT, _ = padded(number_K, batch.offsets_B1, rows_R, -1)
        found_RT = number_RT >= 0
        hidden.append(model.hidden(ids_RT, mask_RT, types_RT)[found_RT])
        order.append(number_RT[found_RT])
    return torch.cat(hidden)[torch.cat(order).argsort()]
