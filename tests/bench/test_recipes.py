"""Recipes side by side: every one is written and measured, also those that the gates refuse."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("onnxscript", reason="exports need the extra 'onnx'")

from compact_labse.errors import UserError
from compact_labse.pipelines import load_pipeline


@pytest.fixture(scope="module")
def tool():
    return load_pipeline("bench", "recipes")


@pytest.mark.slow
def test_a_table_without_times_then_with_them(tool, tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tool, "ROWS", (tool.ROWS[0], tool.ROWS[2], tool.ROWS[4]))
    given = [str(tiny("minilm")), "--work", str(tmp_path / "work")]
    with pytest.raises(UserError, match="lacks float32, rows, dynamic: make them first, with --make"):
        tool.main(given)
    assert tool.main([*given, "--make"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["float32", "rows", "dynamic"]
    assert lines[2].split("|")[2:5] == [" - ", " - ", " - "]
    found = {name: json.loads((tmp_path / "work" / name / "figures.json").read_text()) for name, _, _ in tool.ROWS}
    assert found["rows"]["bytes"] < 0.7 * found["float32"]["bytes"]
    assert found["float32"]["others_worst"] > 0.99999 > found["rows"]["others_worst"]
    assert found["dynamic"]["invariance"] < 0.9999 < found["rows"]["invariance"], "the gate would have refused it"
    ms = {"torch": {1: 10.0, 32: 100.0}, **{name: {1: 2.5, 32: 50.0} for name in found}}
    monkeypatch.setattr(tool, "timed", lambda *_: ms)
    assert tool.main([*given, "--out", str(tmp_path / "new" / "recipes")]) == 0
    written = (tmp_path / "new" / "recipes.md").read_text()
    assert "| rows | 2.50 | 50.00 | 4.0x / 2.0x |" in written and "PyTorch in float32: 10.0 ms and 100.0 ms." in written
    assert json.loads((tmp_path / "new" / "recipes.json").read_text())["figures"] == found


def test_a_cosine_is_cut_and_not_rounded(tool):
    assert [tool.cut(value) for value in (1.0, 0.99996, 0.99994, 0.9876999)] == ["1", "1", "0.9999", "0.9876"]
