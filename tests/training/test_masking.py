"""Masking: the shares of what is hidden and how, by properties over random texts; words; what may never be touched."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from compact_labse.errors import UserError
from compact_labse.training.masking import LONGEST_WORD, MaskingConfig, chosen, mask, pieces_of
from tests.tiny_models import unigram, wordpiece

TOKENIZER = wordpiece()
PIECES = pieces_of(TOKENIZER)


def rows(lengths: list[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows `[CLS] ... [SEP]` of so many random pieces."""
    random = np.random.default_rng(seed)
    texts = [[2, *random.choice(PIECES.plain_P, length), 3] for length in lengths]
    return np.concatenate([np.array(text) for text in texts]), np.cumsum([0, *map(len, texts)])


@settings(deadline=None, max_examples=40)
@given(
    lengths=st.lists(st.integers(0, 60), min_size=1, max_size=30),
    share=st.floats(0.05, 0.6),
    whole=st.booleans(),
    most=st.none() | st.integers(1, 6),
    seed=st.integers(0, 1000),
)
def test_what_holds_for_any_text(lengths, share, whole, most, seed):
    ids_K, offsets = rows(lengths, seed)
    config = MaskingConfig(share=share, whole_words=whole, most=most)
    found = mask(ids_K, offsets, PIECES, config, np.random.default_rng(seed))
    again = mask(ids_K, offsets, PIECES, config, np.random.default_rng(seed))
    assert all(np.array_equal(one, other) for one, other in zip(found, again, strict=True)), "a pure function"
    assert np.array_equal(found.labels_M, ids_K[found.places_M])
    assert not PIECES.special_V[found.labels_M].any(), "special tokens are never masked"
    assert np.all(np.diff(found.places_M) > 0)
    rest = np.setdiff1d(np.arange(len(ids_K)), found.places_M)
    assert np.array_equal(found.ids_K[rest], ids_K[rest])
    assert not (PIECES.special_V[found.ids_K[found.places_M]] & (found.ids_K[found.places_M] != PIECES.mask_id)).any()
    counts_R = np.bincount(np.searchsorted(offsets, found.places_M, "right") - 1, minlength=len(lengths))
    for count, length in zip(counts_R, lengths, strict=True):
        if most is not None:
            assert count <= most
        assert (count > 0) == (length > 0), "every text with a plain token has one to guess"
        if not whole:
            wanted = min(max(1.0, share * length), np.inf if most is None else most)
            assert (np.floor(wanted) <= count <= np.ceil(wanted)) if length else count == 0


@pytest.mark.parametrize("whole", [False, True])
def test_fifteen_of_hundred_are_hidden_and_of_these_eight_one_and_one_of_ten(whole):
    lengths = [40] * 4000
    ids_K, offsets = rows(lengths)
    found = mask(ids_K, offsets, PIECES, MaskingConfig(whole_words=whole), np.random.default_rng(1))
    assert len(found.places_M) / sum(lengths) == pytest.approx(0.15, abs=0.002)
    seen_M = found.ids_K[found.places_M]
    masked, same = (seen_M == PIECES.mask_id).mean(), (seen_M == found.labels_M).mean()
    assert masked == pytest.approx(0.8, abs=0.01)
    assert same == pytest.approx(0.1 + 0.1 / len(PIECES.plain_P), abs=0.01)
    swapped_M = seen_M[(seen_M != PIECES.mask_id) & (seen_M != found.labels_M)]
    assert len(np.unique(swapped_M)) > 0.9 * len(PIECES.plain_P), "drawn from the whole vocabulary"
    places_M = found.places_M % 42
    assert np.bincount(places_M, minlength=42)[1:41].std() / np.bincount(places_M).mean() < 0.1, "everywhere alike"


def test_other_shares_are_taken_as_given():
    ids_K, offsets = rows([50] * 2000)
    config = MaskingConfig(share=0.4, masked=0.5, swapped=0.0)
    found = mask(ids_K, offsets, PIECES, config, np.random.default_rng(1))
    assert len(found.places_M) == 2000 * 20
    assert (found.ids_K[found.places_M] == found.labels_M).mean() == pytest.approx(0.5, abs=0.01)


