"""What more can be asked of an encoder on a parallel set: mining, search, smaller vectors, batches, a picture.

Every function takes an encoder that remembers, a data set and the languages that the model was trained on, and returns
values as `evaluate` does: per language, means over sets, the worst named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from compact_labse.measure.quality import space
from compact_labse.measure.quality.batching import conditions, lowest_cosine
from compact_labse.measure.quality.datasets import Parallel
from compact_labse.measure.quality.evaluate import Remembering, Values, described, english_side
from compact_labse.measure.quality.mining import NEIGHBOURS, haystack, mine, score_halves
from compact_labse.measure.quality.quality import nearest, retrieval_accuracy
from compact_labse.measure.quality.smaller_vectors import KEPT, kept_share, quantized_hits, truncated, truncations
from compact_labse.measure.quality.translation_search import search_figures, target_ranks
from compact_labse.progress import track

Trained = Iterable[str] | None
QUANTIZED_QUERIES = 200
BATCHED_PAIRS = 384
SHOWN = 40


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One kind of record: how its values are made, and the settings that decide them."""

    run: Callable[[Remembering, Parallel, Trained], Values]
    settings: Mapping[str, Any] = field(default_factory=dict)


def mining(encoder: Remembering, dataset: Parallel, trained: Trained) -> Values:
    """F1, precision and recall of mining each language's translations from the English of the whole set."""
    english, rows = english_side(dataset)
    english_MD = encoder.encode(english)
    languages: dict[str, dict[str, Any]] = {}
    for code, (texts, _) in track(dataset.pairs.items(), f"{dataset.name} mining", total=len(dataset.pairs)):
        hay = haystack(rows[code], len(english))
        found = score_halves(mine(encoder.encode(texts)[hay.x_rows], english_MD[hay.y_rows]), hay)
        languages[code] = {"f1": found.f1, "precision": found.precision, "recall": found.recall}
        languages[code] |= {"pairs": len(hay.gold), "threshold": min(found.threshold, 1e9)}
    return described(dataset.name, languages, ("f1", "precision", "recall"), trained) | {"documents": len(english)}


def searching(encoder: Remembering, dataset: Parallel, trained: Trained) -> Values:
    """Recall at 1, 5, 10 and MRR of finding a sentence's translation among the English of the whole set."""
    english, rows = english_side(dataset)
    english_MD = encoder.encode(english)
    languages: dict[str, dict[str, Any]] = {}
    for code, (texts, _) in track(dataset.pairs.items(), f"{dataset.name} search", total=len(dataset.pairs)):
        found = search_figures(target_ranks(encoder.encode(texts), english_MD, rows[code]))
        languages[code] = {**found, "queries": len(texts)}
    return described(dataset.name, languages, tuple(found), trained) | {"documents": len(english)}


