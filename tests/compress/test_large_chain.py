"""The parts of `bench/large_chain.py`: what a command took, and that one that fails ends the chain."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from compact_labse.pipelines import load_pipeline

EAT = "import sys; eaten = bytearray(300_000_000); sum(range(3_000_000)); sys.exit(int(sys.argv[1]))"


MEASURED = """
import json, sys
from compact_labse.pipelines import load_pipeline
chain, idle = load_pipeline("bench", "large_chain"), [sys.executable, "-c", "pass"]
print(json.dumps([chain.measured(words) for words in (idle, [sys.executable, "-c", sys.argv[1], "0"], idle)]))
"""


def test_a_command_is_measured_alone():
    """In a process of its own: a child starts as its parent's copy, and this one may be large already."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, EAT], capture_output=True, text=True, check=True, timeout=200
    )
    before, found, after = json.loads(done.stdout)
    assert found["peak_rss_mb"] > 300 > max(before["peak_rss_mb"], after["peak_rss_mb"])
    assert found["cpu_s"] > 0


def test_a_command_that_fails_ends_the_chain():
    chain = load_pipeline("bench", "large_chain")
    with pytest.raises(SystemExit, match="exit code 3: "):
        chain.measured([sys.executable, "-c", EAT, "3"])


def test_only_weights_count(tmp_path):
    chain = load_pipeline("bench", "large_chain")
    for name in ("model.safetensors", "onnx/model_int8.onnx", "onnx/model_int8.onnx.data", "tokenizer.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes(1_000_000))
    assert chain.size(tmp_path) == 3.0
