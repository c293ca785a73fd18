"""Which pairs are trained on: read, cleaned, without evaluation sentences, each with the file that it came from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from compact_labse.corpus.account import Account
from compact_labse.corpus.clean import Cleaning, clean_pairs, clean_texts
from compact_labse.corpus.decontaminate import EvaluationSentences, texts_without_evaluation, without_evaluation
from compact_labse.corpus.files import Source
from compact_labse.corpus.read import read_pairs, read_texts
from compact_labse.corpus.records import Pair
from compact_labse.errors import UserError
from compact_labse.progress import say, track

ALONE = "alone"  # the language of sentences that stand for themselves


@dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """Which pairs are trained on, and how often.

    Args:
        columns: Source and target column of every file, by name or position; by default what the format suggests.
        language: Language of the targets where the file names do not tell.
        max_bad: Malformed lines to skip in a file before giving up.
        cleaning: Which pairs are dropped as unusable.
        temperature: 1 samples languages by their size, larger values more evenly.
        weights: How often pairs of a file are drawn in comparison, by part of its path: `{"lexicon": 0.3}`.
        companions: How many of its nearest neighbours each drawn pair brings into its batch, as negatives that are hard
            to tell from it; neighbours by the static student in `student.start`. A part of `batch`, not beside it.
        heldout: Most pairs per language that are kept out of training, to measure on.
        heldout_share: Largest share of a language's pairs that is kept out.
        avoid: Files or folders of sentences that training must not contain (evaluation data).
    """

    columns: list[str] | None = None
    language: str | None = None
    max_bad: int = 100
    cleaning: Cleaning = field(default_factory=Cleaning)
    temperature: float = 2.0
    weights: dict[str, float] = field(default_factory=dict)
    companions: int = 0
    heldout: int = 1000
    heldout_share: float = 0.02
    avoid: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.temperature >= 1:
            raise UserError(f"corpus.temperature must be at least 1, got {self.temperature}")
        if self.heldout < 0 or not 0 <= self.heldout_share < 1:
            raise UserError("corpus.heldout must not be negative and corpus.heldout_share must be in [0, 1)")
        if self.companions < 0:
            raise UserError(f"corpus.companions must not be negative, got {self.companions}")
        if any(weight < 0 for weight in self.weights.values()):
            raise UserError(f"corpus.weights must not be negative, got {self.weights}")

    def weight_of(self, path: str) -> float:
        """The weight of a file: the product of those whose name occurs in its path."""
        found = 1.0
        for part, weight in self.weights.items():
            found *= weight if part in path else 1.0
        return found


class Record(NamedTuple):
    """A pair and the number of the file that it comes from."""

    source: str
    target: str
    language: str
    origin: int


def read_records(
    sources: Sequence[Source],
    texts: Sequence[Source],
    config: CorpusConfig,
    account: Account,
    avoid: EvaluationSentences | None = None,
) -> Iterator[Record]:
    """Read, clean and decontaminate the pairs of `sources`, then the sentences of `texts`, each as a pair with itself.

    `account` counts what is dropped and why. Files of texts are numbered after those of pairs. `avoid` are the
    sentences of `config.avoid` if they have been read already.
    """
    if avoid is None and config.avoid:
        avoid = EvaluationSentences.from_files(*config.avoid)
    reader = _Reader(sources, config)
    pairs: Iterator[Pair] = clean_pairs(reader, config.cleaning, account)
    if avoid is not None:
        pairs = without_evaluation(pairs, avoid, account)
    # Every step takes one pair and passes it on before it takes the next, so the reader's file is this pair's.
    for pair in pairs:
        yield Record(*pair, reader.origin)
    for origin, source in enumerate(texts, start=len(sources)):
        sentences = clean_texts(_sentences(source, config), config.cleaning, account, language=ALONE)
        if avoid is not None:
            sentences = texts_without_evaluation(sentences, avoid, account, language=ALONE)
        for sentence in sentences:
            yield Record(sentence, sentence, ALONE, origin)


def _sentences(source: Source, config: CorpusConfig) -> Iterator[str]:
    kind = None if source.kind == "hub" else source.kind
    return read_texts(source.name, max_bad=config.max_bad, kind=kind)


class _Reader:
    """Iterates over the pairs of several files and knows the number of the file that the last one came from."""

    def __init__(self, sources: Sequence[Source], config: CorpusConfig) -> None:
        self.sources, self.config, self.origin = sources, config, 0

    def __iter__(self) -> Iterator[Pair]:
        config, total, failure = self.config, 0, None
        for number, source in enumerate(track(self.sources, "reading the corpus")):
            self.origin, before = number, total
            try:
                for pair in read_pairs(
                    source.name,
                    columns=config.columns,
                    language=config.language,
                    max_bad=config.max_bad,
                    kind=None if source.kind == "hub" else source.kind,
                ):
                    total += 1
                    yield pair
            except UserError as error:
                if source.named or total > before:
                    raise
                say(f"passed over: {error}")
                failure = error
        if failure is not None and not total:
            raise failure
