"""What cleaning tidies and drops, and the account of it."""

from __future__ import annotations

import io
import tracemalloc
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compact_labse.corpus.account import Account
from compact_labse.corpus.clean import Cleaning, clean_pairs, clean_texts, tidy
from compact_labse.corpus.dedup import FULL, Seen, hash64
from compact_labse.corpus.records import Pair
from compact_labse.errors import UserError


def reasons(*pairs: tuple[str, str, str], **options: Any) -> dict[str, int]:
    account = Account()
    list(clean_pairs((Pair(*pair) for pair in pairs), Cleaning(**options), account))
    return dict(account.dropped)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  a \t b\r\n", "a b"),
        ("a\u00a0\u3000\u2028b", "a b"),
        ("a\x00b\x07", "ab"),
        ("\ufeffso\u00adft\u200b hy\u200ephen\u2066", "soft hyphen"),
        ("e\u0301", "é"),
        ("e\u200b\u0301", "é"),
        ("\u1100\u1161", "가"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("👩\u200d🔬 ①ﬁ", "👩\u200d🔬 ①ﬁ"),
        ("\x1c\x85", ""),
    ],
)
def test_tidy(text: str, expected: str) -> None:
    assert tidy(text) == expected


@given(st.text())
def test_tidy_text_stays_as_it_is_and_fits_a_tsv_cell(text: str) -> None:
    clean = tidy(text)
    assert tidy(clean) == clean == clean.strip()
    assert unicodedata.is_normalized("NFC", clean)
    assert not set(clean) & set("\t\n\r\x00\ufeff")


LONG = "Das ist ein ziemlich langer Satz, der gar nicht hierher gehört."


@pytest.mark.parametrize(
    ("source", "target", "language", "reason", "strict", "loose"),
    [
        ("Hello", "Ja", "de", "too short", {"min_chars": 3}, {}),
        ("Hello", "\u200b", "de", "too short", {}, {"min_chars": 0, "letters": False}),
        ("Hello there", LONG, "de", "too long", {"max_chars": 50}, {}),
        ("Hello", LONG * 2, "de", "length ratio", {}, {"max_ratio": 9}),
        ("Berlin", "BERLIN", "de", "copy", {}, {"drop_copies": False}),
        ("Hello", "12:30 ½", "de", "no letters", {}, {"letters": False}),
        ("👍👍👍", "Prima", "de", "no letters", {}, {"letters": False}),
        ("Hello", "Hello there", "ru", "wrong script", {}, {"min_script": 0}),
        ("Hello", "Привет", "de", "wrong script", {}, {"min_script": 0}),
    ],
)
def test_each_reason_drops_and_can_be_turned_off(
    source: str, target: str, language: str, reason: str, strict: dict[str, Any], loose: dict[str, Any]
) -> None:
    assert reasons((source, target, language), **strict) == {reason: 1}
    assert reasons((source, target, language), **loose) == {}


@pytest.mark.parametrize("damage", [0xFFFD, 0xD800])
def test_text_that_was_decoded_wrongly_is_dropped(damage: int) -> None:
    assert reasons(("Hello", f"Hal{chr(damage)}lo", "de")) == {"damaged characters": 1}


def test_duplicates_are_dropped_after_tidying_and_without_case() -> None:
    pairs = [Pair("Good morning", "Guten Morgen", "de"), Pair("Good  MORNING", "guten morgen ", "de")]
    pairs += [Pair("Good morning", "Guten Tag", "de"), Pair("Guten Morgen", "Good morning", "en")]
    assert list(clean_pairs(pairs)) == [pairs[0], pairs[2], pairs[3]]
    assert len(list(clean_pairs(pairs, Cleaning(drop_duplicates=False)))) == 4


def test_a_pair_is_no_duplicate_of_one_that_is_split_elsewhere() -> None:
    assert len(list(clean_pairs([Pair("ab", "c", "und"), Pair("a", "bc", "und"), Pair("a b", "c", "und")]))) == 3


def test_words_of_a_lexicon_pass() -> None:
    words = [("I", "私", "ja"), ("ok", "Einverstanden", "de"), ("C++", "C ++", "de"), ("fox", "狐", "zh")]
    assert reasons(*words) == {}


def test_texts() -> None:
    account = Account()
    texts = ["Привет", " привет", "hello", "123", "мир\x00"]
    assert list(clean_texts(texts, None, account, language="ru")) == ["Привет", "мир"]
    assert account.dropped == {"duplicate": 1, "wrong script": 1, "no letters": 1}


