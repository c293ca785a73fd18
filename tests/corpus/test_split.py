"""Held-out splits, evaluation sentences and sampling."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compact_labse.corpus.account import Account
from compact_labse.corpus.decontaminate import (
    EvaluationSentences,
    normalise,
    texts_without_evaluation,
    without_evaluation,
)
from compact_labse.corpus.records import Pair
from compact_labse.corpus.sampling import interleave, shuffled, temperature_weights
from compact_labse.corpus.split import held_out
from compact_labse.errors import UserError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World! ", "helloworld"),
        ("“Ｈｅｌｌｏ” – world…", "helloworld"),
        ("STRASSE straße", "strassestrasse"),
        ("e\u0301 É", "éé"),
        ("नमस्ते, दुनिया।", "नमस्तेदुनिया"),
        ("你好，世界。", "你好世界"),
        ("a_b-c d\t\x00\u200d\u200b", "abcd"),
        ("C++ $5 👍", "c++$5👍"),
        ("?!", ""),
    ],
)
def test_normalise(text: str, expected: str) -> None:
    assert normalise(text) == expected


@given(st.text())
def test_normalising_ignores_case_spaces_and_punctuation(text: str) -> None:
    assert normalise(f" {text}\n—¿?") == normalise(text)
    assert normalise(normalise(text)) == normalise(text)


@given(st.text(st.characters(max_codepoint=127)))
def test_the_fast_path_for_ascii_is_the_slow_one(text: str) -> None:
    assert normalise(text) == normalise(f"{text}é")[:-1]


def test_pairs_with_an_evaluation_sentence_on_either_side_go() -> None:
    sentences = EvaluationSentences.from_texts(["How are you?", "Das ist gut.", "!?", "5.000"])
    pairs = [
        Pair("how are you", "Wie geht es?", "de"),
        Pair("This is good", "„Das ist gut!“", "de"),
        Pair("This is good, I think", "Das ist gut, denke ich", "de"),
        Pair("5000", "5000", "de"),
    ]
    account = Account()
    assert list(without_evaluation(pairs, sentences, account)) == pairs[2:]
    assert account.read == {"de": 4}
    assert account.dropped == {"evaluation sentence": 2}
    assert len(sentences) == 2
    texts = ["HOW ARE YOU", "fine"]
    assert list(texts_without_evaluation(texts, sentences, account, language="en")) == ["fine"]
    assert account.kept == {"de": 2, "en": 1}


def test_evaluation_sentences_come_from_every_column_of_files(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("n01\tEine Zeile\tone line\t4.5\n")
    (tmp_path / "b.txt").write_text("another line\n")
    sentences = EvaluationSentences.from_files(tmp_path)
    assert all(text in sentences for text in ("eine zeile", "One line.", "Another line!"))
    assert "4.5" not in sentences
    (tmp_path / "b.txt").write_text("5\n")
    with pytest.raises(UserError, match=r"no evaluation sentence in .*b\.txt"):
        EvaluationSentences.from_files(tmp_path / "b.txt")


def test_the_training_data_holds_no_evaluation_sentence(shared_data: Path) -> None:
    from compact_labse.corpus.read import read_pairs

    sentences = EvaluationSentences.from_files(shared_data / "eval/pud", shared_data / "eval/sts")
    assert len(sentences) > 20_000
    account = Account()
    list(without_evaluation(read_pairs(shared_data / "train/mlqe_pe"), sentences, account))
    assert account.dropped == {}


def test_a_fraction_is_held_out_and_a_larger_one_holds_it_too() -> None:
    pairs = [Pair(f"sentence {number}", "x", "und") for number in range(4000)]
    small, large = ({pair for pair in pairs if held_out(pair, fraction)} for fraction in (0.05, 0.2))
    assert 130 < len(small) < 270
    assert 700 < len(large) < 900
    assert small < large
    other = {pair for pair in pairs if held_out(pair, 0.2, salt="other")}
    assert 100 < len(other & large) < 220


def test_nothing_and_everything() -> None:
    assert not held_out("a", 0)
    assert held_out("a", 1)
    for fraction in (-0.1, 1.1, math.nan):
        with pytest.raises(UserError, match="the held-out fraction is from 0 to 1"):
            held_out("a", fraction)


@given(st.text(min_size=1), st.floats(0, 1))
def test_a_source_is_on_one_side_in_every_language_and_spelling(text: str, fraction: float) -> None:
    side = held_out(Pair(text, "eins", "de"), fraction)
    assert side == held_out(Pair(text, "un", "fr"), fraction) == held_out(text, fraction)
    if normalise(text):
        assert side == held_out(f"{text}!", fraction)


def test_the_split_never_changes() -> None:
    """Results name a split by fraction and salt; these are the sentences of one hundred that 10 % hold out."""
    held = [1, 6, 7, 15, 23, 24, 38, 45, 70, 85, 91, 94, 98, 99]
    assert [n for n in range(100) if held_out(f"sentence {n}", 0.1)] == held


def test_temperature_weights() -> None:
    sizes = {"de": 90_000, "th": 900, "xx": 0}
    assert temperature_weights(sizes, 1) == pytest.approx({"de": 100 / 101, "th": 1 / 101, "xx": 0})
    assert temperature_weights(sizes, 2) == pytest.approx({"de": 10 / 11, "th": 1 / 11, "xx": 0})
    assert temperature_weights(sizes, math.inf) == {"de": 0.5, "th": 0.5, "xx": 0}
    assert list(temperature_weights({"b": 1, "a": 2}, 3)) == ["b", "a"]


@given(st.dictionaries(st.text(), st.integers(0, 10**18), min_size=1), st.floats(1, 1e6))
def test_weights_are_shares_in_the_order_of_sizes(sizes: dict[str, int], temperature: float) -> None:
    if not any(sizes.values()):
        return
    weights = temperature_weights(sizes, temperature)
    assert math.fsum(weights.values()) == pytest.approx(1)
    ordered = sorted(sizes, key=lambda name: sizes[name])
    assert all(weights[a] <= weights[b] for a, b in itertools.pairwise(ordered))


@pytest.mark.parametrize(
    ("sizes", "temperature", "message"),
    [
        ({"de": 1}, 0.5, "a sampling temperature is at least 1 .*, got 0.5"),
        ({"de": 1}, math.nan, "a sampling temperature is at least 1"),
        ({"de": -1, "fr": 1}, 1, "'de' has a negative number of pairs"),
        ({"de": 0}, 1, "no language has any pairs"),
        ({}, 1, "no language has any pairs"),
    ],
)
def test_weights_that_make_no_sense(sizes: dict[str, int], temperature: float, message: str) -> None:
    with pytest.raises(UserError, match=message):
        temperature_weights(sizes, temperature)


def test_streams_are_drawn_in_their_shares_and_opened_again() -> None:
    streams: dict[str, Any] = {"a": lambda: ["a1", "a2"], "b": lambda: ["b"], "c": list}
    weights = {"a": 0.75, "b": 0.25, "c": 0.0}
    drawn = list(itertools.islice(interleave(streams, weights, seed=1), 4000))
    counts = Counter(drawn)
    assert counts["a1"] == pytest.approx(1500, abs=120)
    assert abs(counts["a1"] - counts["a2"]) <= 1
    assert counts["b"] == pytest.approx(1000, abs=120)
    assert drawn == list(itertools.islice(interleave(streams, weights, seed=1), 4000))
    assert drawn != list(itertools.islice(interleave(streams, weights, seed=2), 4000))


def test_streams_that_cannot_be_drawn() -> None:
    with pytest.raises(UserError, match="the stream 'c' has nothing in it"):
        next(interleave({"c": list}, {"c": 1.0}, seed=0))
    with pytest.raises(UserError, match="no stream for 'd'"):
        interleave({"c": list}, {"d": 1.0}, seed=0)
    with pytest.raises(UserError, match="all sampling weights are zero"):
        interleave({"c": list}, {"c": 0.0}, seed=0)


@given(st.integers(0, 60), st.integers(1, 80), st.integers(0, 5))
def test_shuffling_keeps_every_item(count: int, buffer: int, seed: int) -> None:
    mixed = list(shuffled(range(count), seed=seed, buffer=buffer))
    assert sorted(mixed) == list(range(count))
    assert mixed == list(shuffled(range(count), seed=seed, buffer=buffer))


def test_a_shuffle_mixes() -> None:
    mixed = list(shuffled(range(1000), seed=0, buffer=500))
    assert sum(a < b for a, b in itertools.pairwise(mixed)) < 650
    assert list(shuffled(range(9), seed=0, buffer=1)) == list(range(9))
    with pytest.raises(UserError, match="a shuffle buffer holds at least 1 item, got 0"):
        next(shuffled([1], seed=0, buffer=0))
