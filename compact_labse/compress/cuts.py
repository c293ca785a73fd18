"""How text is cut before and after trimming: how many tokens changed, how many are unknown, what new text would lose.

Shapes: V pieces, K pieces kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from tokenizers import Encoding, Tokenizer

from compact_labse.compress.coverage import Coverage
from compact_labse.compress.vocabulary import Choice
from compact_labse.errors import GateError

TEXTS_AT_ONCE = 512


@dataclass(frozen=True, kw_only=True)
class Cut:
    """One language. Shares are of the old tokens: of the text measured, and for `new_text` estimated.

    `tokens_before` and `tokens_after` count the same text; `unknown_*` are unknown tokens in it.
    """

    texts: int
    pieces_used: int
    changed: float
    new_text: float
    tokens_before: int
    tokens_after: int
    unknown_before: int
    unknown_after: int


def compare_cuts(
    old: Tokenizer, new: Tokenizer, choice: Choice, coverage: Mapping[str, Coverage], unk_id: int | None
) -> dict[str, Cut]:
    """Cut each language's text with both. GateError if a text is cut otherwise although none of its pieces is gone."""
    _check_renumbered(old, new, choice.kept_K)
    return {language: _of(found, old, new, choice, unk_id) for language, found in coverage.items()}


def _of(coverage: Coverage, old: Tokenizer, new: Tokenizer, choice: Choice, unk_id: int | None) -> Cut:
    place_V = np.full(len(coverage.counts_V), -1, dtype=np.int64)
    place_V[choice.kept_K] = np.arange(len(choice.kept_K))
    unk_after = -1 if unk_id is None else int(place_V[unk_id])
    changed = before = after = unknown_before = unknown_after = 0
    for start in range(0, len(coverage.measured), TEXTS_AT_ONCE):
        texts = coverage.measured[start : start + TEXTS_AT_ONCE]
        cuts = [tokenizer.encode_batch(texts, add_special_tokens=False) for tokenizer in (old, new)]
        for text, first, second in zip(texts, *cuts, strict=True):
            ids = place_V[np.asarray(first.ids, dtype=np.int64)]
            whole = (ids >= 0).all() and unk_id not in first.ids
            if whole and ids.tolist() != second.ids:
                raise GateError(
                    f"{coverage.language}: {text!r:.80} is cut otherwise although all of its pieces stay; "
                    f"this tokenizer cannot be trimmed safely"
                )
            changed += 0 if whole else _changed(first, second, place_V)
            before, after = before + len(first.ids), after + len(second.ids)
            unknown_before += first.ids.count(unk_id) if unk_id is not None else 0
            unknown_after += second.ids.count(unk_after)
    return Cut(
        texts=coverage.texts,
        pieces_used=int(np.count_nonzero(coverage.counts_V)),
        changed=changed / max(1, before),
        new_text=_estimate(coverage, place_V, choice.certain),
        tokens_before=before,
        tokens_after=after,
        unknown_before=unknown_before,
        unknown_after=unknown_after,
    )


def _changed(first: Encoding, second: Encoding, place_V: np.ndarray) -> int:
    """Tokens of the first cut that the second does not have at the same place."""
    there = set(zip(second.offsets, second.ids, strict=True))
    return sum((span, int(place_V[n])) not in there for span, n in zip(first.offsets, first.ids, strict=True))


def _estimate(coverage: Coverage, place_V: np.ndarray, certain: frozenset[int]) -> float:
    """The share of tokens of new text of the same kind whose piece is gone, or would be had it not been seen once.

    Every tenth text stands for new text: its tokens that no other text has say how often new text brings some.
    """
    gone_V = (coverage.held_V > 0) & (coverage.held_V == coverage.counts_V)
    gone_V[list(certain)] = False
    gone_V |= place_V < 0
    return float(coverage.held_V[gone_V].sum() / max(1, coverage.held_V.sum()))


def _check_renumbered(old: Tokenizer, new: Tokenizer, kept_K: np.ndarray) -> None:
    """Every piece must have come along under its new number: a row of the table belongs to it."""
    for place, number in enumerate(kept_K.tolist()):
        if old.id_to_token(number) != new.id_to_token(place):
            raise GateError(
                f"piece {number} {old.id_to_token(number)!r} became {new.id_to_token(place)!r} at {place}; "
                f"this tokenizer cannot be trimmed safely"
            )
