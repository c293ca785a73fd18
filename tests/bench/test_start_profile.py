"""Steps of a start: what each took, in this process and in a fresh one."""

from __future__ import annotations

import json
import mmap
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from compact_labse.errors import UserError
from compact_labse.locate import locate
from compact_labse.measure.speed import processes
from compact_labse.measure.speed.latency import Cell
from compact_labse.measure.speed.start import Steps
from compact_labse.pipelines import load_pipeline

start_profile = load_pipeline("bench", "start_profile")


def test_a_step_is_charged_for_its_own_time_and_memory():
    steps, kept = Steps(time.time()), []

    def heavy(size: int) -> str:
        block = mmap.mmap(-1, size)
        block.write(b"1" * size)
        kept.append(block)
        time.sleep(0.05)
        return "done"

    module = SimpleNamespace(heavy=heavy)
    steps.after(module, "heavy", "heavy")
    steps.mark("before")
    assert module.heavy(30_000_000) == "done"
    steps.mark("after")
    rows = {row["step"]: row for row in steps.rows}
    assert list(rows) == ["before", "heavy", "after"]
    assert rows["heavy"]["ms"] >= 50 > rows["after"]["ms"]
    assert rows["heavy"]["bytes"] > 25e6 > rows["after"]["bytes"]


def test_a_fresh_process_is_taken_apart():
    found = start_profile.rounds(locate("default"), ["a", "b c", "d"], 1, sys.executable)
    names = [row["step"] for row in found[0]]
    libraries = [f"import {name}" for name in ("numpy", "onnxruntime", "tokenizers", "ours")]
    opened = ["check the hashes", "open the model", "tokenizer", "first vector"]
    assert names == ["Python", *libraries, *opened, "3 texts"]
    assert all(row["ms"] > 0 for row in found[0])
    table = start_profile.table(found)
    total = next(row for row in table.rows if row[0].text == "to the first vector")
    assert total[1].value == pytest.approx(sum(row["ms"] for row in found[0][:-1]))
    assert 20 < total[2].value < 400


def test_what_cannot_be_opened_is_one_sentence(tmp_path: Path):
    (tmp_path / "broken.onnx").write_text("no model")
    with pytest.raises(UserError, match=r"^\S*broken.onnx \(8 bytes\) is not a whole ONNX model"):
        start_profile.rounds(tmp_path / "broken.onnx", ["a"], 1, sys.executable)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    with pytest.raises(UserError, match="is no exported file"):
        start_profile.main([str(tmp_path / "model")])


def test_looking_for_idle_cores_is_no_part_of_a_cold_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """It is a tenth of a second, and was counted."""
    monkeypatch.setattr(processes, "idle_cores", lambda threads: time.sleep(0.3) or [])
    monkeypatch.setattr(processes, "answer", lambda command, **_: json.loads(command[-1]))
    before = time.time()
    request = processes.run_cell("default", Cell(mode="fixed"), tmp_path)
    assert request["started"] >= before + 0.3
