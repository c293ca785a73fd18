"""The light tokenizer of exports gives the library's ids for any text, or leaves the work to the library."""

from __future__ import annotations

import json
import random
import threading
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from compact_labse.encoder import load
from compact_labse.errors import UserError
from compact_labse.lattice import Pieces
from compact_labse.sample import parallel
from compact_labse.tokens import Tokens
from compact_labse.unigram_tokens import REMEMBERED, UnigramTokens, open_tokens
from compact_labse.vocabulary import VocabularyConfig, train_vocabulary
from tests.tiny_models import change_json, unigram

SHIPPED = Path(__file__).resolve().parents[1] / "compact_labse" / "shipped"
SAMPLE = [text for texts in parallel().values() for text in texts]
ODD = [
    "",
    " ",
    "a ",
    "  a",
    "a  b",
    "\u0640",
    "a \u0640",
    "a \u0640 b",
    "▁",
    "a ▁b",
    "a\u2003b",
    "¨ a",
    "a ¨",
    "\x1ca\x85b",
]
ODD += [
    "[CLS] a",
    "x[SEP]",
    "ﷺ ab",
    "\u0301a",
    "a \u0301b",
    "\ue000 a\ue000b",
    "አማርኛ።",
    "🙂🙂.🙂 ab",
    "ﬁ Ⅷ ½",
    "\ud83d\0",
    "\n\t",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tokenizer as `distill` trains it by default."""
    place = tmp_path_factory.mktemp("trained")
    train_vocabulary(SAMPLE, VocabularyConfig(size=4000)).save(str(place / "tokenizer.json"))
    return place


def noise(count: int) -> list[str]:
    draw = random.Random(0)
    codes = ((0x20, 0x700), (0x700, 0xD7FF), (0xE000, 0x20000))
    return ["".join(chr(draw.randrange(*draw.choice(codes))) for _ in range(draw.randrange(40))) for _ in range(count)]


def test_the_shipped_encoders_ids_are_the_librarys():
    ours, library = open_tokens(SHIPPED, special=False), Tokens.from_folder(SHIPPED, special=False)
    texts = [*ODD, *SAMPLE, *noise(500), " ".join(SAMPLE)]
    found, expected = ours.ids(texts), library.ids(texts)
    assert type(ours) is UnigramTokens
    assert [text for text, a, b in zip(texts, found, expected, strict=True) if a != b] == []
    assert len({number for ids in found for number in ids}) > 5000


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("longest", [None, 7])
def test_a_trained_tokenizers_ids_are_the_librarys(folder, special, longest):
    ours, library = (make(folder, longest, special) for make in (open_tokens, Tokens.from_folder))
    assert type(ours) is UnigramTokens
    for texts in (ODD, SAMPLE, noise(300), SAMPLE[:1], []):
        assert ours.ids(texts) == library.ids(texts)
    for name in ("pad_id", "unk_id", "vocab_size", "max_tokens", "special", "prefix"):
        assert getattr(ours, name) == getattr(library, name), name


@settings(deadline=None)  # the first example reads the tokenizers
@given(st.lists(st.text(st.characters(exclude_categories=()), max_size=30), max_size=4))
def test_ids_of_any_text_are_the_librarys(texts):
    both = _opened()
    assert both[0].ids(texts) == both[1].ids(texts)


def _opened(cache: list = []) -> list:  # noqa: B006
    if not cache:
        cache += [open_tokens(SHIPPED, special=True), Tokens.from_folder(SHIPPED, special=True)]
    return cache


def test_forgetting_changes_nothing(folder):
    ours, library = (make(folder, special=False) for make in (open_tokens, Tokens.from_folder))
    words = [f"{a}{b}{c}" for a in "abcdefgh" for b in SAMPLE[1].split() for c in range(700)]
    assert len(set(words)) > 2 * REMEMBERED
    texts = [" ".join(words[low:high]) for low, high in pairwise(range(0, len(words), 20))]
    assert ours.ids(texts) == library.ids(texts)
    assert len(ours._remembered) < 2 * REMEMBERED


def test_threads_share_one_tokenizer(folder):
    ours, expected = open_tokens(folder), Tokens.from_folder(folder).ids(SAMPLE)
    found: dict[int, list] = {}

    def work(number: int) -> None:
        found[number] = [ours.ids([text])[0] for text in SAMPLE]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found[number] == expected for number in range(4))


@pytest.mark.parametrize(
    "change",
    [
        {"pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True}},
        {"normalizer": {"type": "Replace", "pattern": {"Regex": "(?<= )x"}, "content": ""}},
        {"normalizer": {"type": "Prepend", "prepend": "x"}},
        {"truncation": {"direction": "Left", "max_length": 4, "strategy": "LongestFirst", "stride": 0}},
        {"added_tokens": [{"id": 4, "content": "aa", "special": False, "normalized": True, "single_word": False}]},
        {"post_processor": {"type": "BertProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0]}},
    ],
)
def test_what_does_not_fit_is_left_to_the_library(tmp_path, change):
    unigram().save(str(tmp_path / "tokenizer.json"))
    assert type(open_tokens(tmp_path)) is UnigramTokens
    ends = {"lstrip": False, "rstrip": False}
    for entry in change.get("added_tokens", []):
        entry.update(ends)
    change_json(tmp_path / "tokenizer.json", **change)
    assert type(open_tokens(tmp_path)) is Tokens
    assert open_tokens(tmp_path).ids(["aa x x"]) == Tokens.from_folder(tmp_path).ids(["aa x x"])


def test_too_few_tokens_and_damaged_files_are_refused_as_ever(tmp_path, folder):
    with pytest.raises(UserError, match="2 special tokens and one more"):
        open_tokens(folder, 2)
    for content in ("{}", "[]", "not json", json.dumps({"model": {"type": "Unigram"}})):
        (tmp_path / "tokenizer.json").write_text(content)
        with pytest.raises(UserError, match="not a readable tokenizer"):
            open_tokens(tmp_path)


def test_equally_likely_cuts_are_told_apart_as_by_the_library():
    """Scores of one decimal make ties that only the rounding of the sums decides."""
    draw = random.Random(1)
    texts = sorted({"".join(draw.choices("abc", k=draw.randint(1, 5))) for _ in range(200)} - {"c"})
    scores = [-draw.randint(10, 40) / 10 for _ in texts]
    pieces = Pieces(("[UNK]", *texts), (0.0, *scores), 0)
    library = Tokenizer(models.Unigram([("[UNK]", 0.0), *zip(texts, scores, strict=True)], unk_id=0))
    words = ["".join(draw.choices("abcd", weights=(9, 9, 2, 1), k=draw.randint(1, 40))) for _ in range(2000)]
    expected = [tuple(library.encode(word).ids) for word in words]
    assert pieces._cut_many(words) == expected
    assert [pieces._cut_one(word) for word in words] == expected
    exact = Pieces(("[UNK]", *texts), (0.0, *(round(10 * score) for score in scores)), 0)
    assert exact._cut_many(words) != expected  # whole numbers break ties otherwise: the test has some


def test_a_piece_that_stands_twice_is_no_vocabulary():
    with pytest.raises(ValueError, match="twice"):
        Pieces(("a", "b", "a"), (-1.0, -2.0, -3.0), 1)


def test_the_shipped_encoder_uses_it():
    assert type(load(SHIPPED).tokens) is UnigramTokens
