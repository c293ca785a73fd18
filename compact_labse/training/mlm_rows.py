"""Which rows make a batch of masked language modelling, and how special tokens frame them.

Shapes: B rows, K tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compact_labse.corpus.sampling import temperature_weights
from compact_labse.errors import UserError
from compact_labse.gather import ALONE, CorpusConfig
from compact_labse.pairs import Pairs
from compact_labse.training.distillation import corpus_groups
from compact_labse.training.sampler import Sampler, grouped

Rows = tuple[np.ndarray, np.ndarray]  # values end to end, and where each row starts and the last ends


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What stands around texts: the ids of [CLS] and [SEP], and the longest row, these included."""

    first: int
    last: int
    longest: int


def framed(one: Rows, other: Rows | None, frame: Frame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of `first one last`, or `first one last other last`: ids `[K]`, starts `[B + 1]`, types `[K]`.

    The other text and its `last` are of type 1. Rows are as long as their texts; the caller cuts these.
    """
    one_B = np.diff(one[1])
    other_B = np.zeros_like(one_B) if other is None else np.diff(other[1]) + 1
    starts_B1 = np.concatenate([[0], np.cumsum(one_B + 2 + other_B)])
    ids_K = np.full(starts_B1[-1], frame.last, np.int64)
    ids_K[starts_B1[:-1]] = frame.first
    _put(ids_K, one, starts_B1[:-1] + 1)
    types_K = np.zeros_like(ids_K)
    if other is not None:
        begin_B = starts_B1[:-1] + one_B + 2
        _put(ids_K, other, begin_B)
        types_K = (np.arange(len(ids_K)) >= np.repeat(begin_B, np.diff(starts_B1))).astype(np.int64)
    return ids_K, starts_B1, types_K


def _put(ids_K: np.ndarray, rows: Rows, at_B: np.ndarray) -> None:
    values, offsets = rows
    ids_K[np.arange(len(values)) + np.repeat(at_B - offsets[:-1], np.diff(offsets))] = values


def frame_of(empty: list[int], longest: int) -> Frame:
    """The frame that a tokenizer puts around a text, from the ids of an empty one; UserError if it puts none."""
    if len(empty) < 2:
        raise UserError("the tokenizer puts no special tokens around a text, and a BERT needs [CLS] and [SEP]")
    return Frame(first=empty[0], last=empty[-1], longest=longest)


class Draws:
    """Which rows make a batch: `tlm` of them pairs, the others single sentences, each drawn by temperature.

    Sources (of one language as a rule) count as one more language beside those of the targets.
    """

    def __init__(
        self, pairs: Pairs, files: list[str], config: CorpusConfig, *, batch: int, tlm: float, seed: int
    ) -> None:
        groups, shares = corpus_groups(pairs, files, config)
        rows, shares_G = [pairs.train_rows[places] for places in groups], np.array(shares)
        apart = [pairs.language[own[0]] != number_of(pairs, ALONE) for own in rows]
        count = round(tlm * batch) if any(apart) else 0
        self.pairs = None
        if count:
            two = [own for own, yes in zip(rows, apart, strict=True) if yes]
            self.pairs = Sampler(two, shares_G[apart], count, seed)
        self.single = Sampler(rows, shares_G, batch - count, seed + 1) if batch > count else None
        sizes = {str(k): len(own) for k, own in grouped(np.asarray(pairs.language[pairs.train_rows])).items()}
        sizes["source"] = len(np.unique(pairs.unique[pairs.train_rows]))
        self.source_share = temperature_weights(sizes, config.temperature)["source"]

    def rows(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of pairs and of single sentences of the batch of that number."""
        none = np.empty(0, np.int64)
        return tuple(none if part is None else part.rows(number) for part in (self.pairs, self.single))  # type: ignore[return-value]


def number_of(pairs: Pairs, language: str) -> int:
    """The number by which the pairs name a language; -1 if they have none of it."""
    return pairs.languages.index(language) if language in pairs.languages else -1
