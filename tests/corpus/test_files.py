"""Which files paths, folders, globs and hub names stand for."""

from __future__ import annotations

from pathlib import Path

import pytest

from compact_labse.corpus.files import PAIR_KINDS, TEXT_KINDS, Source, find_sources, format_of
from compact_labse.errors import UserError


@pytest.fixture
def corpora(tmp_path: Path) -> Path:
    for name in ("b/en-de.tsv.gz", "a/en-fr.tsv", "a/notes.txt", "README.md", ".hidden.tsv", ".git/x.tsv", "c.JSONL"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def names(root: Path, sources: list[Source]) -> list[str]:
    return [str(Path(source.name).relative_to(root)) for source in sources]


def test_a_folder_is_walked_in_order_without_hidden_files_and_other_formats(corpora: Path) -> None:
    assert names(corpora, find_sources(corpora, None, PAIR_KINDS)) == ["c.JSONL", "a/en-fr.tsv", "b/en-de.tsv.gz"]
    assert names(corpora, find_sources(str(corpora), None, TEXT_KINDS)) == [
        "c.JSONL",
        "a/en-fr.tsv",
        "a/notes.txt",
        "b/en-de.tsv.gz",
    ]


def test_globs_are_sorted_and_may_match_folders(corpora: Path) -> None:
    assert names(corpora, find_sources(f"{corpora}/*/en-*", None, PAIR_KINDS)) == ["a/en-fr.tsv", "b/en-de.tsv.gz"]
    assert names(corpora, find_sources(f"{corpora}/[ab]", None, PAIR_KINDS)) == ["a/en-fr.tsv", "b/en-de.tsv.gz"]
    assert names(corpora, find_sources(f"{corpora}/**/*.gz", None, PAIR_KINDS)) == ["b/en-de.tsv.gz"]


def test_a_name_with_brackets_is_a_file_before_it_is_a_glob(tmp_path: Path) -> None:
    path = tmp_path / "part[1].tsv"
    path.write_text("a\tb\n")
    assert names(tmp_path, find_sources(path, None, PAIR_KINDS)) == ["part[1].tsv"]


def test_the_order_of_several_paths_is_kept(corpora: Path) -> None:
    paths = [corpora / "b", "hf:some/set:en-de", corpora / "a/en-fr.tsv"]
    sources = find_sources(paths, None, PAIR_KINDS)
    assert [source.kind for source in sources] == ["tsv", "hub", "tsv"]
    assert [source.named for source in sources] == [False, True, True]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.tsv", "tsv"),
        ("a.b.TSV.XZ", "tsv"),
        ("a.ndjson.bz2", "jsonl"),
        ("train-00000-of-00002.parquet", "parquet"),
        ("wiki.tfrecord-00001-of-00010", "tfrecord"),
        ("wiki.tfrecords.gz", "tfrecord"),
        ("a.txt.zst", "text"),
        ("a.csv", None),
        ("a.gz", None),
        ("tsv", None),
    ],
)
def test_format_of(name: str, kind: str | None) -> None:
    assert format_of(name) == kind


@pytest.mark.parametrize(
    ("name", "kind", "languages"),
    [
        ("/data/x/en-zh-Hant.tsv.gz", "tsv", ("en", "zh-Hant")),
        ("OpenSubtitles.en-pt-BR.tsv", "tsv", ("en", "pt-BR")),
        ("eng-deu.tsv", "tsv", ("eng", "deu")),
        ("hf:Helsinki-NLP/opus_books:en-fr:train", "hub", ("en", "fr")),
        ("my-corpus.tsv", "tsv", None),
        ("/en-de/pairs.tsv", "tsv", None),
        ("tagged-00001-of-00002.tsv", "tsv", None),
    ],
)
def test_languages_of_a_name(name: str, kind: str, languages: tuple[str, str] | None) -> None:
    assert Source(name, kind).languages == languages


def test_what_is_wrong_with_a_path_is_said(corpora: Path) -> None:
    (corpora / "empty.tsv").touch()
    (corpora / "docs").mkdir()
    (corpora / "docs/a.md").write_text("x")
    for path, message in {
        "missing.tsv": r"no such file or folder: .*missing\.tsv",
        "x*.tsv": r"no file matches '.*x\*\.tsv'",
        "empty.tsv": r"empty\.tsv is empty \(0 bytes\)",
        "docs": r"docs has no corpus file in it; a corpus file ends in one of \.jsonl.*\.tsv",
        "docs/*": r"has no corpus file in it",
        "README.md": r"the name of .*README\.md does not tell its format: end it in one of .*or name its kind",
        "a/notes.txt": r"notes\.txt is plain text, which has one side; pairs need one of tsv, jsonl",
    }.items():
        with pytest.raises(UserError, match=message):
            find_sources(corpora / path, None, PAIR_KINDS)
    with pytest.raises(UserError, match="no corpus was named"):
        find_sources([], None, PAIR_KINDS)
    with pytest.raises(UserError, match=r"unknown kind of corpus file 'csv'; known here: tsv, jsonl"):
        find_sources(corpora, "csv", PAIR_KINDS)


def test_a_kind_reads_any_name(corpora: Path) -> None:
    assert find_sources(corpora / "README.md", "tsv", PAIR_KINDS) == [Source(str(corpora / "README.md"), "tsv")]
