"""Training a dual encoder as a task of the loop: each rank's share of a batch of pairs, ranked among all of it.

Shapes: B pairs of a rank, S texts of a pair (source, target, hard negatives), A = S - 1, N = B x S texts of a rank,
R texts of a chunk, T tokens, D dimension.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from compact_labse.pairs import Pairs
from compact_labse.shards import Ragged
from compact_labse.tokens import batches
from compact_labse.training import chunked, ranks
from compact_labse.training.distillation import Draws
from compact_labse.training.heldout import Side, retrieval
from compact_labse.training.loop import Autocast
from compact_labse.training.loop_context import on_device
from compact_labse.training.ranking import gathered_ranking
from compact_labse.training.tower import Tower

EVALUATION_TOKENS = 16_384

Sides = dict[Side, Ragged]


class PairBatch(NamedTuple):
    """A rank's share of a batch: chunks of texts by length, where each text went, keys and numbers of the pairs."""

    chunks: list[chunked.Chunk]
    place_N: Tensor
    key_BA2: Tensor
    row_BA: Tensor


class Share(Protocol):
    """Where a rank's part of a batch comes from."""

    def take(self, number: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        """Token ids of N texts, pair by pair; text keys `[B, A, 2]`; numbers of the pairs `[B, A]`."""


class StoredShare:
    """Every world-th of the pairs that a sampler draws, with their hard negatives behind them."""

    def __init__(self, sides: Sides, pairs: Pairs, sampler: Draws, batch: int) -> None:
        self._sides, self._pairs, self._sampler, self._batch = sides, pairs, sampler, batch

    def take(self, number: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        """See `Share`. The sampler gives `batch` rows, then those of the negatives, pair by pair."""
        drawn = self._sampler.rows(number)
        row_GA = np.column_stack([drawn[: self._batch], drawn[self._batch :].reshape(self._batch, -1)])
        row_BA = row_GA[ranks.rank() :: ranks.world()]
        columns = [texts_of(self._sides["target"], row_B) for row_B in row_BA.T]
        texts = [texts_of(self._sides["source"], row_BA[:, 0]), *columns]
        key_BA2 = np.stack([self._pairs.source_key[row_BA], self._pairs.target_key[row_BA]], axis=-1)
        return [text for pair in zip(*texts, strict=True) for text in pair], key_BA2.view(np.int64), row_BA


# Texts of similar length that run together where all activations are kept: fewer would wait for each other.
AT_ONCE = {"cpu": 64, "cuda": 512}


class PairTraining:
    """The training loop's task: a tower, its share of every batch, and the pairs that are held out.

    `called` is what training calls for the tower: itself, or what DDP made of it.
    """

    def __init__(
        self,
        tower: Tower,
        called: nn.Module,
        share: Share,
        *,
        heldout: Pairs,
        sides: Sides,
        batch: int,
        chunk: int,
        margin: float,
        local: int,
        device: torch.device,
    ) -> None:
        self.module, self.called, self.device = tower, called, device
        self._on_device = partial(on_device, device)
        self.tables = tower.tables
        self._share, self._heldout, self._sides, self._batch = share, heldout, sides, batch
        self._chunk, self._margin, self._local = chunk, margin, local
        self._pad_id = tower.encoder.body.pad_id or 0

    def batch(self, number: int) -> PairBatch:
        """This rank's share of the batch of that number."""
        texts, key_BA2, row_BA = self._share.take(number)
        size = self._chunk or AT_ONCE.get(self.device.type, len(texts))
        chunks, place_N = padded_chunks(texts, size, self._pad_id)
        on_device = [(self._on_device(ids), self._on_device(mask)) for ids, mask in chunks]
        return PairBatch(on_device, *map(self._on_device, (place_N, key_BA2, row_BA.astype(np.int64))))

    def backward(self, batch: PairBatch, share: float, autocast: Autocast) -> dict[str, Tensor]:
        """Add `share` of the gradient of the whole batch's loss; gives it with accuracy and scale, of all ranks."""
        ranks.check_same([len(batch.place_N), len(batch.chunks)], "batches")
        named = chunked.backward(
            self.called, batch.chunks, partial(self._loss, batch, share), autocast, keep=not self._chunk
        )
        return ranks.mean_of({**named, "loss": named["loss"] / share})

    def sizes(self, batch: PairBatch) -> dict[str, int]:
        """Pairs of all ranks, and about as many tokens as they hold."""
        return {"pairs": self._batch, "tokens": ranks.world() * sum(int(mask.sum()) for _, mask in batch.chunks)}

    def evaluate(self) -> dict[str, float]:
        """Held-out retrieval per language; see `heldout.retrieval`."""
        return retrieval(self._heldout, self._encode)

    def _loss(
        self, batch: PairBatch, share: float, vectors_ND: Tensor, scale: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        vectors_BSD = vectors_ND[batch.place_N].unflatten(0, (len(batch.key_BA2), -1))
        count = len(vectors_BSD) // self._local if self._local else 1
        # Every count-th pair, as ranks take them: neighbours in a batch are of one language.
        parts = [(vectors_BSD[k::count], batch.key_BA2[k::count]) for k in range(count)]
        rank = partial(gathered_ranking, scale=scale, margin=self._margin, gathered=not self._local)
        ranked = [rank(vectors, keys) for vectors, keys in parts]
        loss = torch.stack([each.loss for each in ranked]).mean() * share
        accuracy = torch.stack([each.accuracy for each in ranked]).mean()
        return loss, {"accuracy": accuracy, "scale": scale.detach().squeeze()}

    def _encode(self, side: Side, row_N: np.ndarray) -> Tensor:
        texts = texts_of(self._sides[side], row_N)
        groups = batches([len(text) for text in texts], EVALUATION_TOKENS)
        found = []
        for group in groups:
            [(ids, mask)], _ = padded_chunks([texts[k] for k in group], len(group), self._pad_id, ordered=False)
            found.append(self.module(self._on_device(ids), self._on_device(mask))[0])
        return torch.cat(found)[torch.from_numpy(np.concatenate(groups).argsort())]


def sides_of(tokens: Path) -> Sides:
    """The stored token ids of both sides."""
    return {"source": Ragged(tokens, "source_ids", "uint32"), "target": Ragged(tokens, "target_ids", "uint32")}


def texts_of(side: Ragged, row_B: np.ndarray) -> list[np.ndarray]:
    """The token ids of some rows, one array each."""
    values, starts = side.take(row_B)
    return np.split(values, starts[1:-1])


def padded_chunks(
    texts: list[np.ndarray], size: int, pad_id: int, *, ordered: bool = True
) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """Token ids in chunks of `size` texts, the longest first, as int64 ids and mask `[R, T]`; and each one's place.

    Row k of the texts is row `place_N[k]` of the chunks end to end. As many chunks for as many texts, on every rank.
    """
    length_N = np.array([len(text) for text in texts])
    order_N = np.argsort(-length_N, kind="stable") if ordered else np.arange(len(texts))
    chunks = []
    for rows_R in np.split(order_N, range(size, len(texts), size)):
        mask_RT = np.arange(length_N[rows_R].max()) < length_N[rows_R][:, None]
        ids_RT = np.full(mask_RT.shape, pad_id, np.int64)
        ids_RT[mask_RT] = np.concatenate([texts[k] for k in rows_R])
        chunks.append((ids_RT, mask_RT.astype(np.int64)))
    return chunks, order_N.argsort()
