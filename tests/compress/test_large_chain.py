"""The parts of `bench/large_chain.py`: what a command took, and that one that fails ends the chain."""

from __future__ import annotations

import sys

import pytest

from compact_labse.pipelines import load_pipeline

EAT = "import sys; eaten = bytearray(300_000_000); sum(range(3_000_000)); sys.exit(int(sys.argv[1]))"


def test_a_command_is_measured_alone():
    chain = load_pipeline("bench", "large_chain")
    idle = chain.measured([sys.executable, "-c", "pass"])
    found = chain.measured([sys.executable, "-c", EAT, "0"])
    assert found["peak_rss_mb"] > 300 > idle["peak_rss_mb"], "a child before it does not count"
    assert found["cpu_s"] > 0
    assert chain.measured([sys.executable, "-c", "pass"])["peak_rss_mb"] < 300


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
