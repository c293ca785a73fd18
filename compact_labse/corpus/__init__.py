"""Corpora of any size: read, clean, decontaminate, split and sample pairs and monolingual text, as streams.

A corpus ready for training::

    from compact_labse.corpus import EvaluationSentences, clean_pairs, held_out, read_pairs, without_evaluation

    pairs = clean_pairs(read_pairs("corpora/"))
    pairs = without_evaluation(pairs, EvaluationSentences.from_files("eval/"))
    train = (pair for pair in pairs if not held_out(pair, 0.01))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compact_labse.corpus.account import Account
    from compact_labse.corpus.clean import clean_pairs, clean_texts
    from compact_labse.corpus.cleaning import Cleaning
    from compact_labse.corpus.decontaminate import (
        EvaluationSentences,
        normalise,
        texts_without_evaluation,
        without_evaluation,
    )
    from compact_labse.corpus.read import read_pairs, read_texts
    from compact_labse.corpus.records import Pair
    from compact_labse.corpus.sampling import interleave, shuffled, temperature_weights
    from compact_labse.corpus.split import held_out

__all__ = [
    "Account",
    "Cleaning",
    "EvaluationSentences",
    "Pair",
    "clean_pairs",
    "clean_texts",
    "held_out",
    "interleave",
    "normalise",
    "read_pairs",
    "read_texts",
    "shuffled",
    "temperature_weights",
    "texts_without_evaluation",
    "without_evaluation",
]

_MODULES = ("records", "cleaning", "read", "account", "clean", "decontaminate", "sampling", "split")


def __getattr__(name: str) -> object:
    """Import on first use, so that commands can show their help without numpy."""
    if name in __all__:
        for module in _MODULES:
            found = getattr(importlib.import_module(f"{__name__}.{module}"), name, None)
            if found is not None:
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
