"""The text that a vocabulary must serve, by language, and how often each piece occurs in it.

Shapes: V pieces.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice

import numpy as np
from tokenizers import Tokenizer

from compact_labse import sample
from compact_labse.corpus.files import TEXT_KINDS, Source, find_sources
from compact_labse.corpus.read import read_pairs, read_texts
from compact_labse.corpus.records import UNKNOWN
from compact_labse.errors import UserError
from compact_labse.progress import track
from compact_labse.texts import CHUNK_LINES, chunks
from compact_labse.tokens import TEXTS_PER_CALL, clean_text

MEASURED = 1000  # texts per language that are cut again with the new vocabulary
HELD = 10  # one text in so many estimates what new text would lose
MOST_UNKNOWN = 0.5


@dataclass
class Coverage:
    """What the text of one language uses. `held_V` counts in every tenth text; `alone` if only the sample was there."""

    language: str
    counts_V: np.ndarray
    held_V: np.ndarray
    texts: int = 0
    alone: bool = True
    measured: list[str] = field(default_factory=list)
    stride: int = 1

    @property
    def tokens(self) -> int:
        """Tokens counted."""
        return int(self.counts_V.sum())

    def add(self, texts: Sequence[str], tokenizer: Tokenizer) -> None:
        """Count the pieces of some texts, and keep some texts to measure on, evenly spread."""
        for start in range(0, len(texts), TEXTS_PER_CALL):
            part = [clean_text(text) for text in texts[start : start + TEXTS_PER_CALL]]
            ids = [e.ids for e in tokenizer.encode_batch_fast(part, add_special_tokens=False)]
            held = [row for place, row in enumerate(ids, self.texts) if place % HELD == 0]
            np.add.at(self.counts_V, np.fromiter(chain.from_iterable(ids), np.int64), 1)
            np.add.at(self.held_V, np.fromiter(chain.from_iterable(held), np.int64), 1)
            for text in part:
                self._keep(text)

    def _keep(self, text: str) -> None:
        if self.texts % self.stride == 0:
            self.measured.append(text)
            if len(self.measured) > 2 * MEASURED:
                self.measured, self.stride = self.measured[::2], 2 * self.stride
        self.texts += 1


def known_languages(corpus: Sequence[str]) -> tuple[list[Source], set[str]]:
    """The files of a corpus, and the languages that their names tell."""
    sources = find_sources(list(corpus), None, TEXT_KINDS) if corpus else []
    return sources, {code for source in sources for code in source.languages or ()}


def measure_coverage(
    tokenizer: Tokenizer, unk_id: int | None, languages: Sequence[str], corpus: Sequence[str]
) -> dict[str, Coverage]:
    """Count pieces in the text of `languages` (all of the corpus's if empty): the embedded sample's and the corpus's.

    Text whose language no file name tells counts under "und", always. UserError for a language without text, and for
    one that the vocabulary cannot write.
    """
    sources, named = known_languages(corpus)
    _check_known(languages, named)
    size = tokenizer.get_vocab_size(with_added_tokens=True)
    found: dict[str, Coverage] = {}

    def of(language: str) -> Coverage:
        return found.setdefault(language, Coverage(language, np.zeros(size, np.int64), np.zeros(size, np.int64)))

    for language in languages:
        if language in sample.LANGUAGES:
            of(language).add(sample.sentences(language), tokenizer)
    for source in track(sources, "reading the corpus"):
        for language, texts in _of_source(source, set(languages)):
            of(language).alone = False
            of(language).add(texts, tokenizer)
    for coverage in found.values():
        _check_served(coverage, unk_id)
    return found


def _of_source(source: Source, wanted: set[str]) -> Iterator[tuple[str, list[str]]]:
    """The texts of a file in chunks, each with its language; of pairs both sides, where they are wanted."""
    kind = None if source.kind == "hub" else source.kind
    if source.languages is None:
        for chunk in chunks(read_texts(source.name, kind=kind)):
            yield UNKNOWN, chunk
        return
    sides = [(side, code) for side, code in enumerate(source.languages) if not wanted or code in wanted]
    pairs = read_pairs(source.name, kind=kind) if sides else iter(())
    while chunk_of_pairs := list(islice(pairs, CHUNK_LINES)):
        for side, language in sides:
            yield language, [str(pair[side]) for pair in chunk_of_pairs]


def _check_known(languages: Sequence[str], named: set[str]) -> None:
    unknown = [code for code in languages if code not in named and code not in sample.LANGUAGES]
    if unknown:
        corpus = f"the corpus has {', '.join(sorted(named))}" if named else "no file of --corpus is named after one"
        raise UserError(
            f"no text in {', '.join(unknown)}: the embedded sample has {', '.join(sample.LANGUAGES)}, and {corpus} "
            f"(en-xx.tsv.gz holds en and xx)"
        )


def _check_served(coverage: Coverage, unk_id: int | None) -> None:
    unknown = 0 if unk_id is None else int(coverage.counts_V[unk_id])
    if not coverage.tokens:
        raise UserError(f"the text in {coverage.language} covers nothing: its {coverage.texts} texts have no tokens")
    if unknown > MOST_UNKNOWN * coverage.tokens:
        raise UserError(
            f"this vocabulary does not know {coverage.language}: {unknown / coverage.tokens:.0%} of the tokens in its "
            f"{coverage.texts:,} texts are unknown to the model already"
        )
