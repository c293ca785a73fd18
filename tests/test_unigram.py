"""Frequent words become pieces; the trainer alone leaves out those that are part of no other word."""

from __future__ import annotations

import itertools
import json
import math

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from compact_labse.unigram import best_cut, with_whole_words
from compact_labse.vocabulary import SPECIALS, VocabularyConfig, train_vocabulary


def tiny(pieces):
    vocab = [(name, 0.0) for name in SPECIALS] + pieces
    tokenizer = Tokenizer(models.Unigram(vocab, 1, False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


def letters(text):
    return [(letter, -3.0) for letter in sorted(set(text.replace(" ", "▁")) | {"▁"})]


def test_the_most_frequent_words_are_single_pieces_even_when_no_other_word_holds_them():
    # "không" is in no other word: the library's trainer has nothing to find it by
    texts = ["tôi không biết", "anh không đi", "không ai nói", "em ấy không ăn"] * 40
    trained = train_vocabulary(texts, VocabularyConfig(size=100))
    assert trained.encode("không", add_special_tokens=False).tokens == ["▁không"]


def test_more_text_per_piece_than_the_trainer_alone_gives():
    texts = ["we know that they know what they said", "what did they say", "say what you know"] * 30
    before = tiny(letters(" ".join(texts)))
    after = with_whole_words(before, texts, 40, longest=16, special=len(SPECIALS))
    used_before, used_after = (sum(len(t.encode(text).ids) for text in texts) for t in (before, after))
    assert used_after < used_before / 3
    assert after.get_vocab_size() <= 40


def test_every_character_keeps_its_piece_and_special_tokens_their_ids():
    texts = ["abc abc abc abd abd abd"] * 5
    after = with_whole_words(tiny(letters("abcd xyz")), texts, 15, longest=16, special=len(SPECIALS))
    vocabulary = after.get_vocab()
    assert {"a", "b", "c", "d", "x", "y", "z", "▁"} <= set(vocabulary)
    assert [after.id_to_token(number) for number in range(len(SPECIALS))] == list(SPECIALS)
    assert 1 not in after.encode("xyz").ids


def test_words_beyond_the_longest_piece_and_rare_words_are_no_pieces():
    texts = ["short verylongword"] * 9 + ["seldom"]
    after = with_whole_words(tiny(letters("short verylongword seldom")), texts, 99, longest=8, special=len(SPECIALS))
    assert "▁short" in after.get_vocab()
    assert not {"▁verylongword", "▁seldom"} & set(after.get_vocab())


def test_the_same_text_gives_the_same_file():
    texts = ["to be or not to be", "be or be not"] * 10
    once, twice = (with_whole_words(tiny(letters(texts[0])), texts, 30, longest=9, special=5) for _ in range(2))
    assert once.to_str() == twice.to_str()
    scores = [score for _, score in json.loads(once.to_str())["model"]["vocab"]][5:]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("word", ["a", "ab", "abc", "abcab", "cabbac"])
def test_the_best_cut_is_the_best_of_all_cuts(word):
    known = {piece: (score, number) for number, (piece, score) in enumerate(
        {"a": -2.0, "b": -2.5, "c": -1.5, "ab": -2.2, "bc": -5.0, "abc": -3.0, "cab": -3.5, "abcab": -1.0}.items()
    )}  # fmt: skip
    cuts = []
    for bars in itertools.product([False, True], repeat=len(word) - 1):
        places = [0, *[i + 1 for i, bar in enumerate(bars) if bar], len(word)]
        parts = [word[start:end] for start, end in itertools.pairwise(places)]
        if len(parts) > 1 and all(part in known for part in parts):
            cuts.append((sum(known[part][0] for part in parts), [known[part][1] for part in parts]))
    expected = max(cuts, default=(-math.inf, []))
    found = best_cut(word, known)
    names = list(known)
    assert math.isclose(sum(known[names[number]][0] for number in found), expected[0] if cuts else 0.0)