def test_cleaning_streams() -> None:
    def endless() -> Any:
        number = 0
        while True:
            number += 1
            yield Pair(f"a {number}", f"b {number}", "de")

    cleaned = clean_pairs(endless())
    assert [next(cleaned).source for _ in range(3)] == ["a 1", "a 2", "a 3"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_chars": 5, "max_chars": 4}, "min_chars must be from 0 to max_chars, got 5 and 4"),
        ({"min_chars": -1}, "min_chars must be from 0"),
        ({"max_ratio": 0.5}, "max_ratio is longer over shorter side and at least 1, got 0.5"),
        ({"ratio_slack": -1}, "ratio_slack is a number of characters and not negative, got -1"),
        ({"min_script": 30}, "min_script is a share from 0 to 1, got 30"),
    ],
)
def test_limits_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Cleaning(**options)


@given(st.lists(st.integers(1, 2**64 - 1) | st.integers(1, 50).map(lambda n: n << 57)))
def test_seen_is_a_set(items: list[int]) -> None:
    known, seen = set(), Seen()
    for item in items:
        assert seen.add(item) == (item not in known)
        known.add(item)
    assert len(seen) == len(known)


@pytest.mark.parametrize("crowded", [False, True])
def test_seen_grows_without_losing_anything(crowded: bool) -> None:
    """Crowded hashes share their low bits, so that they run over the end of the table while it grows."""
    items = [hash64(str(number)) for number in range(60_000)]
    if crowded:
        items[:500] = [number << 40 | 0x3FFFF for number in range(1, 501)]
    seen = Seen()
    assert all(seen.add(item) for item in items)
    assert seen.nbytes >= 8 * len(items) / FULL
    assert not any(seen.add(item) for item in items)
    assert len(seen) == len(items)


def test_seen_takes_the_memory_that_it_states() -> None:
    items = [hash64(str(number)) for number in range(200_000)]
    tracemalloc.start()
    seen = Seen()
    for item in items:
        seen.add(item)
    now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 11 <= now / len(items) <= 24
    assert peak / len(items) <= 60


def test_the_hash_is_the_same_everywhere() -> None:
    """Splits made on two machines agree; the bytes are those of `printf a | b2sum -l 64`, lowest first."""
    assert hash64("a").to_bytes(8, "little").hex() == "40f89e395b66422f"


def filled_account() -> Account:
    account = Account()
    pairs = [Pair(f"word {n}", f"Wort {n}", "de") for n in range(8)] + [
        Pair("x", "1", "fr"),
        Pair("word", "Wort" * 30, "de"),
    ]
    list(clean_pairs(pairs, None, account))
    return account


def test_the_account_adds_up() -> None:
    account = filled_account()
    assert account.read == {"de": 9, "fr": 1}
    assert account.kept == {"de": 8, "fr": 0}
    assert account.dropped == {"length ratio": 1, "no letters": 1}


def test_streams_share_a_step_and_steps_follow_each_other() -> None:
    account = filled_account()
    list(clean_pairs([Pair("more", "mehr", "de")], None, account))
    step = account.step("another")
    step.read.update(account.kept)
    step.drop("de", "dull", "a", "b")
    assert (account.read["de"], account.kept["de"], account.dropped["dull"]) == (10, 8, 1)


def test_the_account_in_lines_and_as_a_table() -> None:
    account = filled_account()
    lines = account.lines()
    assert lines[0] == "read 10, kept 8 (80.0 %), dropped 2"
    assert [line.split() for line in lines[1:3]] == [
        ["no", "letters", "1", "10.0", "%", "e.g.", "'x'", "=", "'1'"],
        ["length", "ratio", "1", "10.0", "%", "e.g.", "'word'", "=", repr("Wort" * 14 + "Wor…")],
    ]
    assert [line.split() for line in lines[3:]] == [
        ["de", "kept", "8", "of", "9", "length", "ratio", "1"],
        ["fr", "kept", "0", "of", "1", "no", "letters", "1"],
    ]
    console = pytest.importorskip("rich.console", reason="needs rich")
    out = io.StringIO()
    console.Console(file=out, width=100).print(account.table())
    assert all(word in out.getvalue() for word in ("language", "kept", "no letters 1, length ratio 1", "fr"))


def test_an_empty_account_prints() -> None:
    assert Account().lines() == ["read 0, kept 0 (-), dropped 0"]


def test_the_training_data_loses_little_but_duplicates(shared_data: Any) -> None:
    from compact_labse.corpus.read import read_pairs

    account = Account()
    list(clean_pairs(read_pairs(shared_data / "train/tico19"), None, account))
    assert account.read.total() > 10_000
    others = account.dropped.total() - account.dropped["duplicate"]
    assert others < 0.002 * account.read.total()
