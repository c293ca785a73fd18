"""Unigram vocabularies in which frequent words are pieces: what the trainer of `tokenizers` leaves out is put back.

That trainer takes its candidates from strings that repeat among the *distinct* words of a text. A word that is part of
no other word is therefore never a candidate, however often it occurs: of the 300 most frequent Vietnamese words 17 %
became pieces, of the Russian ones 52 %, and "they" was cut in two. Here every repeated word is a candidate beside the
trainer's pieces, and the likelihood of the text decides among all of them (Kudo 2018, section 3.2, with the best
segmentation in place of the expectation over all).
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models

from compact_labse.progress import say

REPEATED = 3  # occurrences that make a word a candidate
KEEP = 0.75  # of the pieces in a round of pruning
CHUNK = 50_000
FLOOR = 0.1  # occurrences that a character is taken to have, which keeps its piece possible


def with_whole_words(tokenizer: Tokenizer, texts: Iterable[str], size: int, *, longest: int, special: int) -> Tokenizer:
    """The Unigram tokenizer with repeated words of up to `longest` characters added and pruned back to `size` pieces.

    `texts` are normalised. Single characters always stay, and so do the first `special` pieces.
    """
    content: dict[str, Any] = json.loads(tokenizer.to_str())
    pieces = [tuple(item) for item in content["model"]["vocab"]]
    scores: dict[str, float] = dict(pieces[special:])
    words = _count(tokenizer, texts)
    total = words.total()
    known = {piece for piece in scores if len(piece) == 1}
    for word, count in words.items():
        if count >= REPEATED and 1 < len(word) <= longest and word not in scores and known.issuperset(word):
            scores[word] = math.log(count / total)
    say(f"vocabulary: {len(scores):,} candidates for {size:,} pieces")
    wanted = size - special
    while True:
        counts = _uses(pieces[:special], scores, words)
        scores = _likely(counts)
        if len(scores) <= wanted:
            break
        scores = _pruned(scores, counts, max(wanted, int(KEEP * len(scores))))
    content["model"]["vocab"] = [*pieces[:special], *_ordered(scores)]
    return Tokenizer.from_str(json.dumps(content))


def best_cut(piece: str, known: dict[str, tuple[float, int]]) -> list[int]:
    """The most probable segmentation of `piece` into pieces other than itself, by number; empty if there is none.

    `known` holds each piece's log-probability and number.
    """
    size = len(piece)
    best: list[tuple[float, int, int]] = [(0.0, 0, -1)] + [(-math.inf, 0, -1)] * size
    for end in range(1, size + 1):
        for start in range(end):
            if end - start == size:
                continue
            score, number = known.get(piece[start:end], (-math.inf, -1))
            if best[start][0] + score > best[end][0]:
                best[end] = (best[start][0] + score, start, number)
    if best[size][2] < 0:
        return []
    parts, end = [], size
    while end:
        _, start, number = best[end]
        parts.append(number)
        end = start
    return parts[::-1]


def _count(tokenizer: Tokenizer, texts: Iterable[str]) -> Counter[str]:
    """How often each word occurs, words as the tokenizer separates them."""
    words: Counter[str] = Counter()
    for text in texts:
        words.update(word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text))
    return words


def _uses(special: Sequence[tuple[str, float]], scores: dict[str, float], words: Counter[str]) -> dict[str, float]:
    """How often each piece is used when every word is cut in its most probable way."""
    pieces = [*special, *_ordered(scores)]
    model = Tokenizer(models.Unigram(pieces, 1, False))
    texts, counts = list(words), np.array(list(words.values()), dtype=np.float64)
    used_V = np.zeros(len(pieces))
    for start in range(0, len(texts), CHUNK):
        cut = model.encode_batch_fast(texts[start : start + CHUNK], add_special_tokens=False)
        ids = np.concatenate([np.array(encoding.ids, np.int64) for encoding in cut])
        lengths = [len(encoding.ids) for encoding in cut]
        used_V += np.bincount(ids, np.repeat(counts[start : start + CHUNK], lengths), minlength=len(pieces))
    return {piece: float(used_V[number]) for number, (piece, _) in enumerate(pieces) if number >= len(special)}


def _likely(counts: dict[str, float]) -> dict[str, float]:
    """Log-probabilities of the pieces that are used, and of all single characters."""
    total = sum(counts.values()) or 1.0
    return {p: math.log(max(count, FLOOR) / total) for p, count in counts.items() if count > 0 or len(p) == 1}


def _pruned(scores: dict[str, float], counts: dict[str, float], size: int) -> dict[str, float]:
    """The `size` pieces without which the text would become least likely; single characters first of all."""
    pieces = list(scores)
    known = {piece: (scores[piece], number) for number, piece in enumerate(pieces)}
    losses = []
    for piece in pieces:
        parts = [] if len(piece) == 1 else best_cut(piece, known)
        other = sum(scores[pieces[part]] for part in parts) if parts else -math.inf
        losses.append(counts[piece] * (scores[piece] - other) if parts else math.inf)
    order = sorted(range(len(pieces)), key=lambda number: (-losses[number], -scores[pieces[number]], pieces[number]))
    return {pieces[number]: scores[pieces[number]] for number in order[:size]}


def _ordered(scores: dict[str, float]) -> list[tuple[str, float]]:
    """Pieces by falling probability, and by name where that is equal, so that the same text gives the same file."""
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))
