"""Which tokens a masked language model has to guess, and what it sees instead (Devlin et al. 2019, section 3.1).

Texts are ragged: R rows of ids end to end, K tokens in all; M of them are chosen. V pieces, P of them no special token.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

from compact_labse.errors import UserError

MASKS = ("[MASK]", "<mask>", "<MASK>")
LONGEST_WORD = 8  # pieces; a "word" of more is a sentence in a script without spaces


@dataclass(frozen=True, kw_only=True)
class MaskingConfig:
    """What is hidden from a masked language model.

    Args:
        share: Share of a text's tokens, special ones not counted, that are to be guessed; at least one.
        masked: Share of these that are seen as the mask token.
        swapped: Share of these that are seen as another token; the rest stay as they are.
        whole_words: Hide all pieces of a word together (words as `##` and `▁` tell them); single pieces of a text in
            which every word has more than `most`.
        most: Most tokens of a text that are hidden; None for no limit.
    """

    share: float = 0.15
    masked: float = 0.8
    swapped: float = 0.1
    whole_words: bool = False
    most: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise UserError(f"masking.share is a share above 0 and below 1, got {self.share}")
        if min(self.masked, self.swapped) < 0 or self.masked + self.swapped > 1:
            raise UserError(
                f"masking.masked and masking.swapped are shares, together at most 1; got {self.masked}, {self.swapped}"
            )
        if self.most is not None and self.most < 1:
            raise UserError(f"masking.most must be at least 1, got {self.most}")


class Pieces(NamedTuple):
    """What masking knows of a vocabulary: `special_V` are never masked nor drawn, `joins_V` go on with a word."""

    mask_id: int
    plain_P: np.ndarray
    special_V: np.ndarray
    joins_V: np.ndarray


class Masked(NamedTuple):
    """Ids `[K]` as the model sees them, and the places `[M]` in them, ascending, whose labels `[M]` it has to guess."""

    ids_K: np.ndarray
    places_M: np.ndarray
    labels_M: np.ndarray


def pieces_of(tokenizer: Tokenizer) -> Pieces:
    """The pieces of a tokenizer; UserError if it has no mask token, or nothing else."""
    mask_id = next((number for name in MASKS if (number := tokenizer.token_to_id(name)) is not None), None)
    if mask_id is None:
        raise UserError(f"the vocabulary has no mask token ({', '.join(MASKS)}), so that nothing can be masked")
    size = tokenizer.get_vocab_size(with_added_tokens=True)
    texts = [tokenizer.id_to_token(number) or "" for number in range(size)]
    model = json.loads(tokenizer.to_str())["model"]
    special_V = np.zeros(size, bool)
    special_V[[number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special]] = True
    unknown = model.get("unk_id") if "unk_id" in model else tokenizer.token_to_id(model.get("unk_token") or "")
    special_V[[mask_id, *([] if unknown is None else [unknown])]] = True
    if model["type"] == "WordPiece":
        joins_V = np.array([text.startswith("##") for text in texts])
    else:
        joins_V = np.array([not text.startswith(("▁", "Ġ")) for text in texts])
    if special_V.all():
        raise UserError("the vocabulary has only special tokens")
    return Pieces(mask_id, np.flatnonzero(~special_V), special_V, joins_V & ~special_V)


def mask(
    ids_K: np.ndarray, offsets_R1: np.ndarray, pieces: Pieces, config: MaskingConfig, random: np.random.Generator
) -> Masked:
    """Hide some tokens of each row; a pure function of its arguments and the state of `random`."""
    places_M = chosen(ids_K, offsets_R1, pieces, config, random)
    labels_M, dice_M = ids_K[places_M], random.random(len(places_M))
    seen_K = ids_K.copy()
    seen_K[places_M[dice_M < config.masked]] = pieces.mask_id
    swapped = places_M[(dice_M >= config.masked) & (dice_M < config.masked + config.swapped)]
    seen_K[swapped] = random.choice(pieces.plain_P, len(swapped))
    return Masked(seen_K, places_M, labels_M)


def chosen(
    ids_K: np.ndarray, offsets_R1: np.ndarray, pieces: Pieces, config: MaskingConfig, random: np.random.Generator
) -> np.ndarray:
    """The places `[M]` of the tokens to hide, ascending: of a row with n plain tokens `max(1, share * n)` on average.

    Units (tokens or words) of a row are taken in random order until there are enough; the one that would be too much is
    taken with the probability that makes the expected number exact. Of a row of which none would be taken it is the
    smallest, which makes the expected number larger only where that one alone is.
    """
    row_K = np.repeat(np.arange(len(offsets_R1) - 1), np.diff(offsets_R1))
    free_K = ~pieces.special_V[ids_K]
    unit_K = _units(ids_K, row_K, free_K, pieces, config)
    first_U = np.unique(unit_K, return_index=True)[1]
    first_U = first_U[free_K[first_U]]
    size_U, row_U = np.bincount(unit_K)[unit_K[first_U]], row_K[first_U]
    order_U = np.lexsort((random.random(len(first_U)), row_U))
    first_U, size_U, row_U = first_U[order_U], size_U[order_U], row_U[order_U]
    plain_R = np.bincount(row_K[free_K], minlength=len(offsets_R1) - 1)
    wanted_R = np.maximum(1.0, config.share * plain_R)
    if config.most is not None:
        wanted_R = np.minimum(wanted_R, config.most)
    before_U = np.cumsum(size_U) - size_U - (np.cumsum(plain_R) - plain_R)[row_U]
    row_S, smallest_S = _smallest(size_U, row_U)
    least_U = size_U[smallest_S][np.searchsorted(row_S, row_U)]
    chance_U = (wanted_R[row_U] - before_U) / size_U
    # Without the first unit, the smallest is hidden in its place: its tokens count already.
    large_U = (before_U == 0) & (size_U > least_U)
    chance_U[large_U] = (wanted_R[row_U] - least_U)[large_U] / (size_U - least_U)[large_U]
    taken_U = random.random(len(first_U)) < chance_U
    if config.most is not None:
        taken_U &= before_U + size_U <= config.most
    taken_U[smallest_S[~np.isin(row_S, row_U[taken_U])]] = True
    return np.flatnonzero(np.isin(unit_K, unit_K[first_U[taken_U]]))


def _smallest(size_U: np.ndarray, row_U: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows that have units, ascending, and of each the place of its first unit of the fewest tokens."""
    order_U = np.lexsort((size_U, row_U))
    row_S, first_S = np.unique(row_U[order_U], return_index=True)
    return row_S, order_U[first_S]


def _units(
    ids_K: np.ndarray, row_K: np.ndarray, free_K: np.ndarray, pieces: Pieces, config: MaskingConfig
) -> np.ndarray:
    """The number of the unit that each token belongs to, ascending; special tokens and rows end a word."""
    if not config.whole_words or not len(ids_K):
        return np.arange(len(ids_K))
    starts_K = ~pieces.joins_V[ids_K]
    starts_K[1:] |= ~free_K[:-1] | (row_K[1:] != row_K[:-1])
    starts_K[0] = True
    unit_K = np.cumsum(starts_K) - 1
    size_K = np.bincount(unit_K)[unit_K]
    starts_K |= size_K > LONGEST_WORD
    if config.most is not None:  # where no word fits
        fits_K = free_K & ((size_K <= config.most) | (size_K > LONGEST_WORD))
        starts_K |= ~np.isin(row_K, row_K[fits_K])
    return np.cumsum(starts_K) - 1
