"""Timing in this process and in fresh ones, on tiny models."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compact_labse.encoder import Encoder, load
from compact_labse.errors import UserError
from compact_labse.measure.speed import latency, processes
from compact_labse.measure.speed.latency import Cell, real_text, repeat, texts_of_shape
from compact_labse.measure.speed.processes import CellFailed, run_cell, schedule, texts_file, thread_environment
from tests.tiny_models import TEXT


class Clock:
    """A clock that only its owner moves on, in whole microseconds, in place of the module `time`."""

    def __init__(self) -> None:
        self.us = 0

    def sleep(self, us: int) -> None:
        self.us += us

    def perf_counter(self) -> float:
        return self.us / 1e6

    process_time = perf_counter

    def perf_counter_ns(self) -> int:
        return 1000 * self.us


class Slow(Encoder):
    """Takes 1 ms to tokenize a text and 3 ms to run a batch; one token per character."""

    name, dim, max_tokens, token_budget = "slow", 2, None, 10_000

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    class tokens:
        pad_id, unk_id = 0, 1

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        self.clock.sleep(1000 * len(texts))
        return [[ord(character) for character in text] for text in texts]

    def forward(self, ids_BT: np.ndarray, mask_BT: np.ndarray) -> np.ndarray:
        self.clock.sleep(3000)
        return np.tile(np.float32([1, 0]), (len(ids_BT), 1))


def test_tokenizing_and_model_are_timed_apart(monkeypatch: pytest.MonkeyPatch):
    clock = Clock()
    monkeypatch.setattr(latency, "time", clock)
    found = latency.fixed_shape(Slow(clock), Cell(mode="fixed", batch=4, tokens=6, seconds=0.1), TEXT)
    assert found["tokenize_ms"]["p50"] == found["tokenize_ms"]["p95"] == 4
    assert found["model_ms"]["p50"] == found["model_ms"]["p95"] == 3


def test_shares_of_real_text_add_up(monkeypatch: pytest.MonkeyPatch):
    clock = Clock()
    monkeypatch.setattr(latency, "time", clock)
    found = real_text(Slow(clock), Cell(mode="text", count=10, seconds=0.1), TEXT)
    assert found["sentences"] == 10
    assert found["tokenize_share"] == pytest.approx(10 / 13, abs=1e-4)
    assert found["model_share"] == pytest.approx(3 / 13, abs=1e-4)
    assert found["sentences_per_s"] == pytest.approx(10 / 0.013, abs=0.01)


def test_repeat_warms_up_and_runs_long_enough():
    calls: list[float] = []
    found = repeat(lambda: calls.append(time.perf_counter()), 0.05)
    assert len(calls) > len(found) >= 5
    assert calls[-1] - calls[0] >= 0.05
    assert len(repeat(lambda: time.sleep(0.02), 0.01, fewest=5)) == 5


def test_raw_values_are_thinned_evenly_but_percentiles_are_of_all():
    found = latency._summary([float(n) for n in range(1001)])
    assert found["calls"] == 1001
    assert len(found["raw"]) <= 200
    assert (found["raw"][0], found["p50"]) == (0, 500)
    assert latency._summary([1.0, 2.0])["raw"] == [1, 2]


@pytest.mark.parametrize("name", ["minilm", "static", "xlmr"])
@pytest.mark.parametrize("tokens", [4, 20])
def test_shapes_are_exact_and_texts_are_cut_to_them(tiny: Callable[[str], Path], name: str, tokens: int):
    encoder = load(str(tiny(name)), threads=1)
    rows, ids_BT = texts_of_shape(encoder, TEXT, 5, tokens)
    assert ids_BT.shape == (5, tokens)
    assert ids_BT.dtype == np.int64
    assert all(0 < len(ids) <= tokens for ids in encoder.tokenize(rows))
    assert len({tuple(ids) for ids in ids_BT.tolist()}) == 5
    assert np.isfinite(encoder.forward(ids_BT, np.ones_like(ids_BT))).all()


def test_a_shape_that_the_model_cannot_take_is_said(tiny: Callable[[str], Path]):
    encoder = load(str(tiny("minilm")), threads=1)
    assert encoder.max_tokens is not None
    with pytest.raises(UserError, match=f"takes at most {encoder.max_tokens} tokens, not 1000"):
        texts_of_shape(encoder, TEXT, 1, 1000)


def test_cells_are_checked_and_named():
    assert Cell(mode="fixed", batch=32).name == "32x20"
    assert Cell(mode="text", threads=2).name == "text@2"
    assert Cell(mode="fixed", device="cuda").name == "1x20 cuda"
    assert "batch" not in Cell(mode="text").config()
    assert Cell(**Cell(mode="fixed", batch=3).config()) == Cell(mode="fixed", batch=3)
    with pytest.raises(UserError, match="mode must be one of fixed, text, long"):
        Cell(mode="fast")
    with pytest.raises(UserError, match="seconds must be above 0, got 0"):
        Cell(mode="text", seconds=0)


def test_rounds_interleave_the_artifacts():
    cells = [Cell(mode="fixed"), Cell(mode="text")]
    steps = [(number, name, cell.mode) for number, name, cell in schedule([(n, c) for c in cells for n in "AB"], 2)]
    one = [("A", "fixed"), ("B", "fixed"), ("A", "text"), ("B", "text")]
    assert steps == [(number, *step) for number in range(2) for step in one]


def test_thread_pools_are_pinned():
    found = thread_environment(3)
    assert {found[f"{pool}_NUM_THREADS"] for pool in ("OMP", "MKL", "RAYON")} == {"3"}
    assert thread_environment(1)["TOKENIZERS_PARALLELISM"] == "false"


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.json"
    path.write_text(json.dumps(TEXT), encoding="utf-8")
    return path


@pytest.mark.parametrize("mode", ["fixed", "text"])
def test_a_fresh_process_measures_a_model(tiny: Callable[[str], Path], texts: Path, mode: str):
    found = run_cell(str(tiny("static")), Cell(mode=mode, seconds=0.05, count=8), texts)
    assert found["cold_start_ms"] > 50
    memory = found["memory"]
    assert 5e6 < memory["baseline"] < memory["loaded"] <= memory["peak"]
    assert memory["end"] <= memory["peak"]
    if mode == "fixed":
        assert 0 < found["model_ms"]["p50"] <= found["model_ms"]["p95"] <= found["model_ms"]["p99"]
    else:
        assert found["sentences_per_s"] > 0


def test_what_a_model_prints_does_not_matter(monkeypatch: pytest.MonkeyPatch, texts: Path, tmp_path: Path):
    (tmp_path / "sitecustomize.py").write_text("import atexit; print('hello {}'); atexit.register(print, 'bye')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(CellFailed, match="no-such-model"):
        run_cell("./no-such-model", Cell(mode="text", seconds=0.05), texts)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise ValueError('weights are odd')", "ValueError: weights are odd"),
        ("import os; os.kill(os.getpid(), 9)", "out of memory, probably: the process was killed"),
        ("import os; os.kill(os.getpid(), 11)", "died of signal SIGSEGV"),
        ("raise MemoryError", "MemoryError"),
        ("import os; os._exit(7)", "ended with exit code 7"),
        ("import time; time.sleep(60)", "took longer than 1 s"),
    ],
)
def test_a_process_that_dies_says_why_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, texts: Path, tmp_path: Path, code: str, message: str
):
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nif 'compact_labse' in str(sys.orig_argv):\n    {code}")
    (tmp_path / "usercustomize.py").write_text("")
    real: Callable[[int], dict[str, str]] = thread_environment

    def environment(threads: int) -> dict[str, Any]:
        return {**real(threads), "PYTHONPATH": f"{tmp_path}:{real(threads)['PYTHONPATH']}"}

    # sitecustomize swallows exceptions, so the fatal line is moved into the module that is run.
    if code.startswith("raise"):
        fake = tmp_path / "compact_labse" / "measure" / "speed"
        fake.mkdir(parents=True)
        for package in (fake, fake.parent, fake.parents[1]):
            (package / "__init__.py").touch()
        (fake / "latency.py").write_text(code)
        (tmp_path / "sitecustomize.py").unlink()
    monkeypatch.setattr(processes, "thread_environment", environment)
    with pytest.raises(CellFailed, match=message):
        run_cell("any", Cell(mode="text"), texts, timeout_s=1 if "sleep" in code else 60)


def test_texts_travel_in_a_file_that_disappears():
    with texts_file(["a", "\ud800", "b"]) as path:
        assert json.loads(path.read_text(encoding="utf-8")) == ["a", "\ud800", "b"]
    assert not path.exists()
