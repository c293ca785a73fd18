"""Which pieces a BPE merges on the way to a piece: without them it would never be reached.

Cutting a text applies the first merge of the list that fits, again and again. All merges inside a token that the text
ends up with happen among its own characters, in the order in which the token alone would be merged. So a text's cut
stays as it is when every piece on the way to its tokens stays, and the merges that stay keep their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any


class Merges:
    """The merges of a BPE, and the pieces on the way to a piece."""

    def __init__(self, model: dict[str, Any]) -> None:
        self.prefix: str = model.get("continuing_subword_prefix") or ""
        self.suffix: str = model.get("end_of_word_suffix") or ""
        self.pairs = [_pair(merge) for merge in model.get("merges", [])]
        self.rank = {pair: place for place, pair in enumerate(self.pairs)}
        self._known: dict[str, frozenset[str]] = {}

    def way_to(self, piece: str) -> frozenset[str]:
        """Every piece that merging `piece` passes through, itself included."""
        if piece not in self._known:
            self._known[piece] = frozenset({piece, *self._merged(piece)})
        return self._known[piece]

    def joined(self, pair: tuple[str, str]) -> str:
        """What a merge makes."""
        left, right = pair
        return left + (right[len(self.prefix) :] if self.prefix and right.startswith(self.prefix) else right)

    def kept(self, pieces: set[str]) -> list[tuple[str, str]]:
        """The merges among `pieces`, in order."""
        return [p for p in self.pairs if p[0] in pieces and p[1] in pieces and self.joined(p) in pieces]

    def _merged(self, piece: str) -> list[str]:
        symbols, seen = self._symbols(piece), []
        while len(symbols) > 1:
            ranks = [self.rank.get(pair, len(self.rank)) for pair in pairwise(symbols)]
            place = ranks.index(min(ranks))
            if ranks[place] == len(self.rank):
                break
            symbols[place : place + 2] = [self.joined((symbols[place], symbols[place + 1]))]
            seen.append(symbols[place])
        return seen

    def _symbols(self, piece: str) -> list[str]:
        inside = bool(self.prefix) and piece.startswith(self.prefix)
        ends = bool(self.suffix) and piece.endswith(self.suffix)
        text = piece[len(self.prefix) * inside : len(piece) - len(self.suffix) * ends]
        symbols = [(self.prefix if inside or place else "") + one for place, one in enumerate(text)]
        if ends and symbols:
            symbols[-1] += self.suffix
        return symbols


def _pair(merge: str | Sequence[str]) -> tuple[str, str]:
    """A merge as files have it: two strings, or one with a space between."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right
