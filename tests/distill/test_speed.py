"""The speed benchmark runs, and its verdict has a limit; the timing itself is `python distill/speed.py`, not a test."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from compact_labse.pipelines import load_pipeline

TINY = {"vocabulary": 300, "batch": 16, "steps": 2, "repeats": 1, "pairs": 200}


@pytest.mark.parametrize("kind", ["static", "bert"])
def test_both_loops_run(kind, capsys):
    speed = load_pipeline("distill", "speed")
    assert speed.run(speed.SpeedConfig(kind=kind, **TINY)) > 0
    assert "bare loop" in capsys.readouterr().out


def test_too_slow_a_loop_fails():
    speed = load_pipeline("distill", "speed")
    assert speed.verdict([0.9, 0.71]) == 0
    assert speed.verdict([0.9, 0.69]) == "slower than 70% of a bare loop"
