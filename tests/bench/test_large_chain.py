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


@pytest.mark.slow
def test_the_export_measures_its_gates_and_enforces_none(tiny, tmp_path):
    """A model whose vectors the gates of int8 would refuse is written all the same, with what they found."""
    pytest.importorskip("onnxscript", reason="exports need the extra 'onnx'")
    chain = load_pipeline("bench", "large_chain")
    words = [sys.executable, "-c", chain.EXPORT, str(tiny("labse")), str(tmp_path / "out"), "1", "de,th"]
    subprocess.run(words, check=True, timeout=400)
    entry = json.loads((tmp_path / "out" / "onnx" / "parity.json").read_text())["artifacts"]["model_int8.onnx"]
    assert set(entry["loosened"].values()) == {-1.0}
    assert set(entry["languages"]) >= {"de", "th"}
    assert 0 < entry["figures"]["worst_cosine"]["value"] < 1
