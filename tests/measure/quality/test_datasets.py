"""Readers of evaluation data: what they return, and that no line is lost silently."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from compact_labse.errors import UserError
from compact_labse.measure.quality.datasets import (
    Parallel,
    Similarity,
    digest,
    embedded_sample,
    find,
    mixed_texts,
    parallel,
    pud,
    sts,
    tatoeba,
)
from compact_labse.measure.quality.languages import TATOEBA_SETS


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for code in TATOEBA_SETS["14"]:
        write(tmp_path / f"eval/tatoeba/eng-{code}.tsv.gz", f"{code} eins\tone\n{code} zwei\ttwo\n")
    write(tmp_path / "eval/pud/en.tsv.gz", "n1\tfirst\nn2\tsecond\nn3\tthird\n")
    write(tmp_path / "eval/pud/de.tsv.gz", "n3\tdritter\nn1\terster\nn9\tanderes\n")
    write(tmp_path / "eval/sts/de-dev.tsv.gz", "a\tb\t5.0\nc\td\t0.4\n")
    return tmp_path


def test_find_reads_everything_that_is_there(data: Path):
    found = find(data, "14")
    assert [dataset.name for dataset in found] == ["tatoeba", "pud", "sts"]
    assert found[0].pairs["deu"] == (["deu eins", "deu zwei"], ["one", "two"])
    assert found[1].pairs == {"de": (["dritter", "erster"], ["third", "first"])}
    assert found[2].pairs == {"de": (["a", "c"], ["b", "d"], [5.0, 0.4])}
    assert isinstance(found[2], Similarity)


@pytest.mark.parametrize("place", ["eval/tatoeba", "eval/pud", "eval/sts"])
def test_find_takes_one_of_the_folders_itself(data: Path, place: str):
    assert [dataset.name for dataset in find(data / place, "14")] == [Path(place).name]


def test_a_set_that_is_not_complete_names_what_is_missing(data: Path):
    with pytest.raises(UserError, match=r"of 36 languages of the set have no eng-xxx.tsv.gz: heb, vie.*--tatoeba-set"):
        find(data, "36")


def test_own_parallel_files_are_english_first(tmp_path: Path):
    write(tmp_path / "en-de.tsv", "good morning\tGuten Morgen\n")
    write(tmp_path / "en-zh-Hant.tsv.gz", "good morning\t早安\n")
    assert find(tmp_path) == [
        Parallel(
            name=tmp_path.name,
            pairs={"de": (["Guten Morgen"], ["good morning"]), "zh-Hant": (["早安"], ["good morning"])},
        )
    ]


def test_without_data_it_is_the_embedded_text():
    (found,) = find(None)
    assert found.name == "sample"
    assert "en" not in found.pairs
    assert {"de", "ja", "ar"} <= set(found.pairs)
    assert all(len(texts) == len(english) > 0 for texts, english in embedded_sample().values())


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a\tb\nc d\n", "line 2: expected 2 tab-separated columns, none of them empty, got 1: 'c d'"),
        ("a\tb\tc\n", "line 1: .* got 3"),
        ("a\t\n", "line 1: .* none of them empty"),
        ("a\tb\n\n", "line 2"),
        ("", "is empty"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, text: str, complaint: str):
    write(tmp_path / "eng-deu.tsv", text)
    with pytest.raises(UserError, match=complaint):
        tatoeba(tmp_path)


def test_damaged_files_are_named(tmp_path: Path):
    whole = write(tmp_path / "en-de.tsv.gz", "good morning\tGuten Morgen\n" * 50).read_bytes()
    for broken in (whole[:-12], b"not gzip", whole[:20] + b"\xff" * 20 + whole[40:]):
        (tmp_path / "en-de.tsv.gz").write_bytes(broken)
        with pytest.raises(UserError, match=r"en-de.tsv.gz is damaged"):
            parallel(tmp_path)
    (tmp_path / "en-de.tsv.gz").unlink()
    (tmp_path / "en-de.tsv").write_bytes("grün\tgreen\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"en-de.tsv is not UTF-8"):
        parallel(tmp_path)


def test_folders_without_data_say_what_was_looked_for(tmp_path: Path):
    with pytest.raises(UserError, match=r"has no tatoeba/, pud/, sts/ or en-xx.tsv\[.gz\] files"):
        find(tmp_path)
    with pytest.raises(UserError, match=r"--data .*nothing is not a folder"):
        find(tmp_path / "nothing")
    (tmp_path / "tatoeba").mkdir()
    with pytest.raises(UserError, match=r"tatoeba has no eng-xx.tsv\[.gz\]"):
        find(tmp_path)


def test_pud_needs_english_shared_ids_and_unique_ids(tmp_path: Path):
    write(tmp_path / "de.tsv", "n1\teins\n")
    with pytest.raises(UserError, match="no en.tsv.gz"):
        pud(tmp_path)
    write(tmp_path / "en.tsv", "n2\ttwo\n")
    with pytest.raises(UserError, match=r"de.tsv shares no sentence id with en.tsv"):
        pud(tmp_path)
    write(tmp_path / "en.tsv", "n1\tone\nn1\ttwo\n")
    with pytest.raises(UserError, match="1 repeated sentence ids"):
        pud(tmp_path)


def test_sts_scores_are_numbers(tmp_path: Path):
    write(tmp_path / "de-dev.tsv", "a\tb\t5\nc\td\tgood\n")
    with pytest.raises(UserError, match="line 2: the third column should be a number, got 'good'"):
        sts(tmp_path)
    write(tmp_path / "de-dev.tsv", "a\tb\t5\n")
    with pytest.raises(UserError, match="at least 2 pairs, got 1"):
        sts(tmp_path)


def test_digest_changes_with_any_text_and_name(data: Path):
    found = find(data, "14")[1]
    assert isinstance(found, Parallel)
    changed = Parallel(name=found.name, pairs={"de": (["dritter", "erste"], ["third", "first"])})
    renamed = Parallel(name="other", pairs=found.pairs)
    assert len({digest(found), digest(changed), digest(renamed)}) == 3
    assert digest(found) == digest(find(data, "14")[1])


def test_mixed_texts_take_turns_and_do_not_repeat(data: Path):
    datasets = find(data, "14")
    texts = mixed_texts(datasets, 1000)
    assert len(texts) == len(set(texts)) == 14 * 2 + 2 + 2 + 2 + 4
    assert texts == mixed_texts(datasets, 1000)
    assert texts[:3] == ["ara eins", "one", "cmn eins"]
    assert len(mixed_texts(datasets, 5)) == 5


def test_the_real_data_reads(shared_data: Path):
    found = {dataset.name: dataset for dataset in find(shared_data, "112")}
    assert len(found["tatoeba"].pairs) == 112
    assert len(found["pud"].pairs) == 17
    assert {len(texts[0]) for texts in found["pud"].pairs.values()} == {1000}
    assert "en" in found["sts"].pairs
