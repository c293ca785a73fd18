"""How far one encoder is from another: cosines, nearest neighbours, and the same text in different batches.

Shapes: N sentences, D dimension.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from compact_labse.encoder import Encoder
from compact_labse.tokens import pad

BATCHES = (8, 64)
SPREAD = 0.35  # of the logarithm of lengths within a batch
TIE = 1e-6  # neighbours whose cosines differ by less are the same neighbour: float32 cannot tell them apart
HARD = "hard"  # the name under which strings that break tokenizers and batches stand among the languages
HARD_TEXTS = (
    "",
    "a",
    "  \t ",
    "🎉🎉🎉",
    "👩‍👩‍👧‍👦 family",
    "nul\0inside",
    "lone \ud800 surrogate",
    "mixed Straße улица 道路 طريق सड़क ถนน",
    "supercalifragilisticexpialidocious" * 8,
    "The same clause, again and again. " * 60,
    "1234567890 3.14159 2026-11-21 €19.99",
    "ｆｕｌｌ ｗｉｄｔｈ ﬁne ①②③ ² ½",
)
CHUNK = 2048  # sentences compared with all others at a time


@dataclass(frozen=True, kw_only=True)
class Worst:
    """The smallest value of a gate and where it was found."""

    value: float
    language: str
    sentence: str = ""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Per sentence, in order: language, text, and one value for each gate, NaN where a gate does not look at it."""

    labels: list[str]
    texts: list[str]
    columns: dict[str, np.ndarray]

    def worst(self) -> dict[str, Worst]:
        """The worst sentence of every gate about sentences, and the worst language of every gate about languages."""
        found = {gate: self._worst_sentence(gate) for gate in self.columns if gate not in ("cosine", "same")}
        if "cosine" not in self.columns:
            return found
        found["worst_cosine"] = self._worst_sentence("cosine")
        found["language_cosine"] = self._worst_language("cosine")
        counted = self.columns["same"][~np.isnan(self.columns["same"])]
        odd = self._worst_sentence("same")
        if len(counted) > 1:
            share = float(counted.mean())
            found["neighbours"] = Worst(value=share, language=odd.language, sentence=odd.sentence if share < 1 else "")
            found["language_neighbours"] = self._worst_language("same")
        return found

    def languages(self) -> dict[str, dict[str, float]]:
        """Per language: mean and worst cosine, share of kept neighbours, worst invariance."""
        return {language: self._figures(self._rows(language)) for language in dict.fromkeys(self.labels)}

    def _figures(self, rows: np.ndarray) -> dict[str, float]:
        if "cosine" not in self.columns:
            return {}
        cosine, same = self.columns["cosine"][rows], self.columns["same"][rows]
        figures = {"mean_cosine": float(cosine.mean()), "worst_cosine": float(cosine.min())}
        if not np.isnan(same).all():
            figures["neighbours"] = float(np.nanmean(same))
        return figures | {"invariance": float(self.columns["invariance"][rows].min())}

    def _rows(self, language: str) -> np.ndarray:
        return np.array([label == language for label in self.labels])

    def _worst_sentence(self, gate: str) -> Worst:
        values = self.columns[gate]
        if np.isnan(values).all():
            return Worst(value=1.0 if gate == "same" else float("nan"), language=self.labels[0], sentence=self.texts[0])
        # A NaN among the cosines is a broken vector and worse than any number.
        broken = np.isnan(values) if gate != "same" else np.zeros(len(values), bool)
        row = int(np.argmax(broken)) if broken.any() else int(np.nanargmin(values))
        return Worst(value=float(values[row]), language=self.labels[row], sentence=self.texts[row])

    def _worst_language(self, column: str) -> Worst:
        means = {}
        for language in dict.fromkeys(self.labels):
            values = self.columns[column][self._rows(language)]
            if column == "same":
                values = values[~np.isnan(values)]
            if len(values):
                means[language] = float(values.mean())
        language = min(means, key=lambda name: means[name] if np.isfinite(means[name]) else -np.inf)
        return Worst(value=means[language], language=language)


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What the source makes of all sentences, computed once for all exports: labels, texts, token ids, vectors."""

    source: Encoder
    labels: list[str]
    texts: list[str]
    ids: list[list[int]]
    vectors_ND: np.ndarray

    @classmethod
    def of(cls, source: Encoder, sentences: Mapping[str, Sequence[str]]) -> Reference:
        """Encode sentences by language, and the strings that break things."""
        groups = {**sentences, HARD: HARD_TEXTS}
        texts = [text for group in groups.values() for text in group]
        return cls(
            source=source,
            labels=[language for language, group in groups.items() for _ in group],
            texts=texts,
            ids=source.tokenize(texts),
            vectors_ND=source.encode(texts),
        )


def measure(reference: Reference, export: Encoder, tie: float = TIE) -> Measured:
    """Hold an export to the reference, each text alone and in padded batches of 8 and 64.

    A neighbour whose cosine with the source's vector is within `tie` of the nearest counts as the nearest. Only tokens
    are compared where the dimensions differ.
    """
    texts, source_ND = reference.texts, reference.vectors_ND
    ids = export.tokenize(texts)
    columns = {"tokens": np.array([a == b for a, b in zip(reference.ids, ids, strict=True)], float)}
    if source_ND.shape[1] != export.dim:
        return Measured(labels=reference.labels, texts=texts, columns=columns)
    hard = np.array([label == HARD for label in reference.labels])
    order = _mixed(np.array([len(row) for row in ids]), hard)
    alone_ND, *batched = (in_batches(export, ids, order, size) for size in (1, *BATCHES))
    every = [alone_ND, *batched]
    columns["unit_length"] = 1 - np.max([np.abs(np.linalg.norm(v, axis=1) - 1) for v in every], axis=0)
    columns["cosine"] = np.min([cosines(source_ND, v) for v in every], axis=0)
    columns["invariance"] = np.min([cosines(alone_ND, v) for v in batched], axis=0)
    zero = np.linalg.norm(source_ND, axis=1) < 1e-6  # of a table whose unknown token is zeros: nothing to agree about
    for column in columns.values():
        column[zero] = 1.0
    columns["same"] = np.full(len(texts), np.nan)
    columns["same"][~hard] = same_neighbours(source_ND[~hard], alone_ND[~hard], tie)
    return Measured(labels=reference.labels, texts=texts, columns=columns)


def _mixed(lengths_N: np.ndarray, hard_N: np.ndarray) -> np.ndarray:
    """An order in which neighbours differ in length, so that they share padding, by about a third.

    All of them at random would spend most of the time on padding. The hard ones, one of them very long, come last.
    """
    noise_N = np.exp(np.random.default_rng(0).normal(0, SPREAD, len(lengths_N)))
    return np.lexsort((lengths_N * noise_N, hard_N))


def in_batches(encoder: Encoder, ids: list[list[int]], order: np.ndarray, size: int) -> np.ndarray:
    """Vectors `[N, D]` of rows of ids, run in padded batches of `size` in the given order."""
    vectors_ND = np.empty((len(ids), encoder.dim), np.float32)
    for start in range(0, len(ids), size):
        rows = order[start : start + size]
        vectors_ND[rows] = encoder.forward(*pad([ids[row] for row in rows], encoder.tokens.pad_id))
    return vectors_ND


def cosines(a_ND: np.ndarray, b_ND: np.ndarray) -> np.ndarray:
    """The cosine of each pair of rows, `[N]`; NaN where a vector is zero or not finite."""
    a_ND, b_ND = a_ND.astype(np.float64), b_ND.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (a_ND * b_ND).sum(1) / (np.linalg.norm(a_ND, axis=1) * np.linalg.norm(b_ND, axis=1))


def same_neighbours(source_ND: np.ndarray, export_ND: np.ndarray, tie: float = TIE) -> np.ndarray:
    """1 where the export's nearest other sentence is, to the source, within `tie` of the nearest, else 0; `[N]`.

    NaN for a sentence without any other.
    """
    count = len(source_ND)
    if count < 2:
        return np.full(count, np.nan)
    same = np.empty(count)
    for start in range(0, count, CHUNK):
        rows = np.arange(start, min(start + CHUNK, count))
        ours, theirs = source_ND[rows] @ source_ND.T, export_ND[rows] @ export_ND.T
        ours[np.arange(len(rows)), rows] = theirs[np.arange(len(rows)), rows] = -np.inf
        chosen = ours[np.arange(len(rows)), theirs.argmax(axis=1)]
        same[rows] = chosen >= ours.max(axis=1) - tie
    return same
