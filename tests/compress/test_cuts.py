"""The check of cuts fails where a tokenizer was damaged."""

from __future__ import annotations

import json

import pytest
from tokenizers import Tokenizer

from compact_labse.compress.coverage import measure_coverage
from compact_labse.compress.cuts import compare_cuts
from compact_labse.compress.merges import Merges
from compact_labse.compress.pieces import Pieces
from compact_labse.compress.vocabulary import choose, trimmed
from compact_labse.errors import GateError
from tests.tiny_models import TEXT, unigram, wordpiece

MODEL = {"vocab": {}, "merges": [["a", "b"], ["b", "c"], ["ab", "c"], ["abc", "d"], ["d", "e"]]}


@pytest.fixture(params=[wordpiece, unigram])
def prepared(request, tmp_path):
    (tmp_path / "t.txt").write_text("\n".join(TEXT[:5]), encoding="utf-8")
    tokenizer = request.param()
    coverage = measure_coverage(tokenizer, None, (), [str(tmp_path / "t.txt")])
    pieces = Pieces(json.loads(tokenizer.to_str()), "here")
    choice = choose(pieces, tokenizer, coverage, set(), None)
    return tokenizer, coverage, choice, trimmed(pieces, choice.kept_K)


def as_tokenizer(content) -> Tokenizer:
    return Tokenizer.from_str(json.dumps(content))


def test_unchanged_cuts_pass(prepared):
    tokenizer, coverage, choice, content = prepared
    cuts = compare_cuts(tokenizer, as_tokenizer(content), choice, coverage, None)
    assert cuts["und"].changed == 0
    assert cuts["und"].tokens_before == cuts["und"].tokens_after > 30


def test_a_piece_under_another_number_is_found(prepared):
    tokenizer, coverage, choice, content = prepared
    vocabulary = content["model"]["vocab"]
    if isinstance(vocabulary, list):
        vocabulary[20], vocabulary[21] = vocabulary[21], vocabulary[20]
    else:
        first, second = list(vocabulary)[20:22]
        vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    with pytest.raises(GateError, match="piece [0-9]+ .* became"):
        compare_cuts(tokenizer, as_tokenizer(content), choice, coverage, None)


def test_another_cut_is_found(prepared):
    tokenizer, coverage, choice, content = prepared
    if content["model"]["type"] == "Unigram":  # a score that makes letters better than words
        content["model"]["vocab"] = [[p, -0.01 if len(p) == 1 else s] for p, s in content["model"]["vocab"]]
    else:
        content["pre_tokenizer"] = {"type": "WhitespaceSplit"}
    with pytest.raises(GateError, match="is cut otherwise although all of its pieces stay"):
        compare_cuts(tokenizer, as_tokenizer(content), choice, coverage, None)


def test_the_way_to_a_piece_follows_the_order_of_merges():
    merges = Merges(MODEL)
    assert merges.way_to("abcd") == {"ab", "abc", "abcd"}
    assert merges.way_to("bc") == {"bc"}
    assert merges.kept({"a", "b", "c", "ab", "abc"}) == [("a", "b"), ("ab", "c")]


def test_merges_as_strings_and_with_marks():
    merges = Merges(
        {"merges": ["a ##b", "##b ##c</w>"], "continuing_subword_prefix": "##", "end_of_word_suffix": "</w>"}
    )
    assert merges.way_to("##bc</w>") == {"##bc</w>"}
    assert merges.joined(("a", "##b")) == "ab"
    assert merges.way_to("ab") == {"ab"}
