"""Evaluation data by Hugging Face name, `hf:name[:config][:split]`, or a folder that `datasets` reads.

Understood are translations (`sentence1`, `sentence2` and a language such as "deu-eng" as column or configuration; a
`translation` column; two columns called by their languages) and scored pairs (`sentence1`, `sentence2`, `score`).
Without a configuration all of them are read, without a split test, else validation, else train.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from types import ModuleType
from typing import Any

from compact_labse.corpus.files import HUB
from compact_labse.corpus.hub import SPLITS
from compact_labse.errors import UserError, require
from compact_labse.measure.quality.datasets import Dataset, Pairs, Parallel, ScoredPairs, Similarity
from compact_labse.measure.quality.languages import canonical

_PREFERRED = ("test", "validation", "valid", "dev", "train")
_TWO_CODES = re.compile(r"([a-z]{2,3}(?:_[A-Za-z]+)?)[-.]([a-z]{2,3}(?:_[A-Za-z]+)?)")
_LANGUAGE = ("lang", "language")


def hub_data(name: str) -> list[Dataset]:
    """The parallel or scored data of that name. UserError if it cannot be had or its columns are not understood."""
    place, config, split = parse(name)
    library = require("datasets", "train")
    parallel: Pairs = {}
    scored: ScoredPairs = {}
    for each in [config] if config else _configurations(library, place):
        for row in _rows(library, place, each, split):
            _sort_in(row, each, name, parallel, scored)
    title = PurePath(place).name
    found: list[Dataset] = []
    if parallel:
        found.append(Parallel(name=title, pairs=parallel))
    if scored:
        found.append(Similarity(name=title, pairs=scored))
    if not found:
        raise UserError(f"{name} has no rows")
    return found


def parse(name: str) -> tuple[str, str | None, str | None]:
    """Name or folder, configuration and split of `hf:name[:config][:split]`; what is called like a split is one."""
    place, *rest = name.removeprefix(HUB).split(":")
    if not place or len(rest) > 2:
        raise UserError(f"{name!r} is not of the form hf:name[:config][:split]")
    if len(rest) == 1 and rest[0] in SPLITS:
        return place, None, rest[0]
    config, split = [*rest, "", ""][:2]
    return place, config or None, split or None


def _configurations(library: ModuleType, place: str) -> Sequence[str | None]:
    try:
        return library.get_dataset_config_names(place) or [None]
    except (OSError, ValueError, LookupError, library.exceptions.DatasetsError) as error:
        raise _unreachable(place, error) from error


def _rows(library: ModuleType, place: str, config: str | None, split: str | None) -> Iterable[Mapping[str, Any]]:
    try:
        splits = library.load_dataset(place, config)
        chosen = split or next((name for name in _PREFERRED if name in splits), next(iter(splits)))
        if chosen not in splits:
            raise UserError(f"{HUB}{place} has no split {chosen!r}, it has {', '.join(splits)}")
        yield from splits[chosen]
    except (OSError, ValueError, LookupError, library.exceptions.DatasetsError) as error:
        raise _unreachable(place, error) from error


def _unreachable(place: str, error: Exception) -> UserError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return UserError(f"cannot load the Hugging Face dataset {place!r}: {reason}; give a local folder with --data")


def _sort_in(row: Mapping[str, Any], config: str | None, name: str, parallel: Pairs, scored: ScoredPairs) -> None:
    if {"sentence1", "sentence2", "score"} <= row.keys():
        code = _code(row, config) or "all"
        code = canonical(code.partition("-")[0]) if "-" in code else code
        first, second, scores = scored.setdefault(code, ([], [], []))
        first.append(str(row["sentence1"]))
        second.append(str(row["sentence2"]))
        scores.append(float(row["score"]))
        return
    code, other, english = _translation(row, config, name)
    texts, side = parallel.setdefault(code, ([], []))
    texts.append(other)
    side.append(english)


def _translation(row: Mapping[str, Any], config: str | None, name: str) -> tuple[str, str, str]:
    """Language, its sentence and the English one."""
    if {"sentence1", "sentence2"} <= row.keys():
        code = _code(row, config)
        found = _TWO_CODES.fullmatch(code)
        texts = (str(row["sentence1"]), str(row["sentence2"]))
        if found and canonical(found[2]) == "en":
            return found[1], *texts
        if found and canonical(found[1]) == "en":
            return found[2], texts[1], texts[0]
        raise UserError(
            f"{name}: cannot tell which side is English from the language {code!r}, expected as in 'deu-eng'"
        )
    both = row.get("translation", row)
    codes = [code for code, text in both.items() if isinstance(text, str) and re.fullmatch("[a-z]{2,3}", code)]
    if len(codes) == 3:  # a column of row names, not Indonesian
        codes = [code for code in codes if code != "id"]
    english = [code for code in codes if canonical(code) == "en"]
    if len(codes) != 2 or len(english) != 1:
        raise UserError(
            f"{name}: expected the columns sentence1, sentence2 (and score), translation, or two languages of which "
            f"one is English; got {', '.join(row)}"
        )
    other = next(code for code in codes if code not in english)
    return other, both[other], both[english[0]]


def _code(row: Mapping[str, Any], config: str | None) -> str:
    named = next((str(row[key]) for key in _LANGUAGE if row.get(key)), None)
    return named or (config if config and config != "default" else "")
