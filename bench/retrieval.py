"""How often sentences find their translations: the scores of models that a bench compares, each measured once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from compact_labse.folder import sha256_file

Scores = dict[str, tuple[float, float]]


def evaluation(folder: Path) -> dict[str, Any]:
    """Sentences and their English translations, by set and language."""
    from compact_labse.measure.quality.datasets import pud, tatoeba
    from compact_labse.measure.quality.languages import PUD_17, TATOEBA_SETS

    spoken = pud(folder / "pud")
    everyday = tatoeba(folder / "tatoeba", TATOEBA_SETS["29"])
    return {"tatoeba": everyday, "pud": {code: spoken[code] for code in PUD_17}}


def scores(model: Path, data: Mapping[str, Mapping[str, Any]], known: Path) -> Scores:
    """Mean accuracy over languages, to English and from it, by set; the file `known` has those of the same weights."""
    key = sha256_file(model / "model.safetensors" if model.is_dir() else model)
    before = json.loads(known.read_text()) if known.is_file() else {}
    if key not in before:
        known.parent.mkdir(parents=True, exist_ok=True)
        known.write_text(json.dumps({**before, key: _scores(model, data)}, indent=1))
        return scores(model, data, known)
    return {name: (both[0], both[1]) for name, both in before[key].items()}


def _scores(model: Path, data: Mapping[str, Mapping[str, Any]]) -> Scores:
    from compact_labse.encoder import load
    from compact_labse.measure.quality.quality import retrieval_accuracy

    encoder, found = load(str(model)), {}
    for name, languages in data.items():
        both = [retrieval_accuracy(*(encoder.encode(list(side)) for side in sides[:2])) for sides in languages.values()]
        means = (np.mean([one.forward for one in both]), np.mean([one.backward for one in both]))
        found[name] = (round(float(means[0]), 2), round(float(means[1]), 2))
    return found
