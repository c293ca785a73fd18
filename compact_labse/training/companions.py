"""Batches of pairs that are hard to tell apart: each drawn pair brings some of its nearest neighbours with it.

Pairs drawn at random differ in almost every word, so that a student never learns from them which of "I didn't like him"
and "I didn't like her" is meant. Neighbours are found once, by an encoder that is good enough to find them.

Shapes: N training pairs, S distinct source texts among them, K neighbours, B rows of a batch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from compact_labse.encoder import Encoder, load
from compact_labse.errors import UserError
from compact_labse.folder import model_hash
from compact_labse.gather import CorpusConfig
from compact_labse.locate import locate
from compact_labse.neighbours import nearest_others
from compact_labse.pairs import Pairs
from compact_labse.progress import say, track
from compact_labse.shards import read_array, write_array
from compact_labse.stages import stage
from compact_labse.training.distillation import Draws, corpus_groups, corpus_sampler
from compact_labse.training.sampler import Sampler

KEPT = 24  # neighbours of a text, of which each visit takes others
CHUNK = 16_384


def draws(
    pairs: Pairs,
    pairs_key: str,
    files: list[str],
    config: CorpusConfig,
    batch: int,
    seed: int,
    start: str,
    folder: Path,
) -> Draws:
    """The batches that `config` asks for, with companions found by the student in `start` and stored in `folder`."""
    if (count := len(pairs.train_rows)) < batch:
        say(f"warning: {count:,} pairs to train on, and {batch:,} in a batch: every batch repeats them")
    if not config.companions:
        return corpus_sampler(pairs, files, config, batch, seed)
    near_SK = prepare_companions(load(start), model_hash(locate(start)), pairs, pairs_key, folder)
    weight_N = np.zeros(len(pairs.train_rows))
    for places, share in zip(*corpus_groups(pairs, files, config), strict=True):
        weight_N[places] = share / len(places)
    base = corpus_sampler(pairs, files, config, batch // (1 + config.companions), seed)
    return CompanionSampler(base, pairs, near_SK, weight_N, config.companions, seed)


def prepare_companions(encoder: Encoder, encoder_hash: str, pairs: Pairs, pairs_key: str, folder: Path) -> np.ndarray:
    """For each distinct source text of the training pairs (by number), its nearest others, uint32 `[S, K]`."""

    def build(temporary: Path) -> dict[str, Any]:
        unique_S = np.unique(pairs.unique[pairs.train_rows])
        kept = min(KEPT, len(unique_S) - 1)
        if kept < 1:
            raise UserError("companions need at least two different source texts to choose from")
        vectors_SD = np.empty((len(unique_S), encoder.dim), np.float16)
        for start in track(range(0, len(unique_S), CHUNK), "companions: vectors"):
            texts = pairs.source.texts(pairs.first[unique_S[start : start + CHUNK]])
            vectors_SD[start : start + CHUNK] = encoder.encode(texts)
        say(f"companions: searching among {len(unique_S):,} texts")
        write_array(temporary / "near.array", nearest_others(vectors_SD, kept).astype(np.uint32))
        return {"texts": len(unique_S), "kept": kept}

    manifest = stage(folder, "companions", {"encoder": encoder_hash, "pairs": pairs_key, "kept": KEPT}, build)
    facts = manifest["facts"]
    return read_array(folder / "near.array", "uint32").reshape(facts["texts"], facts["kept"])


class CompanionSampler:
    """The rows that `base` draws, each followed by pairs whose source texts are neighbours of its own.

    A neighbour with several translations brings one of them: `weight_N` of the training pairs says how often which.
    """

    def __init__(
        self, base: Sampler, pairs: Pairs, near_SK: np.ndarray, weight_N: np.ndarray, companions: int, seed: int
    ) -> None:
        if not 1 <= companions <= near_SK.shape[1]:
            raise UserError(f"companions must be from 1 to {near_SK.shape[1]} here, got {companions}")
        self._base, self._near_SK, self._companions, self._seed = base, near_SK, companions, seed
        text_N = np.searchsorted(np.unique(pairs.unique[pairs.train_rows]), pairs.unique[pairs.train_rows])
        order_N = np.argsort(text_N, kind="stable")
        self._rows_N = np.asarray(pairs.train_rows)[order_N]
        self._weight_N1 = np.concatenate([[0.0], np.cumsum(weight_N[order_N])])
        self._starts_S1 = np.searchsorted(text_N[order_N], np.arange(len(near_SK) + 1))
        self._text = np.full(int(pairs.unique.max()) + 1, -1, np.int64)
        self._text[pairs.unique[pairs.train_rows]] = text_N
        self._unique = pairs.unique

    def rows(self, step: int) -> np.ndarray:
        """Row numbers of the batch of `step`, `[B]`, B being 1 + companions times the rows that `base` draws."""
        drawn = self._base.rows(step)
        random = np.random.default_rng([self._seed, 4, step])
        near = self._near_SK[self._text[np.asarray(self._unique[drawn])]]
        chosen = random.permuted(near, axis=1)[:, : self._companions].astype(np.int64).ravel()
        first, last = self._starts_S1[chosen], self._starts_S1[chosen + 1]
        low, high = self._weight_N1[first], self._weight_N1[last]
        places = np.searchsorted(self._weight_N1, low + (high - low) * random.random(len(chosen)), side="right") - 1
        return np.concatenate([drawn, self._rows_N[np.clip(places, first, last - 1)]])
