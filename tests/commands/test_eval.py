"""`compact-labse eval` through the real command line, on tiny models."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from compact_labse.cli import main
from compact_labse.measure.quality import evaluate

PAIRS = [("Good morning", "Guten Morgen"), ("The train is late", "Der Zug ist spät"), ("I like tea", "Ich mag Tee")]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "pairs"
    folder.mkdir()
    (folder / "en-de.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in PAIRS), encoding="utf-8")
    (folder / "en-fr.tsv").write_text("".join(f"{a}\t{a} !\n" for a, _ in PAIRS), encoding="utf-8")
    return folder


def test_tables_name_models_means_and_weakest_languages(
    tiny: Callable[[str], Path], data: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["eval", str(tiny("minilm")), f"bag={tiny('static')}", "--data", str(data)]) == 0
    out = capsys.readouterr().out
    assert "pairs xx→en" in out
    assert "Weakest languages" in out
    assert {"minilm", "bag"} <= {line.split()[0] for line in out.splitlines() if line}


def test_the_embedded_text_is_the_default(tiny: Callable[[str], Path], capsys: pytest.CaptureFixture[str]):
    assert main(["eval", str(tiny("static")), "--json"]) == 0
    (found,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert found["config"]["dataset"] == "sample"
    assert {"de", "ja"} <= set(found["values"]["languages"])


def test_a_teacher_adds_agreement_and_with_itself_it_is_perfect(
    tiny: Callable[[str], Path], data: Path, capsys: pytest.CaptureFixture[str]
):
    words = ["eval", str(tiny("minilm")), "--teacher", str(tiny("minilm")), "--data", str(data), "--json"]
    assert main(words) == 0
    quality, agreement = map(json.loads, capsys.readouterr().out.splitlines())
    assert (quality["kind"], agreement["kind"]) == ("quality", "agreement")
    assert agreement["values"]["means"]["all"]["mean_cosine"] == pytest.approx(1, abs=1e-4)
    assert agreement["values"]["languages"]["en"]["top10_overlap"] == 100


def test_the_text_of_least_agreement_is_quoted(
    tiny: Callable[[str], Path], data: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["eval", str(tiny("minilm")), "--teacher", f"T={tiny('xlmr')}", "--data", str(data)]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("Least agreement of minilm with T on pairs: ")
    assert any(repr(text) in last for pair in PAIRS for text in (*pair, f"{pair[0]} !"))


def test_a_second_run_measures_only_what_is_missing(
    tiny: Callable[[str], Path], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "results.jsonl"
    words = ["eval", str(tiny("static")), "--data", str(data), "--out", str(out)]
    assert main(words) == 0
    before = out.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "retrieval_accuracy", None)  # measuring again would call it
        assert main(words) == 0
    assert out.read_bytes() == before
    (data / "en-fr.tsv").write_text("Good night\tBonne nuit\n", encoding="utf-8")
    assert main(words) == 0
    assert len(out.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["./nothing"], "nothing"),
        (["--data", "./nothing", "{static}"], "--data nothing is not a folder"),
        (["--threads", "0", "{static}"], "--threads must be at least 1, got 0"),
        (["--tatoeba-set", "37", "{static}"], "invalid choice: '37'"),
        (["--out", "{static}/README.md", "{static}"], "README.md is not a results file"),
        ([], "MODEL"),
    ],
)
def test_mistakes_are_one_sentence(
    tiny: Callable[[str], Path], capsys: pytest.CaptureFixture[str], words: list[str], complaint: str
):
    (tiny("static") / "README.md").write_text("# a card\n")
    assert main(["eval", *(word.format(static=tiny("static")) for word in words)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert complaint in line


def test_a_report_shows_all_that_the_results_hold(tiny: Callable[[str], Path], data: Path, tmp_path: Path):
    out, report = tmp_path / "results.jsonl", tmp_path / "report"
    words = ["--data", str(data), "--out", str(out), "--report", str(report)]
    assert main(["eval", f"first={tiny('static')}", "--full", *words]) == 0
    assert main(["eval", f"second={tiny('minilm')}", *words]) == 0
    assert {path.name for path in report.iterdir()} == {"report.html", "report.md"}
    text = (report / "report.md").read_text(encoding="utf-8")
    assert "| first |" in text
    assert "| second |" in text
    assert "## Truncated vectors" in text


def test_a_measure_that_fails_is_told_by_the_exit_code(
    tiny: Callable[[str], Path], data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(evaluate, "retrieval_accuracy", None)
    assert main(["eval", str(tiny("static")), "--data", str(data)]) == 1
    assert "Failed: static, quality on pairs: TypeError" in capsys.readouterr().out
