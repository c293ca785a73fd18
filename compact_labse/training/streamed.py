"""Pairs that are read while training goes on: nothing is stored, and each rank reads a share of its own.

Shapes: B pairs of a rank.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, count, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from compact_labse.corpus.account import Account
from compact_labse.corpus.decontaminate import EvaluationSentences
from compact_labse.corpus.files import Source
from compact_labse.corpus.records import UNKNOWN
from compact_labse.corpus.sampling import shares_within
from compact_labse.errors import UserError
from compact_labse.gather import CorpusConfig, Record, read_records
from compact_labse.pairs import Pairs, text_key
from compact_labse.progress import say
from compact_labse.tokens import Tokens
from compact_labse.training import ranks
from compact_labse.training.sampler import GOLDEN

BUFFER = 20_000  # pairs in memory, of all sources: the next pair of a source is drawn among its part of them
LEAST = 100  # of them, for each source


class Stretch(NamedTuple):
    """A source and where it lies on [0, 1): what lies on a rank's part of that is the rank's."""

    source: Source
    low: float
    high: float


class StreamedShare:
    """A rank's batches from files or `hf:` names: each pair from one of its sources, at random, over and over.

    How often a source is drawn is decided by `corpus.weights` and `corpus.temperature`. What stands for its number of
    pairs is the file's size on disk, compressed as it is, and for an `hf:` name the mean of the files; its language is
    the second in its name, and a file that holds several counts as one of its own. Sources lie on [0, 1) by these
    shares, and each rank has as much of that as any other: sources of its own, and of those that reach over a border
    as large a part of the pairs. A source at its end begins again in another order, whatever the others do, so that
    every batch is full. Batch `number` is the same on every call with the same seed, files and number of ranks; to go
    back, or far ahead, is to read again.
    """

    def __init__(
        self, sources: Sequence[Source], config: CorpusConfig, tokens: Tokens, heldout: Pairs, *, count: int, seed: int
    ) -> None:
        self._avoid = EvaluationSentences.from_files(*config.avoid) if config.avoid else None
        # Remembering every pair to drop its copies would take as much memory as storing them.
        self._config = replace(config, cleaning=replace(config.cleaning, drop_duplicates=False))
        self._stretches, self._tokens, self._count, self._seed = stretches(sources, config), tokens, count, seed
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
        random = np.random.default_rng([self._seed, 5, ranks.rank()])
        low, high = ranks.rank() / ranks.world(), (ranks.rank() + 1) / ranks.world()
        shares = [min(high, stretch.high) - max(low, stretch.low) for stretch in self._stretches]
        own = [number for number, share in enumerate(shares) if share > 0]
        sizes = {number: max(LEAST, round(BUFFER * shares[number] / (high - low))) for number in own}
        streams = {number: self._again(number, size) for number, size in sizes.items()}
        while own:
            bounds = list(accumulate(shares[number] for number in own))
            while True:
                number = own[bisect_right(bounds, random.random() * bounds[-1], hi=len(own) - 1)]
                record = next(streams[number], None)
                if record is None:  # nothing of it is usable, or this rank's
                    break
                yield record
            own.remove(number)
        raise UserError(
            f"rank {ranks.rank()} of {ranks.world()} finds no usable pair in its share of the stream: give it "
            "more files or pairs"
        )

    def _again(self, number: int, size: int) -> Iterator[Record]:
        """This rank's pairs of a source, pass after pass, through a buffer of `size`; ends where there are none."""
        for epoch in count():
            random = np.random.default_rng([self._seed, 5, ranks.rank(), number, epoch])
            before = None
            for before in shuffled(self._usable(self._stretches[number]), size, random):
                yield before
            if before is None:
                return

    def _usable(self, stretch: Stretch) -> Iterator[Record]:
        """One pass over this rank's pairs of a source, in their order."""
        source, low, high = stretch
        records, record = read_records([source], [], self._config, Account(), self._avoid), None
        try:
            for place, record in enumerate(records):
                spot = low + (place * GOLDEN % 1) * (high - low)  # each rank gets as large a part as its stretch is
                if min(int(spot * ranks.world()), ranks.world() - 1) != ranks.rank():
                    continue
                if text_key(record.source) not in self._heldout and text_key(record.target) not in self._heldout:
                    yield record
        except UserError as error:
            if source.named or record is not None:
                raise
            say(f"passed over: {error}")


def stretches(sources: Sequence[Source], config: CorpusConfig) -> list[Stretch]:
    """The sources behind each other on [0, 1), each as long as its share; UserError if all weights are 0."""
    used = [source for source in sources if config.weight_of(source.name) > 0]
    if not used:
        raise UserError("corpus.weights leave nothing to train on: every file of the stream has weight 0")
    on_disk = {source: max(1, Path(source.name).stat().st_size) for source in used if source.kind != "hub"}
    mean = sum(on_disk.values()) / len(on_disk) if on_disk else 1.0
    weighted = [on_disk.get(source, mean) * config.weight_of(source.name) for source in used]
    languages = [config.language or (source.languages or ("", UNKNOWN))[1] for source in used]
    edges = [0.0, *accumulate(shares_within(languages, weighted, config.temperature))]
    scaled = [edge / edges[-1] for edge in edges]
    return [Stretch(*found) for found in zip(used, scaled[:-1], scaled[1:], strict=True)]


def shuffled(records: Iterator[Record], size: int, random: np.random.Generator) -> Iterator[Record]:
    """The records in another order: each comes out at random from a buffer of `size`."""
    buffer = list(islice(records, size))
    for record in records:
        place = int(random.integers(len(buffer)))
        yield buffer[place]
        buffer[place] = record
    for place in random.permutation(len(buffer)):
        yield buffer[place]
