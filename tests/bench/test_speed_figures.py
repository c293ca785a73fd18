"""The peers' table comes from results, and one that differs is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from compact_labse.errors import UserError
from compact_labse.measure.results import Results, record
from compact_labse.measure.speed.latency import Cell
from compact_labse.pipelines import load_pipeline
from tests.measure.records import model, speed

speed_figures = load_pipeline("bench", "speed_figures")
TEXT = Cell(mode="text", count=10)
README = "before\n<!-- figures:begin -->\n<!-- figures:end -->\nafter\n"


def write(folder: Path, name: str, ours: float, peer: str) -> Results:
    results = Results(folder / name)
    for number in range(5):
        for label, ms in (("ours", ours), (peer, 6.0), ("ours litert", ours * (0.9 + number / 20))):
            results.add(speed(model(label), ms, number, TEXT))
    long = speed(model("ours"), 1.0, 0, Cell(mode="long", count=2000))
    results.add(long)
    results.add(record("cold start", model("ours"), {"rounds": 3}, {"seconds": [0.2, 0.3, 0.4], "median": 0.3}))
    return results


def test_the_table_has_a_column_for_each_model_and_says_tie(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
    words = ["--results", str(tmp_path)]
    write(tmp_path, "minilm.jsonl", 2.0, "fastembed")
    with pytest.raises(UserError, match=r"needs minilm.jsonl, student.jsonl"):
        speed_figures.main(words)
    student = write(tmp_path, "student.jsonl", 1.0, "torch fp32")
    assert speed_figures.main([*words, "--check"]) == 1
    assert "differs from its results" in capsys.readouterr().err
    assert speed_figures.main(words) == 0
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert text.startswith("before\n") and text.endswith("after\n")
    assert "| real text: over fastembed | 3.00 (3.00 to 3.00) | – |" in text
    assert "| real text: over torch fp32 | – | 6.00 (6.00 to 6.00) |" in text
    assert "| real text: over ours in LiteRT | tie (0.90 to 1.10) | tie (0.90 to 1.10) |" in text
    assert "| peak MB of ours in ONNX Runtime, 2,000 sentences (file) | 90 (16) | 90 (16) |" in text
    assert "| cold start, s | 0.30 (0.20 to 0.40) | 0.30 (0.20 to 0.40) |" in text
    assert "Real text is 10 sentences; ratios are over 5 rounds" in text
    assert speed_figures.main([*words, "--check"]) == 0
    student.add(speed(model("torch fp32"), 60.0, 0, TEXT) | {"date": "2999-01-01"})
    assert speed_figures.main([*words, "--check"]) == 1


def test_the_committed_table_is_up_to_date():
    assert speed_figures.main(["--check"]) == 0
