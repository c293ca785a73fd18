"""The table of runtimes is made from results, and one that differs from them is noticed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compact_labse.errors import UserError
from compact_labse.measure.results import Results
from compact_labse.measure.speed.latency import Cell
from compact_labse.pipelines import load_pipeline
from tests.measure.records import model, speed

runtime_table = load_pipeline("bench", "runtime_table")
TEXT, SHORT = Cell(mode="text", count=10), Cell(mode="fixed")
MANY = Cell(mode="text", count=10, threads=4)


def measured(cell: Cell, onnx: list[float], litert: list[float]) -> list:
    """Rounds of both runtimes in one cell, in milliseconds."""
    return [
        speed(model("ours", runtime), ms, number, cell)
        for runtime, times in (("onnxruntime", onnx), ("litert", litert))
        for number, ms in enumerate(times)
    ]


def test_real_text_decides():
    records = measured(TEXT, [2, 4, 2, 2, 2], [1, 2, 1.1, 1, 1]) + measured(SHORT, [1] * 5, [9] * 5)
    found = runtime_table.choice(records)
    assert found["runtimes"] == ["litert", "onnxruntime"]
    assert found["decided_by"]["litert over onnxruntime"]["cell"] == "text"
    assert found["decided_by"]["litert over onnxruntime"]["ratio"] == 2
    slower = runtime_table.choice(measured(TEXT, [1, 2, 1, 1, 1], [2, 4, 2, 2, 2]))
    assert slower["runtimes"] == ["onnxruntime", "litert"]


def test_a_tie_goes_to_the_shapes_and_at_last_to_the_base_installation():
    tie = measured(TEXT, [1, 2, 1, 2, 1], [2, 1, 1, 1, 2])
    found = runtime_table.choice(tie + measured(SHORT, [3] * 5, [1] * 5))
    assert (found["runtimes"][0], found["decided_by"]["litert over onnxruntime"]["cell"]) == ("litert", "1x20")
    found = runtime_table.choice(tie)
    assert (found["runtimes"][0], found["decided_by"]["litert over onnxruntime"]) == ("onnxruntime", "all ties")
    one_round = runtime_table.choice(measured(TEXT, [9], [1]))
    assert one_round["runtimes"][0] == "onnxruntime"


def test_all_cores_are_used_where_they_are_faster_or_nobody_measured():
    text = measured(TEXT, [2.0] * 5, [4.0] * 5)
    assert runtime_table.choice(text)["threads"] == "all"
    assert runtime_table.choice(text)["decided_by"]["threads"] == "not measured"
    faster = runtime_table.choice(text + measured(MANY, [1.0] * 5, [9.0] * 5))
    assert (faster["threads"], faster["decided_by"]["threads"]["ratio"]) == ("all", 2)
    slower = runtime_table.choice(text + measured(MANY, [3.0] * 5, [1.0] * 5))  # the other runtime's does not count
    assert slower["threads"] == "one"


def test_the_table_is_written_once_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = ["--results", str(tmp_path), "--out", str(tmp_path / "table.json")]
    with pytest.raises(UserError, match=r"has no student.jsonl, minilm.jsonl"):
        runtime_table.main(words)
    for name in runtime_table.SOURCES.values():
        results = Results(tmp_path / name)
        for each in measured(TEXT, [2] * 5, [1] * 5):
            results.add(each | {"versions": {"onnxruntime": "1", "ai-edge-litert": "2"}})
    assert runtime_table.main([*words, "--check"]) == 1
    assert runtime_table.main(words) == 0
    assert runtime_table.main([*words, "--check"]) == 0
    table = json.loads((tmp_path / "table.json").read_text())
    assert table["kinds"]["static"]["runtimes"] == ["litert", "onnxruntime"]
    table["kinds"]["static"]["runtimes"].reverse()
    (tmp_path / "table.json").write_text(json.dumps(table))
    assert runtime_table.main([*words, "--check"]) == 1
    assert "differs from its results" in capsys.readouterr().err


def test_the_committed_table_is_what_the_committed_results_say():
    assert runtime_table.main(["--check"]) == 0
