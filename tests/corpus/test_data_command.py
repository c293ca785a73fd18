"""`compact-labse data clean` as a user runs it."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from compact_labse import cli
from compact_labse.commands.data import EXAMPLE
from compact_labse.corpus.read import read_pairs, read_texts

Run = Callable[..., int]


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setitem(cli.COMMANDS, "data", ("compact_labse.commands.data", "clean corpora"))
    return lambda *words: cli.main(["data", "clean", *map(str, words)])


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "en-de.tsv").write_text(
        "Good  morning\tGuten Morgen\nGood morning\tguten morgen\nHow are you?\tWie geht's?\n"
    )
    (folder / "en-ru.tsv").write_text("Thanks\tСпасибо\nThanks\tThanks\nbroken\nBerlin\tБерлин\n")
    return folder


@pytest.mark.parametrize("name", ["out.tsv", "out.tsv.gz", "new/out.jsonl", "out.jsonl.zst"])
def test_what_is_written_is_read_again(clean: Run, corpus: Path, tmp_path: Path, name: str) -> None:
    assert clean(corpus, "--out", tmp_path / name) == 0
    assert clean(corpus, "--out", tmp_path / name, "--overwrite") == 0
    assert list(read_pairs(tmp_path / name)) == [
        ("Good morning", "Guten Morgen", "de"),
        ("How are you?", "Wie geht's?", "de"),
        ("Thanks", "Спасибо", "ru"),
        ("Berlin", "Берлин", "ru"),
    ]
    assert {path.name for path in tmp_path.iterdir()} == {"corpus", name.split("/")[0]}


def test_what_is_there_is_kept_unless_told_otherwise(
    clean: Run, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out.tsv").write_text("weeks of work")
    assert clean(corpus, "--out", tmp_path / "out.tsv") == 2
    assert "out.tsv exists; choose another name or allow overwriting it (--overwrite)" in capsys.readouterr().err
    assert (tmp_path / "out.tsv").read_text() == "weeks of work"


def test_the_account_goes_to_stdout_and_malformed_lines_to_stderr(
    clean: Run, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "eval.tsv").write_text("7\tHOW ARE YOU\n")
    assert clean(corpus, "--eval", tmp_path / "eval.tsv", "--out", tmp_path / "out.tsv.gz") == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "read 6, kept 3 (50.0 %), dropped 3"
    assert "evaluation sentence" in out
    assert "copy" in out
    assert "en-ru.tsv, line 3: too few columns (there are 1)" in err
    assert (
        gzip.decompress((tmp_path / "out.tsv.gz").read_bytes()).decode().splitlines()[0] == "source\ttarget\tlanguage"
    )


def test_limits_and_switches(clean: Run, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    options = ["--keep-copies", "--keep-duplicates", "--keep-letterless", "--min-script", "0", "--max-chars", "11"]
    assert clean(corpus, "--out", out, *options) == 0
    targets = [json.loads(line)["target"] for line in out.read_text().splitlines()]
    assert targets == ["Спасибо", "Thanks", "Берлин"]


def test_columns_and_languages(clean: Run, tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_text("de\ten\tcode\neins\tone\txx\n")
    out = tmp_path / "out.tsv"
    assert (
        clean(tmp_path / "a.dat", "--kind", "tsv", "--columns", "en,de", "--language-column", "code", "--out", out) == 0
    )
    assert list(read_pairs(out)) == [("one", "eins", "xx")]
    assert (
        clean(tmp_path / "a.dat", "--kind", "tsv", "--columns", "2,0", "--language", "de", "--out", out, "--overwrite")
        == 0
    )
    assert list(read_pairs(out)) == [("code", "de", "de"), ("xx", "eins", "de")]


def test_texts(clean: Run, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Привет\nпривет\nhello\nмир\n")
    (tmp_path / "eval.txt").write_text("Мир!\n")
    for name in ("out.txt.xz", "out.jsonl"):
        words = ["--texts", "--language", "ru", "--eval", tmp_path / "eval.txt", "--out", tmp_path / name]
        assert clean(tmp_path / "a.txt", *words) == 0
        assert list(read_texts(tmp_path / name)) == ["Привет"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["missing.tsv", "--out", "x.tsv"], "no such file or folder: missing.tsv"),
        (["CORPUS", "--out", "x.parquet"], "--out x.parquet: write .tsv or .jsonl, also .gz, .zst, .xz or .bz2"),
        (["CORPUS", "--out", "x.txt"], "--out x.txt: write .tsv or .jsonl"),
        (["CORPUS", "--out", "x.tsv", "--texts"], "--out x.tsv: write .txt or .jsonl"),
        (["CORPUS", "--out", "x.txt", "--texts", "--language-column", "1"], "--language-column is for pairs"),
        (
            ["CORPUS", "--out", "x.tsv", "--columns", "sorce,target"],
            "has no column 'sorce'; its columns are: Good  morning",
        ),
        (["CORPUS", "--out", "x.tsv", "--max-bad", "0"], "line 3: too few columns (there are 1); with it 1 malformed"),
        (["CORPUS", "--out", "x.tsv", "--max-ratio", "0"], "max_ratio is longer over shorter side"),
        (["CORPUS", "--out", "x.tsv", "--min-chars", "99"], "nothing was left to write to x.tsv: read 6, kept 0"),
        (["CORPUS", "--out", "x.tsv", "--eval", "nope"], "no such file or folder: nope"),
        (["CORPUS"], "the following arguments are required: --out; see `compact-labse data clean --help`"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_no_file(
    clean: Run,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert clean(*[corpus if word == "CORPUS" else word for word in words]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error
    assert {path.name for path in tmp_path.iterdir()} == {"corpus"}


def test_help_shows_its_example_in_one_piece(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "clean", "--help"]) == 0
    assert EXAMPLE in capsys.readouterr().out.splitlines()


def test_help_is_cheap() -> None:
    code = "import sys, compact_labse.commands.data; print({'numpy', 'pyarrow', 'datasets', 'rich'} & set(sys.modules))"
    root = Path(cli.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout == "set()\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_said(clean: Run, corpus: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "x.tsv").symlink_to("/dev/full")
    assert clean(corpus, "--out", tmp_path / "x.tsv") != 0
    assert "full" in capsys.readouterr().err.splitlines()[-1]
