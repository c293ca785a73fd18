"""The speed benchmark runs, compares equal work, and holds the loop to its limit."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from compact_labse.pipelines import load_pipeline, pipeline_folder

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


@pytest.mark.slow
def test_the_loop_is_at_least_70_percent_as_fast_as_a_bare_one():
    command = [sys.executable, str(pipeline_folder("distill") / "speed.py")]
    environment = os.environ | {"PYTHONPATH": str(pipeline_folder("distill").parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
