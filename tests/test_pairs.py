"""From files to stored pairs: cleaned, without copies, with a held-out part that training never sees."""

from __future__ import annotations

import numpy as np
import pytest

from compact_labse.corpus.account import Account
from compact_labse.corpus.files import PAIR_KINDS, find_sources
from compact_labse.errors import UserError
from compact_labse.gather import CorpusConfig, Record, read_records
from compact_labse.pairs import Pairs, sampled_texts, text_key, write_pairs, write_tokens
from compact_labse.shards import Ragged
from compact_labse.tokens import Tokens
from compact_labse.vocabulary import VocabularyConfig, train_vocabulary
from tests.tiny_pairs import sentences, write_corpus


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path / "corpus")


def stored(corpus, folder, **settings) -> Pairs:
    config = CorpusConfig(**settings)
    folder.mkdir()
    write_pairs(read_records(find_sources([str(corpus)], None, PAIR_KINDS), [], config, Account()), config, folder)
    return Pairs(folder)


def test_every_pair_is_stored_with_its_language_and_file(corpus, tmp_path):
    pairs = stored(corpus, tmp_path / "pairs")
    assert len(pairs) == 450
    assert pairs.languages == ["de", "ru"]
    np.testing.assert_array_equal(pairs.origin, pairs.language)
    first = " ".join(sentences(300)[0])
    assert (pairs.source[0], pairs.target[0].split()[0]) == (first, pairs.target[0].split()[0])
    # The Russian file has the first sentences again: they are the same sources.
    assert pairs.unique[0] == pairs.unique[300]
    assert len(pairs.first) == 300
    assert pairs.source[int(pairs.first[pairs.unique[300]])] == pairs.source[300]


def test_what_is_held_out_is_trained_on_in_no_language(corpus, tmp_path):
    pairs = stored(corpus, tmp_path / "pairs", heldout=10, heldout_share=0.2)
    held = set(pairs.source.texts(pairs.heldout_rows))
    assert np.bincount(pairs.language[pairs.heldout_rows]).tolist() == [10, 10]
    assert held.isdisjoint(pairs.source.texts(pairs.train_rows))
    again = stored(corpus, tmp_path / "again", heldout=5, heldout_share=0.2)
    assert set(again.source.texts(again.heldout_rows)) < held, "a larger number holds out all that a smaller one does"


def test_copies_and_evaluation_sentences_are_not_trained_on(corpus, tmp_path):
    pairs = stored(corpus, tmp_path / "before", heldout=0)
    lines = (corpus / "en-de.tsv").read_text().splitlines()
    (corpus / "en-de.tsv").write_text("\n".join([*lines, lines[0].upper() + "!"]))
    avoid = tmp_path / "test.txt"
    avoid.write_text(pairs.source[1] + "\n")
    after = stored(corpus, tmp_path / "after", heldout=0, avoid=[str(avoid)])
    trained = after.source.texts(after.train_rows)
    assert len(trained) == 450 - 2  # the sentence, in both languages
    assert pairs.source[1] not in trained
    assert text_key("The Cat!") == text_key("the cat") != text_key("the dog")


def test_nothing_left_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="no pair of the corpus is left"):
        write_pairs(iter(()), CorpusConfig(), tmp_path)


def test_a_file_of_a_folder_without_usable_lines_is_passed_over_but_a_named_one_is_not(corpus, tmp_path, capsys):
    (corpus / "en-fi.tsv").write_text("only one column\n")
    assert stored(corpus, tmp_path / "pairs").languages == ["de", "ru"]
    assert "passed over" in capsys.readouterr().err
    with pytest.raises(UserError, match="en-fi.tsv"):
        stored(corpus / "en-fi.tsv", tmp_path / "named")


def test_token_ids_are_those_of_the_tokenizer(corpus, tmp_path):
    pairs = stored(corpus, tmp_path / "pairs")
    tokenizer = train_vocabulary(sampled_texts(pairs, 400, 2.0, seed=0), VocabularyConfig(size=120))
    write_tokens(pairs, tokenizer, max_tokens=6, special=True, folder=tmp_path)
    expected = Tokens(tokenizer, max_tokens=6).ids([pairs.target[7], pairs.target[440]])
    ids, offsets = Ragged(tmp_path, "target_ids", "uint32").take(np.array([7, 440]))
    assert [ids[: offsets[1]].tolist(), ids[offsets[1] :].tolist()] == expected
    assert max(map(len, expected)) == 6


def test_texts_for_a_vocabulary_come_from_every_language_evenly(corpus, tmp_path):
    pairs = stored(corpus, tmp_path / "pairs", heldout=0)
    texts = list(sampled_texts(pairs, 300, temperature=100, seed=0))
    russian = sum("а" <= text[0] <= "я" for text in texts)
    assert len(texts) == pytest.approx(300, abs=2)
    assert russian == pytest.approx(100, abs=3)


def test_weights_of_files_multiply():
    config = CorpusConfig(weights={"omw": 0.3, "de": 0.5})
    assert config.weight_of("x/omw_lexicon/en-de.tsv") == pytest.approx(0.15)
    assert config.weight_of("x/news/en-fr.tsv") == 1
    with pytest.raises(UserError, match="must not be negative"):
        CorpusConfig(weights={"a": -1})


def test_records_keep_the_number_of_their_file(corpus):
    sources = find_sources([str(corpus / "en-ru.tsv"), str(corpus / "en-de.tsv")], None, PAIR_KINDS)
    records = list(read_records(sources, [], CorpusConfig(), Account()))
    assert {(record.language, record.origin) for record in records} == {("ru", 0), ("de", 1)}
    assert isinstance(records[0], Record)
