"""The embedded text is what its README says: parallel, clean, in many scripts, and readable as pairs."""

from __future__ import annotations

import re
import unicodedata
from importlib.resources import files

import pytest

from compact_labse import sample
from compact_labse.errors import UserError

TRANSLATIONS = sample.LANGUAGES[1:]
ENGLISH = sample.sentences("en")


def scripts_of(text: str) -> set[str]:
    """The first words of the letters' Unicode names: LATIN, CYRILLIC, CJK, ..."""
    return {unicodedata.name(letter).split()[0] for letter in text if letter.isalpha()}


def is_clean(line: str) -> bool:
    """Whether a line has text, is in composed form, and has no outer space and no control character."""
    # Zero-width joiners are spelling in Bengali and Hindi; every other invisible character is an accident.
    unseen = [c for c in line if unicodedata.category(c) in ("Cc", "Cf") and c not in "\u200c\u200d"]
    return bool(line) and line == line.strip() == unicodedata.normalize("NFC", line) and not unseen


def long_or_short(lines: list[str], english: list[str]) -> list[int]:
    """Lines whose length, relative to the English and to the language's own ratio, tells of a shifted or cut line."""
    usual = sum(map(len, lines)) / sum(map(len, english))
    ratios = [(len(line) + 10) / (usual * len(source) + 10) for line, source in zip(lines, english, strict=True)]
    return [row for row, ratio in enumerate(ratios) if not 0.5 < ratio < 2.0]


def lost_numbers(lines: list[str], english: list[str]) -> list[tuple[int, str]]:
    """Whole numbers of the English lines that the translated lines lack, in the digits of any script."""
    ours = ["".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in line) for line in lines]
    numbers = [re.findall(r"(?<![\d.])\d+(?![\d.]*\d)", line) for line in english]
    return [(row, number) for row, found in enumerate(numbers) for number in found if number not in ours[row]]


def test_there_are_many_languages_and_scripts():
    assert sample.LANGUAGES[0] == "en"
    assert TRANSLATIONS == sorted(set(TRANSLATIONS) - {"en"})
    assert len(sample.LANGUAGES) >= 14
    assert len(set.union(*(scripts_of(lines[0]) for lines in sample.parallel().values()))) >= 8


@pytest.mark.parametrize("language", sample.LANGUAGES)
def test_every_language_has_240_different_clean_lines(language: str):
    lines = sample.sentences(language)
    assert len(lines) == len(set(lines)) == 240
    assert [line for line in lines if not is_clean(line)] == []


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_translations_differ_from_english_and_have_its_length(language: str):
    lines = sample.sentences(language)
    assert [row for row in range(240) if lines[row] == ENGLISH[row]] == []
    assert long_or_short(lines, ENGLISH) == []


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_whole_numbers_stand_in_the_lines_where_english_has_them(language: str):
    assert lost_numbers(sample.sentences(language), ENGLISH) == []


@pytest.mark.parametrize("line", ["", " a", "a\u00a0", "a\tb", "e\u0301", "a\u200bb", "\ufeffa"])
def test_the_check_of_lines_finds_faults(line: str):
    assert not is_clean(line)


def test_the_checks_of_alignment_find_a_shifted_line():
    shifted = ENGLISH[1:] + ENGLISH[:1]
    assert len(long_or_short(shifted, ENGLISH)) > 60
    assert len(lost_numbers(shifted, ENGLISH)) > 12


def test_splits_are_disjoint_and_complete():
    assert [len(sample.sentences("en", split)) for split in sample.SPLITS] == [160, 40, 40]
    assert [line for split in sample.SPLITS for line in sample.sentences("en", split)] == ENGLISH


def test_a_reader_may_change_its_list():
    sample.sentences("en").clear()
    assert sample.sentences("en") == ENGLISH


def test_unknown_names_list_the_known_ones():
    with pytest.raises(UserError, match="no sample text in the language 'xx'; there is: en, ar"):
        sample.sentences("xx")
    with pytest.raises(UserError, match="no part 'dev'; there is: train, calibration, test"):
        sample.parallel("dev")


def test_pairs_are_written_as_tsv(tmp_path):
    paths = sample.write_tsv(tmp_path / "pairs", "test")
    assert [path.name for path in paths] == [f"en-{language}.tsv" for language in TRANSLATIONS]
    rows = [line.split("\t") for line in paths[0].read_bytes().decode().removesuffix("\n").split("\n")]
    assert [row[0] for row in rows] == sample.sentences("en", "test")
    assert [row[1] for row in rows] == sample.sentences(TRANSLATIONS[0], "test")


def test_the_readme_names_every_language():
    readme = files(sample).joinpath("README.md").read_text(encoding="utf-8")
    assert [language for language in sample.LANGUAGES if f"| `{language}` |" not in readme] == []