def words_of(ids: list[int], pieces) -> list[list[int]]:
    """The slow way to cut into words: places, special tokens left out."""
    found: list[list[int]] = []
    for place, number in enumerate(ids):
        if pieces.special_V[number]:
            continue
        if pieces.joins_V[number] and place and not pieces.special_V[ids[place - 1]]:
            found[-1].append(place)
        else:
            found.append([place])
    return found


@pytest.mark.parametrize("tokenizer", [wordpiece(), unigram()])
def test_a_word_is_hidden_whole_or_not_at_all(tokenizer):
    pieces = pieces_of(tokenizer)
    texts = ["The train to the coast leaves sometimes", "Le musée sera fermé", "Please restarted serverx"]
    encoded = [tokenizer.encode(text).ids for text in texts * 200]
    ids_K, offsets = np.concatenate([np.array(ids) for ids in encoded]), np.cumsum([0, *map(len, encoded)])
    config = MaskingConfig(whole_words=True, share=0.3)
    places = set(chosen(ids_K, offsets, pieces, config, np.random.default_rng(0)).tolist())
    several = 0
    for start, ids in zip(offsets, encoded, strict=False):
        for word in words_of(ids, pieces):
            hidden = [start + place in places for place in word]
            if len(word) <= LONGEST_WORD:
                assert len(set(hidden)) == 1
                several += len(word) > 1 and all(hidden)
    assert several > 20, "words of several pieces were hidden"


def of_words(*sizes: int) -> list[int]:
    """A row `[CLS] ... [SEP]` of words of so many pieces."""
    start, join = np.flatnonzero(~PIECES.special_V & ~PIECES.joins_V)[0], np.flatnonzero(PIECES.joins_V)[0]
    return [2, *(piece for size in sizes for piece in [start] + [join] * (size - 1)), 3]


@pytest.mark.parametrize(
    ("sizes", "most", "counts"),
    [
        ((5,), None, {5}),  # one word, which is more than the share
        ((5,), 2, {1}),  # no word fits: single pieces
        ((5, 6, 4), 2, {2}),
        ((5, 1, 5), 2, {1}),  # one word fits
        ((9,), 2, {1, 2}),  # a sentence without spaces
        ((2, 3), None, {2}),
    ],
)
def test_a_row_of_long_words_has_something_to_guess(sizes, most, counts):
    ids = of_words(*sizes)
    config = MaskingConfig(whole_words=True, most=most)
    ids_K, offsets = np.array(ids * 300), np.arange(301) * len(ids)
    found = chosen(ids_K, offsets, PIECES, config, np.random.default_rng(0))
    assert set(np.bincount(found // len(ids), minlength=300)) == counts


@pytest.mark.parametrize("sizes", [(5, 1, 3, 1, 2), (1, 1, 1, 1, 8), (6, 5, 1, 1, 1, 1), (4, 8, 2, 2, 6, 7)])
def test_whole_words_keep_the_share_where_the_smallest_word_is_within_it(sizes):
    ids = of_words(*sizes)
    config, draws = MaskingConfig(whole_words=True, share=0.15), 20_000
    ids_K, offsets = np.array(ids * draws), np.arange(draws + 1) * len(ids)
    found = chosen(ids_K, offsets, PIECES, config, np.random.default_rng(0))
    assert len(found) / draws == pytest.approx(0.15 * sum(sizes), rel=0.02)


def test_a_sentence_without_spaces_is_no_word():
    tokenizer = unigram()
    pieces = pieces_of(tokenizer)
    ids = tokenizer.encode("駅前の新しい店でパンを買いました。").ids
    ids_K, offsets = np.array(ids * 300), np.arange(301) * len(ids)
    found = chosen(ids_K, offsets, pieces, MaskingConfig(whole_words=True), np.random.default_rng(0))
    assert len(np.unique(found // len(ids))) == 300, "each row has some, none has all"
    assert np.bincount(found // len(ids)).max() < len(ids) // 2


def test_no_mask_token_is_a_user_error():
    with pytest.raises(UserError, match="no mask token"):
        pieces_of(Tokenizer(models.WordPiece({"a": 0, "[UNK]": 1}, unk_token="[UNK]")))


@pytest.mark.parametrize("wrong", [{"share": 0}, {"share": 1.0}, {"masked": 0.9, "swapped": 0.2}, {"most": 0}])
def test_shares_that_cannot_be_are_user_errors(wrong):
    with pytest.raises(UserError, match="masking"):
        MaskingConfig(**wrong)
