"""The likeliest segmentation of many words at once, as the Unigram model of `tokenizers` finds it, bit by bit.

That library keeps every beginning of every piece in hash maps: 130 MB for 100,000 pieces. Here pieces are 64-bit hashes
in one sorted array, all substrings of all words are looked up together, and the search for the best path (Viterbi; Kudo
2018, "Subword Regularization", section 3.1) advances in all words at once. The sums are the same float64 in the same
order, so that equally likely segmentations are told apart by the same rounding.

Shapes: N characters of all words with one separator after each, M pieces found in them, P pieces known, W words.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np

SEPARATOR = 0x110000  # no character has this code, so no piece that is known holds it
BASE = np.uint64(0x9E3779B97F4A7C15)  # odd: its powers never vanish modulo 2^64
BLANKS = 3  # bits: a slot in eight holds a piece, and most lookups of what is no piece end at an empty slot
FEW = 400  # characters; fewer are cut faster without numpy
UNKNOWN_PENALTY = 10.0  # below the least likely piece


class Table:
    """The pieces as arrays in the order of their hashes."""

    def __init__(self, texts: Sequence[str], scores: Sequence[float], longest: int) -> None:
        lengths_P = np.fromiter(map(len, texts), np.int64, len(texts))
        starts_P = np.cumsum(lengths_P) - lengths_P
        codes_N = _codes("".join(texts))
        place_N = np.arange(len(codes_N)) - np.repeat(starts_P, lengths_P)
        hashes_P = np.add.reduceat(codes_N * powers(longest)[place_N], starts_P)
        order_P = np.argsort(hashes_P)
        self.hashes_P, self.numbers_P = hashes_P[order_P], order_P.astype(np.int32)
        self.scores_P = np.array(scores, np.float64)[order_P]
        bits = len(texts).bit_length() + BLANKS
        self.shift = np.uint64(64 - bits)
        counts_S = np.bincount((self.hashes_P >> self.shift).astype(np.int64), minlength=1 << bits)
        self.first_S = np.concatenate([[0], np.cumsum(counts_S)]).astype(np.int32)

    def places(self, hashes: np.ndarray) -> np.ndarray:
        """Where in the arrays the piece with each hash stands, -1 for none."""
        slots = hashes >> self.shift
        at, end = self.first_S[slots], self.first_S[slots + np.uint64(1)]
        found = np.full(len(hashes), -1, np.int64)
        rows = np.flatnonzero(at < end)
        while len(rows):
            same = self.hashes_P[at[rows]] == hashes[rows]
            found[rows[same]] = at[rows[same]]
            at[rows] += 1
            rows = rows[~same & (at[rows] < end[rows])]
        return found


class Pieces:
    """Pieces with a score (log-probability) each, their place being their id; ValueError for one that comes twice."""

    def __init__(self, texts: Sequence[str], scores: Sequence[float], unk_id: int) -> None:
        self.unk_id, self.unknown = unk_id, min(scores) - UNKNOWN_PENALTY
        self.numbers, self.scores = dict(zip(texts, range(len(texts)), strict=True)), scores
        if len(self.numbers) < len(texts):
            raise ValueError("a piece stands twice in the vocabulary")
        self.longest = max(map(len, texts))

    @cached_property
    def _table(self) -> Table:
        return Table(list(self.numbers), self.scores, self.longest)

    def cut(self, words: Sequence[str]) -> list[tuple[int, ...]]:
        """The ids of each word's likeliest segmentation; neighbouring unknown characters are one id."""
        if sum(map(len, words)) < FEW:
            return [self._cut_one(word) for word in words]
        return self._cut_many(words)

    def _cut_one(self, word: str) -> tuple[int, ...]:
        """One word in Python, which takes less time than calling numpy does."""
        numbers, scores, longest, length = self.numbers, self.scores, self.longest, len(word)
        best, last = [0.0] + [float("-inf")] * length, [(0, 0)] * (length + 1)
        for start in range(length):
            here = best[start]
            for stop in range(start + 1, min(length, start + longest) + 1):
                number = numbers.get(word[start:stop])
                if number is None and stop > start + 1:
                    continue
                score = here + (self.unknown if number is None else scores[number])
                if score > best[stop]:
                    best[stop], last[stop] = score, (start, self.unk_id if number is None else number)
        ids: list[int] = []
        while length:
            length, number = last[length]
            if not (number == self.unk_id and ids and ids[-1] == number):
                ids.append(number)
        return tuple(reversed(ids))

    def _cut_many(self, words: Sequence[str]) -> list[tuple[int, ...]]:
        lengths_W = np.array([len(word) for word in words])
        starts_W = np.cumsum(lengths_W + 1) - lengths_W - 1
        size = int(lengths_W.sum()) + len(words)
        codes_N = np.full(size, SEPARATOR, np.uint64)
        inside_N = np.ones(size, bool)
        inside_N[starts_W + lengths_W] = False
        codes_N[inside_N] = _codes("".join(words))
        place_N = np.arange(size) - np.repeat(starts_W, lengths_W + 1)

        start_M, stop_M, score_M, number_M = self._matches(codes_N, inside_N)
        order_M = np.argsort(place_N[start_M], kind="stable")  # by how far into its word a piece starts
        start_M, stop_M, score_M, number_M = (part[order_M] for part in (start_M, stop_M, score_M, number_M))
        bounds = np.searchsorted(place_N[start_M], np.arange(int(lengths_W.max(initial=0)) + 1))

        best_N, from_N, number_N = np.full(size, -np.inf), np.zeros(size, np.int64), np.zeros(size, np.int32)
        best_N[starts_W] = 0.0
        for low, high in pairwise(bounds):  # pieces that start equally far end apart
            start, stop = start_M[low:high], stop_M[low:high]
            sums = best_N[start] + score_M[low:high]
            better = sums > best_N[stop]
            stop = stop[better]
            best_N[stop], from_N[stop], number_N[stop] = sums[better], start[better], number_M[low:high][better]
        return self._paths(starts_W, starts_W + lengths_W, from_N, number_N)

    def _matches(self, codes_N: np.ndarray, inside_N: np.ndarray) -> list[np.ndarray]:
        """Start, end, score and id of every piece in the text, unknown single characters among them."""
        table, power_L, hash_N = self._table, powers(self.longest), np.zeros_like(codes_N)
        starts = np.flatnonzero(inside_N)
        hits = []
        for length in range(1, self.longest + 1):
            starts = starts[starts + length <= len(codes_N)]
            starts = starts[inside_N[starts + length - 1]]
            if not len(starts):
                break
            hash_N[starts] += codes_N[starts + length - 1] * power_L[length - 1]
            at = table.places(hash_N[starts])
            known = at >= 0
            score, number = table.scores_P[at[known]], table.numbers_P[at[known]]
            hits.append((starts[known], starts[known] + length, score, number))
            if length == 1:
                rest = starts[~known]
                hits.append((rest, rest + 1, np.full(len(rest), self.unknown), np.full(len(rest), self.unk_id)))
        return [np.concatenate(parts) for parts in zip(*hits, strict=True)]

    def _paths(self, starts_W: np.ndarray, stops_W: np.ndarray, from_N: np.ndarray, number_N: np.ndarray) -> list:
        """The ids along the best path to the end of each word."""
        on_N = np.zeros(len(from_N), bool)
        here, start = stops_W[stops_W > starts_W], starts_W[stops_W > starts_W]
        while len(here):
            on_N[here] = True
            here = from_N[here]
            here, start = here[here > start], start[here > start]
        ends = np.flatnonzero(on_N)
        ids, first = number_N[ends], np.searchsorted(ends, starts_W, side="right")  # a word's own start is no end
        unknown = ids == self.unk_id
        again = np.flatnonzero(unknown[1:] & unknown[:-1]) + 1
        kept = np.ones(len(ids), bool)
        kept[again[from_N[ends[again]] == ends[again - 1]]] = False  # not the last of the word before
        bounds = np.concatenate([[0], np.cumsum(kept)])[np.append(first, len(ids))].tolist()
        listed = ids[kept].tolist()
        return [tuple(listed[low:high]) for low, high in pairwise(bounds)]


def _codes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)


def powers(count: int) -> np.ndarray:
    """The first powers of the base, modulo 2^64."""
    return np.cumprod(np.full(count, BASE), dtype=np.uint64)
