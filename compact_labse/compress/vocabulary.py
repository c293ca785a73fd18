"""Choose the pieces that a trimmed vocabulary keeps, and write the tokenizer that has only these.

Ids keep their order. Unigram scores stay as they are: the best cut is the one with the largest sum, so that texts
without a dropped piece are cut as before; log-probabilities made to add up to one again would favour other cuts, as a
cut into more pieces would gain more. Only the penalty of unknown characters depends on the vocabulary, through its
least likely piece, which therefore stays.

Shapes: V pieces, K pieces kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from compact_labse.compress.coverage import Coverage
from compact_labse.compress.merges import Merges
from compact_labse.compress.pieces import Pieces
from compact_labse.corpus.records import UNKNOWN
from compact_labse.corpus.scripts import RANGES
from compact_labse.errors import UserError

LARGE_SCRIPTS = ("Han", "Hangul", "Kana")  # no sample shows all of their letters


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The ids kept `[K]`, ascending; how many of them are there for which reason; those that no count decided."""

    kept_K: np.ndarray
    reasons: dict[str, int]
    certain: frozenset[int]


def choose(
    pieces: Pieces,
    tokenizer: Tokenizer,
    coverage: Mapping[str, Coverage],
    named: set[int],
    max_tokens: int | None,
) -> Choice:
    """The pieces that text uses, most used first, up to `max_tokens`; before them all that may not go.

    Languages with no text but the embedded sample also keep every piece in their letters, as far as there is room.
    """
    kept = pieces.fixed(named)
    reasons = {"special": len(kept)}
    kept |= pieces.characters() | pieces.irreplaceable(tokenizer)
    reasons["characters"] = len(kept) - reasons["special"]
    limit = len(pieces.by_id) if max_tokens is None else max_tokens
    if len(kept) > limit:
        raise UserError(
            f"--max-tokens is {limit:,}, but special tokens and single characters, which every script falls back on, "
            f"are {len(kept):,}: allow more"
        )
    merges = Merges(pieces.model) if pieces.kind == "BPE" else None
    if merges:
        before = len(kept)
        _add(kept, [n for n in sorted(kept) if pieces.by_id[n]], pieces, merges, len(pieces.by_id))
        reasons["characters"] += len(kept) - before
    in_letters = list(_in_letters(pieces, coverage))
    certain = kept | set(in_letters)
    for reason, wanted in (("used", _used(coverage)), ("letters", in_letters)):
        before = len(kept)
        _add(kept, wanted, pieces, merges, limit)
        reasons[reason] = len(kept) - before
    return Choice(kept_K=np.array(sorted(kept), dtype=np.int64), reasons=reasons, certain=frozenset(certain & kept))


def trimmed(pieces: Pieces, kept_K: np.ndarray) -> dict[str, Any]:
    """The content of `tokenizer.json` with only the pieces kept, renumbered in their order."""
    new = {int(old): place for place, old in enumerate(kept_K)}
    content: dict[str, Any] = json.loads(json.dumps({k: v for k, v in pieces.content.items() if k != "model"}))
    model = {key: value for key, value in pieces.model.items() if key not in ("vocab", "merges")}
    if pieces.kind == "Unigram":
        model["vocab"] = [entry for place, entry in enumerate(pieces.model["vocab"]) if place in new]
        if model.get("unk_id") is not None:
            model["unk_id"] = new[model["unk_id"]]
    else:
        vocabulary = sorted(pieces.model["vocab"].items(), key=lambda item: item[1])
        model["vocab"] = {piece: new[number] for piece, number in vocabulary if number in new}
    if pieces.kind == "BPE":
        model["merges"] = [list(pair) for pair in Merges(pieces.model).kept(set(model["vocab"]))]
    for token in content.get("added_tokens") or ():
        token["id"] = new[token["id"]]
    if content.get("padding"):
        content["padding"]["pad_id"] = new.get(content["padding"]["pad_id"], 0)
    _renumber(content.get("post_processor"), new)
    content["model"] = model
    return content


def _used(coverage: Mapping[str, Coverage]) -> list[int]:
    """Ids by their share of the tokens, every language counting alike; those that no text has are left out."""
    share_V = np.sum([c.counts_V / max(1, c.tokens) for c in coverage.values()], axis=0)
    order_V = np.lexsort((np.arange(len(share_V)), -share_V))
    return [int(number) for number in order_V[: np.count_nonzero(share_V)]]


def _in_letters(pieces: Pieces, coverage: Mapping[str, Coverage]) -> Iterable[int]:
    """Ids of pieces in the letters of one language that has only the sample, in the vocabulary's order."""
    alphabets = [_alphabet(pieces, c) for c in coverage.values() if c.alone and c.language != UNKNOWN]
    if not alphabets:
        return []
    spelled = ((number, pieces.letters(piece)) for number, piece in enumerate(pieces.by_id))
    return [n for n, text in spelled if text and any(letters.issuperset(text) for letters in alphabets)]


def _alphabet(pieces: Pieces, coverage: Coverage) -> set[str]:
    used = (pieces.letters(pieces.by_id[number]) or "" for number in np.flatnonzero(coverage.counts_V))
    letters = {one for text in used for one in text}
    for script in LARGE_SCRIPTS:
        whole = {chr(point) for first, last in RANGES[script] for point in range(first, last + 1)}
        if letters & whole:
            letters |= whole
    return letters | {one.swapcase() for one in letters if len(one.swapcase()) == 1}


def _add(kept: set[int], wanted: Iterable[int], pieces: Pieces, merges: Merges | None, limit: int) -> None:
    """Add ids while there is room; of a BPE each with all pieces on the way to it, or not at all."""
    for number in wanted:
        if len(kept) >= limit:
            return
        if merges is None:
            kept.add(number)
            continue
        needed = {pieces.ids[piece] for piece in merges.way_to(pieces.by_id[number]) if piece in pieces.ids} - kept
        if len(kept) + len(needed) <= limit:
            kept |= needed


def _renumber(processor: dict[str, Any] | None, new: Mapping[int, int]) -> None:
    """Give the special tokens of a post-processor their new ids, in place."""
    if not processor:
        return
    for inner in processor.get("processors", []):
        _renumber(inner, new)
    for token in (processor.get("special_tokens") or {}).values():
        token["ids"] = [new[number] for number in token["ids"]]
    for name in ("sep", "cls"):
        if isinstance(processor.get(name), list):
            processor[name][1] = new[processor[name][1]]