def quantizing(encoder: Remembering, dataset: Parallel, trained: Trained) -> Values:
    """Of float32's ten best documents, the share that coarser vectors find; and how often the translation is first."""
    english, rows = english_side(dataset)
    english_MD = encoder.encode(english)
    languages: dict[str, dict[str, Any]] = {}
    for code, (texts, _) in track(dataset.pairs.items(), f"{dataset.name} quantized", total=len(dataset.pairs)):
        queries_QD = encoder.encode(texts[:QUANTIZED_QUERIES])
        target_Q = rows[code][:QUANTIZED_QUERIES]
        hits = quantized_hits(queries_QD, english_MD)
        first = {f"first_{name}": 100 * float((found[:, 0] == target_Q).mean()) for name, found in hits.items()}
        wanted = hits.pop("float32")
        languages[code] = {**{name: kept_share(found, wanted) for name, found in hits.items()}, **first}
    measures = tuple(name for name in languages[code] if name != "queries")
    sizes = {"float32": 4 * english_MD.shape[1], "int8": english_MD.shape[1], "binary": -(-english_MD.shape[1] // 8)}
    extra = {"bytes": sizes, "documents": len(english)}
    return described(dataset.name, languages, measures, trained) | extra


def truncating(encoder: Remembering, dataset: Parallel, trained: Trained) -> Values:
    """Retrieval accuracy (mean of both directions) with all values of a vector, half of them, a quarter, ..."""
    english, rows = english_side(dataset)
    english_MD = encoder.encode(english)
    whole = english_MD.shape[1]
    languages: dict[str, dict[str, Any]] = {}
    for code, (texts, _) in track(dataset.pairs.items(), f"{dataset.name} truncated", total=len(dataset.pairs)):
        x_ND, y_ND = encoder.encode(texts), english_MD[rows[code]]
        languages[code] = {}
        for dim in (whole, *truncations(whole)):
            found = retrieval_accuracy(truncated(x_ND, dim), truncated(y_ND, dim))
            languages[code][f"dim_{dim}"] = (found.forward + found.backward) / 2
    return described(dataset.name, languages, tuple(languages[code]), trained)


def batching(encoder: Remembering, dataset: Parallel, trained: Trained) -> Values:
    """Lowest cosine of the same texts alone against in batches and padded, and how many nearest English change."""
    each = max(4, BATCHED_PAIRS // len(dataset.pairs))
    chosen = {code: (texts[:each], side[:each]) for code, (texts, side) in dataset.pairs.items()}
    owner = np.array([code for code, (texts, _) in chosen.items() for _ in texts])
    texts = [text for side, _ in chosen.values() for text in side]
    # Each English sentence once: between equal documents rounding alone would decide.
    english = list(dict.fromkeys(text for _, side in chosen.values() for text in side))
    # Languages in turn, so that long and short sentences meet in a batch.
    order = np.random.default_rng(0).permutation(len(texts))
    found = conditions(encoder.encoder, [texts[row] for row in order])  # type: ignore[arg-type]
    documents = conditions(encoder.encoder, english)  # type: ignore[arg-type]
    alone_N = nearest(found["alone"], documents["alone"])[:, 0]
    languages: dict[str, dict[str, Any]] = {code: {} for code in chosen}
    for name in (name for name in found if name != "alone"):
        changed_N = nearest(found[name], documents[name])[:, 0] != alone_N
        for code, figures in languages.items():
            own = owner[order] == code
            figures[name] = lowest_cosine(found["alone"][own], found[name][own])
            figures[f"changed_{name}"] = 100 * float(changed_N[own].mean())
    values = described(dataset.name, languages, tuple(languages[next(iter(chosen))]), trained)
    lowest = {name: min(row[name] for row in languages.values()) for name in found if name != "alone"}
    return values | {"lowest": lowest, "texts": len(texts)}


def picturing(encoder: Remembering, dataset: Parallel, trained: Trained) -> Values:
    """Cosines of pairs against non-pairs per language, and a plane with the first sentences of every language.

    Without text: a point is known by its language and row.
    """
    _, rows = english_side(dataset)
    languages: dict[str, dict[str, Any]] = {}
    histograms: dict[str, dict[str, list[int]]] = {}
    sides: dict[str, np.ndarray] = {}
    for code, (texts, side) in dataset.pairs.items():
        x_ND, y_ND = encoder.encode(texts), encoder.encode(side)
        own, others = space.cosines(x_ND, y_ND)
        languages[code] = {"separation": space.separation(own, others), "pair_cosine": float(own.mean())}
        languages[code]["other_cosine"] = float(others.mean()) if len(others) else 0.0
        histograms[code] = {"pairs": space.histogram(own), "others": space.histogram(others)}
        sides[code] = x_ND[: _shown(dataset)]
        sides[f"en {code}"] = y_ND[: _shown(dataset)]
    shared = len({tuple(found[: _shown(dataset)]) for found in rows.values()}) == 1
    if shared:  # the same English for all: one point for each sentence, joined with all its translations
        sides = {code: side for code, side in sides.items() if not code.startswith("en ")} | {
            "en": y_ND[: _shown(dataset)]
        }
    values = described(dataset.name, languages, ("separation", "pair_cosine", "other_cosine"), trained)
    return values | {"histograms": histograms, "picture": space.picture(sides), "shared_english": shared}


def _shown(dataset: Parallel) -> int:
    """Sentences per language in a picture: 720 points altogether at most."""
    return max(6, min(SHOWN, 360 // len(dataset.pairs)))


MEASURES: dict[str, Measure] = {
    "mining": Measure(run=mining, settings={"neighbours": NEIGHBOURS}),
    "search": Measure(run=searching),
    "quantized": Measure(run=quantizing, settings={"kept": KEPT, "queries": QUANTIZED_QUERIES}),
    "truncated": Measure(run=truncating),
    "batches": Measure(run=batching, settings={"pairs": BATCHED_PAIRS}),
    "space": Measure(run=picturing, settings={"shown": SHOWN}),
}
