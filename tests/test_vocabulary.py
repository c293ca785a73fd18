"""Vocabularies trained on a few sentences."""

from __future__ import annotations

import json

import pytest

from compact_labse.errors import UserError
from compact_labse.vocabulary import SPECIALS, VocabularyConfig, piece_texts, train_vocabulary

TEXTS = [
    "The train to Berlin leaves at 17:45 from platform 3.",
    "Der Zug nach Berlin fährt um 17:45 Uhr von Gleis 3 ab.",
    "รถไฟไปเบอร์ลินออกจากชานชาลาที่สาม",
    "去柏林的火车从三号站台出发。",
    "Good morning, how are you today?",
] * 20


@pytest.mark.parametrize("kind", ["unigram", "wordpiece"])
def test_special_tokens_come_first_and_only_on_demand(kind):
    tokenizer = train_vocabulary(TEXTS, VocabularyConfig(kind=kind, size=200))
    assert [tokenizer.id_to_token(i) for i in range(5)] == list(SPECIALS)
    plain = tokenizer.encode("the train", add_special_tokens=False).ids
    marked = tokenizer.encode("the train", add_special_tokens=True).ids
    assert marked == [2, *plain, 3]
    assert not set(plain) & set(range(5))
    assert tokenizer.get_vocab_size() <= 200


def test_case_digits_and_punctuation_follow_the_configuration():
    folded = train_vocabulary(TEXTS, VocabularyConfig(size=200))
    assert folded.encode("THE Train").ids == folded.encode("the train").ids
    assert [t.strip("▁") for t in folded.encode("17:45", add_special_tokens=False).tokens if t != "▁"] == list("17:45")
    cased = train_vocabulary(TEXTS, VocabularyConfig(size=200, lowercase=False))
    assert cased.encode("Train").ids != cased.encode("train").ids


def test_accents_go_only_where_they_are_no_vowels():
    tokenizer = train_vocabulary(TEXTS, VocabularyConfig(size=200, strip_accents=True))
    assert tokenizer.encode("fährt").ids == tokenizer.encode("fahrt").ids
    assert tokenizer.encode("ที่").ids != tokenizer.encode("ท").ids


def test_pieces_as_text_tell_where_words_start():
    tokenizer = train_vocabulary(TEXTS, VocabularyConfig(kind="wordpiece", size=200))
    texts = piece_texts(tokenizer)
    assert texts[:5] == [""] * 5
    assert all(
        text.startswith(" ") != tokenizer.id_to_token(i).startswith("##") for i, text in enumerate(texts) if text
    )


def test_pieces_of_equal_score_are_in_a_lasting_order():
    """The library gave them in a random one, so two runs of one command gave students whose rows were exchanged."""
    tokenizer = train_vocabulary(TEXTS, VocabularyConfig(size=200))
    pieces = json.loads(tokenizer.to_str())["model"]["vocab"][5:]
    assert pieces == sorted(pieces, key=lambda item: (-item[1], item[0]))
    assert len({score for _, score in pieces}) < len(pieces), "without equal scores this proves nothing"


def test_rare_characters_get_no_piece():
    tokenizer = train_vocabulary([*TEXTS, "龘"], VocabularyConfig(size=200, coverage=0.999))
    assert tokenizer.encode("龘", add_special_tokens=False).tokens[-1] in ("龘", "[UNK]")
    assert tokenizer.token_to_id("龘") is None
    whole = train_vocabulary([*TEXTS, "龘"], VocabularyConfig(size=200, coverage=1))
    assert whole.token_to_id("龘") is not None


def test_a_vocabulary_without_room_for_all_characters_says_what_would_give_it():
    characters = "".join(map(chr, range(0x4E00, 0x4E00 + 150)))
    with pytest.raises(
        UserError, match=r"vocabulary.size is 100, .* need 15\d pieces: raise .* lower vocabulary.cover"
    ):
        train_vocabulary([characters] * 3, VocabularyConfig(size=100))


def test_text_without_characters_and_unknown_kinds_are_user_errors():
    with pytest.raises(UserError, match="no vocabulary could be trained"):
        train_vocabulary([" ", ""], VocabularyConfig(size=200))
    with pytest.raises(UserError, match="vocabulary.kind is 'bpe'; known"):
        VocabularyConfig(kind="bpe")
