"""`expected.json` beside artifacts: a few sentences of many scripts, their token ids and the source's vectors.

Any client in any language proves itself with it: the ids must be equal, the cosines above the tolerance of the format.
Shapes: N texts, D dimension.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compact_labse import sample
from compact_labse.encoder import Encoder
from compact_labse.errors import UserError
from compact_labse.folder import model_hash, writing_file
from compact_labse.formats.artifacts import entries
from compact_labse.formats.export_folder import note_beside
from compact_labse.formats.gates.agreement import HARD
from compact_labse.formats.gates.parity import LIMITS

EXPECTED, VERSION = "expected.json", 1
DECIMALS = 6  # the rounding changes a cosine by less than 1e-9
LANGUAGES = ("en", "de", "tr", "el", "ru", "ar", "he", "hi", "bn", "th", "zh", "ja", "ko")
HARD_TEXTS = (
    "",
    "🎉🎉🎉",
    "mixed Straße улица 道路 طريق सड़क ถนน",
    "ｆｕｌｌ ｗｉｄｔｈ ﬁne ①②③ ² ½",
    "Don't—e-mail: a.b@c.de, €19.99!",
)


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What `expected.json` says: languages, texts, token ids and vectors."""

    languages: list[str]
    texts: list[str]
    ids: list[list[int]]
    vectors_ND: np.ndarray


def expected_texts() -> list[tuple[str, str]]:
    """Pairs of language and text: one sentence each of 13 languages (11 scripts), and strings that break tokenizers."""
    chosen = [(language, sample.sentences(language, "test")[place]) for place, language in enumerate(LANGUAGES)]
    return [*chosen, *((HARD, text) for text in HARD_TEXTS)]


def note_expected(folder: Path, source: Encoder) -> None:
    """Write `expected.json` into a folder of artifacts, from what their source makes of the texts.

    Call it after the artifacts have their entries: each is listed with the cosines that it was held to. The hashes of
    this file and of the settings around are noted, so that `verify` knows them again.
    """
    languages, texts = zip(*expected_texts(), strict=True)
    rows = zip(languages, texts, source.tokenize(texts), source.encode(texts), strict=True)
    head: dict[str, Any] = {
        "version": VERSION,
        "source": model_hash(source.source) if source.source else "",
        "dim": source.dim,
        "max_tokens": source.max_tokens,
        "prompt": source.tokens.prefix,
        "special_tokens": source.tokens.special,
        "pad_id": source.tokens.pad_id,
        "tolerance": _tolerances(),
        "artifacts": {name: held_to(entry) for name, entry in entries(folder).items()},
    }
    lines = [_line({"language": a, "text": b, "ids": c, "vector": _rounded(d)}) for a, b, c, d in rows]
    opening = _line(head)[:-1]
    with writing_file(folder / EXPECTED) as file:
        file.write_text(opening + ', "texts": [\n' + ",\n".join(lines) + "\n]}\n", encoding="utf-8")
    note_beside(folder, EXPECTED)


def read_expected(folder: Path) -> Expected | None:
    """The expectations beside artifacts, None if there are none; UserError if the file is damaged."""
    path = folder / EXPECTED
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = content["texts"]
        vectors_ND = np.array([row["vector"] for row in rows], np.float32)
        if content["version"] != VERSION or vectors_ND.ndim != 2 or vectors_ND.shape[1] != content["dim"]:
            raise ValueError(f"version {content['version']}, vectors {list(vectors_ND.shape)}")
        return Expected(
            languages=[str(row["language"]) for row in rows],
            texts=[str(row["text"]) for row in rows],
            ids=[list(row["ids"]) for row in rows],
            vectors_ND=vectors_ND,
        )
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UserError(f"{path} is damaged ({error!r}); export the model again.") from error


def held_to(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An artifact's format and the least cosines that it was held to when written (they may have been loosened)."""
    limits, name = entry.get("limits") or {}, str(entry.get("format", "fp32"))
    usual = LIMITS.get(name, LIMITS["fp32"])
    return {
        "format": name,
        "worst_cosine": limits.get("worst_cosine", usual.worst_cosine),
        "mean_cosine": limits.get("language_cosine", usual.language_cosine),
    }


def _tolerances() -> dict[str, dict[str, float]]:
    held = {name: held_to({"format": name}) for name in LIMITS}
    return {name: {key: value for key, value in row.items() if key != "format"} for name, row in held.items()}


def _rounded(vector_D: Sequence[float]) -> list[float]:
    return [round(float(value), DECIMALS) for value in vector_D]


def _line(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False)
