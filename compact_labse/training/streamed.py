"""Pairs that are read while training goes on: nothing is stored, and each rank reads a share of its own.

Shapes: B pairs of a rank.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from compact_labse.corpus.account import Account
from compact_labse.corpus.files import Source
from compact_labse.errors import UserError
from compact_labse.gather import CorpusConfig, Record, read_records
from compact_labse.pairs import Pairs, text_key
from compact_labse.tokens import Tokens
from compact_labse.training import ranks

BUFFER = 20_000  # pairs among which the next one is drawn


class StreamedShare:
    """A rank's batches from files or `hf:` names, in their order through a shuffle buffer, over and over.

    Ranks share the files where there are enough of them, else each takes every world-th pair; a rank that has come to
    its end begins again, whatever the others do, so that every batch is full. Batch `number` is the same on every call
    with the same seed and number of ranks; to go back, or far ahead, is to read again.
    """

    def __init__(
        self, sources: Sequence[Source], config: CorpusConfig, tokens: Tokens, heldout: Pairs, *, count: int, seed: int
    ) -> None:
        # Remembering every pair to drop its copies would take as much memory as storing them.
        self._config = replace(config, cleaning=replace(config.cleaning, drop_duplicates=False))
        self._sources, self._tokens, self._count, self._seed = list(sources), tokens, count, seed
        rows = heldout.heldout_rows
        self._heldout = {int(key) for keys in (heldout.source_key, heldout.target_key) for key in keys[rows]}
        self._next, self._pairs = 0, self._forever()

    def take(self, number: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        """Token ids, source and target in turn, `2 x B`; text keys `[B, 1, 2]`; places in the stream `[B, 1]`."""
        if number < self._next:
            self._next, self._pairs = 0, self._forever()
        skipped = (number - self._next) * self._count
        records = list(islice(self._pairs, skipped, skipped + self._count))
        self._next = number + 1
        ids = self._tokens.ids([text for record in records for text in record[:2]])
        keys = np.array([[[text_key(record.source), text_key(record.target)]] for record in records], np.uint64)
        places = number * self._count + np.arange(self._count)
        return [np.asarray(row) for row in ids], keys.view(np.int64), places[:, None]

    def _forever(self) -> Iterator[Record]:
        epoch = 0
        while True:
            random = np.random.default_rng([self._seed, 5, ranks.rank(), epoch])
            before = None
            for before in shuffled(self._usable(), BUFFER, random):
                yield before
            if before is None:
                raise UserError(
                    f"rank {ranks.rank()} of {ranks.world()} finds no usable pair in its share of the stream: give it "
                    "more files or pairs"
                )
            epoch += 1

    def _usable(self) -> Iterator[Record]:
        rank, world = ranks.rank(), ranks.world()
        by_file = len(self._sources) >= world
        sources = self._sources[rank::world] if by_file else self._sources
        records = read_records(sources, [], self._config, Account())
        for record in records if by_file else islice(records, rank, None, world):
            if text_key(record.source) not in self._heldout and text_key(record.target) not in self._heldout:
                yield record


def shuffled(records: Iterator[Record], size: int, random: np.random.Generator) -> Iterator[Record]:
    """The records in another order: each comes out at random from a buffer of `size`."""
    buffer = list(islice(records, size))
    for record in records:
        place = int(random.integers(len(buffer)))
        yield buffer[place]
        buffer[place] = record
    for place in random.permutation(len(buffer)):
        yield buffer[place]
