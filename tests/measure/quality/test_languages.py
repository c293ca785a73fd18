"""Language sets as published, and one code per language."""

from __future__ import annotations

from compact_labse.measure.quality.languages import PUD_17, TATOEBA_SETS, canonical, covered_sets, untrained


def test_sets_have_the_sizes_of_their_names():
    assert {name: len(set(codes)) for name, codes in TATOEBA_SETS.items()} == {"14": 14, "29": 29, "36": 36, "112": 112}
    assert len(set(PUD_17)) == 17
    assert set(TATOEBA_SETS["29"]) == set(TATOEBA_SETS["36"]) - {"jav", "tgl", "eus", "mal", "kat", "afr", "kaz"}
    assert set(TATOEBA_SETS["36"]) | set(TATOEBA_SETS["14"]) <= set(TATOEBA_SETS["112"])


def test_only_complete_sets_are_covered():
    assert set(covered_sets(TATOEBA_SETS["36"], TATOEBA_SETS)) == {"29", "36"}
    assert covered_sets(TATOEBA_SETS["36"][1:], TATOEBA_SETS) == {}
    assert set(covered_sets(TATOEBA_SETS["112"], TATOEBA_SETS)) == {"14", "29", "36", "112"}


def test_codes_of_all_sources_meet():
    assert {canonical(code) for code in ("deu", "de", "de-AT", "DE_de")} == {"de"}
    assert canonical("cmn") == canonical("zh-Hant") == "zh"
    assert canonical("zsm") == "ms"
    assert canonical("cbk") == "cbk"


def test_untrained_languages_are_named_only_if_training_languages_are_known():
    assert untrained(["deu", "kat", "jpn"], ["de", "ja"]) == ("kat",)
    assert untrained(["de", "en"], ["de"]) == ()
    assert untrained(["deu", "kat"], None) == ()


def test_the_29_are_those_of_the_36_without_training_pairs():
    with_pairs = "ar bg bn de el es et fa fi fr he hi hu id it ja ko mr nl pt ru sw ta te th tr ur vi zh"
    unseen = untrained(TATOEBA_SETS["36"], with_pairs.split())
    assert set(TATOEBA_SETS["36"]) - set(unseen) == set(TATOEBA_SETS["29"])
