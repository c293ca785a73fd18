"""The ranges of scripts against the names of their characters, and texts of many languages."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from compact_labse.corpus.scripts import RANGES, has_letters, script_share, scripts_of

OTHER_NAMES = {
    "Han": ("CJK", "IDEOGRAPHIC", "HANGZHOU"),
    "Kana": ("HIRAGANA", "KATAKANA"),
    "Latin": ("LATIN", "ORDINAL INDICATOR"),
}


@pytest.mark.parametrize("script", RANGES)
def test_every_character_in_a_range_is_named_after_the_script(script: str) -> None:
    names = OTHER_NAMES.get(script, (script.upper(),))
    for low, high in RANGES[script]:
        for char in map(chr, range(low, high + 1)):
            name = unicodedata.name(char, "")
            assert not name or any(word in name for word in names), (hex(ord(char)), name)
            assert unicodedata.category(char)[0] in "LMCS" or char == "〇", (hex(ord(char)), name)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("de", "Straße, Übung & Größe!"),
        ("vi", "Tiếng Việt có nhiều dấu"),
        ("tr", "İstanbul'da ışık"),
        ("ru", "Съешь ещё этих булок"),
        ("srp", "Добар дан, dobar dan"),
        ("sr-Latn", "Dobar dan"),
        ("el", "Καλημέρα σας"),
        ("he", "שָׁלוֹם עולם"),
        ("ar", "مَرْحَبًا بالعالم"),
        ("fa", "می\u200cخواهم"),
        ("hi", "नमस्ते दुनिया"),
        ("ben", "ওহে বিশ্ব"),
        ("ta", "வணக்கம்"),
        ("te", "నమస్కారం"),
        ("th", "สวัสดีครับ"),
        ("ko", "안녕하세요 세계"),
        ("ja", "こんにちは、世界。カタカナー"),
        ("cmn", "你好，世界〇"),
        ("zh-Hant", "哎呀！找不到這一頁"),
        ("zh_TW", "找不到"),
        ("ka", "გამარჯობა"),
        ("am", "ሰላም"),
        ("km", "សួស្តី"),
        ("my", "မင်္ဂလာပါ"),
    ],
)
def test_a_text_in_its_language_is_all_in_its_script(language: str, text: str) -> None:
    assert scripts_of(language)
    assert script_share(f"{text} 123 — 👍", language) == 1


def test_shares_are_of_letters() -> None:
    assert script_share("да yes 1234567", "ru") == pytest.approx(2 / 5)
    assert script_share("CSS を使う", "ja") == pytest.approx(3 / 6)
    assert script_share("hello", "ru") == 0
    assert script_share("123", "ru") == 1
    assert script_share("что угодно", "und") == script_share("что угодно", "tlh") == 1


def test_languages_of_the_training_data_are_known(shared_data: Path) -> None:
    languages = {path.name.removesuffix(".tsv.gz").removeprefix("en-") for path in shared_data.glob("train/*/en-*")}
    assert len(languages) == 45
    assert [language for language in languages if not scripts_of(language)] == []


def test_has_letters() -> None:
    assert has_letters("1a")
    assert has_letters("ที่")
    assert not has_letters("12_3 + ½ 👍 …")
