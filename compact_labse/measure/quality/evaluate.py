"""Run an encoder over evaluation data and describe the outcome per language, with means and the worst named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from compact_labse.measure.quality.datasets import Dataset, Parallel, Similarity
from compact_labse.measure.quality.languages import PUD_17, TATOEBA_SETS, covered_sets, untrained
from compact_labse.measure.quality.quality import (
    agreement,
    means_over_sets,
    retrieval_accuracy,
    sts_correlations,
    worst_languages,
)
from compact_labse.progress import track

Values = dict[str, Any]

_SETS: dict[str, dict[str, tuple[str, ...]]] = {
    "tatoeba": TATOEBA_SETS,
    "pud": {"17": PUD_17},
    "agreement": {"en": ("en",)},
}
_DIGITS = 4
RETRIEVAL = ("xx_en", "en_xx", "xx_en_f1", "en_xx_f1")
CORRELATIONS = ("spearman", "pearson", "pearson_angular")


class Encodes(Protocol):
    """What evaluation needs of an encoder, so that anything with `encode` can be measured."""

    def encode(self, texts: list[str]) -> np.ndarray:
        """Unit vectors [N, D] of N texts."""


class Remembering:
    """An encoder that encodes every text once and keeps its vector: all measures of a data set share them."""

    def __init__(self, encoder: Encodes) -> None:
        self.encoder = encoder
        self._row_of: dict[str, int] = {}
        self._parts: list[np.ndarray] = []

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors [N, D] of N texts; only those that are new are encoded."""
        new = [text for text in dict.fromkeys(texts) if text not in self._row_of]
        if new:
            self._row_of.update(zip(new, range(len(self._row_of), len(self._row_of) + len(new)), strict=True))
            self._parts.append(self.encoder.encode(new))
        if len(self._parts) > 1:
            self._parts = [np.vstack(self._parts)]
        return self._parts[0][[self._row_of[text] for text in texts]]


def evaluate(encoder: Encodes, dataset: Dataset, *, trained: Iterable[str] | None = None) -> Values:
    """Retrieval (percent, both directions) or STS (100 x correlations) on one data set.

    The values hold `languages`, `means` over the named sets that are complete, `headline` (the name of the largest of
    these), `worst` languages, and those `untrained` if the model's training languages are given.
    """
    if isinstance(dataset, Similarity):
        return _similarity(encoder, dataset, trained)
    return _retrieval(encoder, dataset, trained)


def english_side(dataset: Parallel) -> tuple[list[str], dict[str, np.ndarray]]:
    """The different English sentences of a data set, and for each language the row of every pair's English."""
    english = list(dict.fromkeys(text for _, side in dataset.pairs.values() for text in side))
    row_of = {text: row for row, text in enumerate(english)}
    return english, {code: np.array([row_of[text] for text in side]) for code, (_, side) in dataset.pairs.items()}


def _retrieval(encoder: Encodes, dataset: Parallel, trained: Iterable[str] | None) -> Values:
    # English sides repeat between languages; each sentence is encoded once.
    english, rows = english_side(dataset)
    english_ND = encoder.encode(english)
    languages: dict[str, dict[str, Any]] = {}
    for code, (texts, _) in track(dataset.pairs.items(), dataset.name, total=len(dataset.pairs)):
        found = retrieval_accuracy(encoder.encode(texts), english_ND[rows[code]])
        figures = (found.forward, found.backward, found.forward_f1, found.backward_f1)
        languages[code] = {**dict(zip(RETRIEVAL, figures, strict=True)), "pairs": found.pairs}
    return described(dataset.name, languages, RETRIEVAL, trained)


def _similarity(encoder: Encodes, dataset: Similarity, trained: Iterable[str] | None) -> Values:
    languages: dict[str, dict[str, Any]] = {}
    for code, (first, second, scores) in track(dataset.pairs.items(), dataset.name, total=len(dataset.pairs)):
        found = sts_correlations(encoder.encode(first), encoder.encode(second), scores)
        # A constant encoder has no correlation; JSON has no NaN, and 0 is what it deserves.
        known = {name: value if np.isfinite(value) else 0.0 for name, value in found.items()}
        languages[code] = {**known, "pairs": len(scores)}
    return described(dataset.name, languages, CORRELATIONS, trained)


def agreement_texts(dataset: Dataset, per_language: int) -> dict[str, list[str]]:
    """The first different sentences of each language (and of English), for comparing two encoders text by text."""
    columns: dict[str, list[str]] = {code: found[0] for code, found in dataset.pairs.items()}
    if isinstance(dataset, Parallel):
        columns["en"] = [text for _, side in dataset.pairs.values() for text in side]
    return {code: list(dict.fromkeys(texts))[:per_language] for code, texts in columns.items()}


def compare_encoders(
    texts: Mapping[str, list[str]], student: Encodes, teacher_vectors: Mapping[str, np.ndarray]
) -> Values:
    """Agreement of a student with the teacher's vectors of the same texts, per language.

    The worst text is given by its index, as results must not carry the text of others.
    """
    languages: dict[str, dict[str, Any]] = {}
    for code, sentences in track(texts.items(), "agreement", total=len(texts)):
        found = agreement(student.encode(sentences), teacher_vectors[code])
        languages[code] = {
            "mean_cosine": found.mean_cosine,
            "worst_cosine": found.worst_cosine,
            "worst_index": found.worst_index,
            "top1_overlap": found.top1_overlap,
            "top10_overlap": found.top10_overlap,
            "texts": found.texts,
        }
    measures = ["top1_overlap", "top10_overlap"]
    if all(row["mean_cosine"] is not None for row in languages.values()):
        measures.insert(0, "mean_cosine")
    return described("agreement", languages, tuple(measures), None)


def described(
    name: str, languages: dict[str, dict[str, Any]], measures: tuple[str, ...], trained: Iterable[str] | None
) -> Values:
    """Figures per language with means over the complete sets of that data set, the worst and the untrained languages.

    The first measure decides which languages are worst (lowest).
    """
    sets = covered_sets(languages, _SETS.get(name, {}))
    if not any(len(members) == len(languages) for members in sets.values()):
        sets["all"] = tuple(languages)
    columns = {measure: {code: row[measure] for code, row in languages.items()} for measure in measures}
    by_measure = {measure: means_over_sets(column, sets) for measure, column in columns.items()}
    return {
        "measures": list(measures),
        "languages": {code: _rounded(row) for code, row in languages.items()},
        "means": {key: _rounded({measure: by_measure[measure][key] for measure in measures}) for key in sets},
        "headline": max(sets, key=lambda key: len(sets[key])),
        "worst": list(worst_languages(columns[measures[0]])),
        "untrained": list(untrained(languages, trained)),
    }


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: round(value, _DIGITS) if isinstance(value, float) else value for key, value in row.items()}
