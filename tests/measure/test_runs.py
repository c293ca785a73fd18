"""Rounds that resume, skip what is known, and do not insist on what fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compact_labse.measure.artifact import Artifact
from compact_labse.measure.results import Results
from compact_labse.measure.speed import speeds
from compact_labse.measure.speed.latency import Cell
from compact_labse.measure.speed.processes import CellFailed
from compact_labse.measure.speed.speeds import record_speeds
from tests.measure.records import model

A, B = Artifact(**model("a")), Artifact(**model("b"))
PAIRS = [(artifact, Cell(mode=mode)) for mode in ("fixed", "text") for artifact in (A, B)]


class Machine:
    """Stands for the fresh processes: notes what was asked for, fails on demand."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.fail: set[tuple[str, str]] = set()
        self.stop_after = 1000

    def __call__(self, spec: str, cell: Cell, texts: Path) -> dict[str, Any]:
        step = Path(spec).name, cell.mode
        if len(self.asked) == self.stop_after:
            raise KeyboardInterrupt
        self.asked.append(step)
        if step in self.fail:
            raise CellFailed("no")
        return {"model_ms": {"p50": 1.0}}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    found = Machine()
    monkeypatch.setattr(speeds, "run_cell", found)
    return found


def test_artifacts_take_turns_in_every_round(machine: Machine):
    record_speeds(Results(), PAIRS, 2, ["text"])
    assert machine.asked == [("a", "fixed"), ("b", "fixed"), ("a", "text"), ("b", "text")] * 2


def test_an_interrupted_run_continues_where_it_stopped(machine: Machine, tmp_path: Path):
    path = tmp_path / "results.jsonl"
    machine.stop_after = 3
    with pytest.raises(KeyboardInterrupt):
        record_speeds(Results(path), PAIRS, 2, ["text"])
    machine.stop_after = 1000
    record_speeds(Results(path), PAIRS, 2, ["text"])
    assert machine.asked == [("a", "fixed"), ("b", "fixed"), ("a", "text"), ("b", "text")] * 2
    record_speeds(Results(path), PAIRS, 3, ["text"])
    assert len(machine.asked) == 12
    record_speeds(Results(path), PAIRS, 3, ["another text"])
    assert len(machine.asked) == 24


def test_what_failed_is_not_tried_again_in_this_run_but_in_the_next(machine: Machine):
    results = Results()
    machine.fail = {("a", "fixed")}
    record_speeds(results, PAIRS, 3, ["text"])
    assert machine.asked.count(("a", "fixed")) == 1
    assert machine.asked.count(("b", "fixed")) == machine.asked.count(("a", "text")) == 3
    assert [found["kind"] for found in results.records].count("failure") == 1
    machine.fail = set()
    record_speeds(results, PAIRS, 3, ["text"])
    assert machine.asked.count(("a", "fixed")) == 4
