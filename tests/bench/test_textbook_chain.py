"""The parts of `bench/textbook_chain.py`: zeros that save nothing, and what an archive makes of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("torch", reason="tiny models need the extra 'train'")

from safetensors.torch import load_file

from compact_labse import sample
from compact_labse.encoder import load
from compact_labse.pipelines import load_pipeline


def test_zeros_take_as_many_bytes_and_zip_away(tiny, tmp_path):
    chain = load_pipeline("bench", "textbook_chain")
    chain.set_to_zero(tiny("minilm"), tmp_path / "zeroed", 0.2)
    before, after = tiny("minilm") / "model.safetensors", tmp_path / "zeroed" / "model.safetensors"
    weights = load_file(after)
    for name, value in weights.items():
        if value.ndim == 2 and value.numel() >= 100:
            assert 0.19 < float((value == 0).float().mean()) < 0.25, name
    assert sum(v.numel() for v in weights.values()) == sum(
        v.numel() for k, v in load_file(before).items() if not k.startswith("pooler.")
    )
    assert chain.deflated(after) < 0.9 * sum(v.numel() * 4 for v in weights.values())
    texts = ["The train to the coast", "leaves at nine"]
    cosines = np.einsum(
        "nd,nd->n", load(str(tiny("minilm"))).encode(texts), load(str(tmp_path / "zeroed")).encode(texts)
    )
    assert 0.5 < cosines.min() < 0.9999


def test_healing_learns_from_the_original(tiny, tmp_path, monkeypatch):
    chain = load_pipeline("bench", "textbook_chain")
    monkeypatch.setattr(chain, "MODEL", str(tiny("minilm")))
    (tmp_path / "texts.txt").write_text("\n".join(sample.sentences("en")), encoding="utf-8")
    chain.set_to_zero(tiny("minilm"), tmp_path / "zeroed", 0.5)
    chain.heal(tmp_path / "zeroed", [str(tmp_path / "texts.txt")], tmp_path / "healed", 0.05, lr=1e-3, bits=8)
    config = json.loads((tmp_path / "healed" / "lineage.json").read_text())["config"]
    assert 0 < config["healing"]["after"] < config["healing"]["before"]
    assert [config["student"]["bits"], config["loop"]["optimizer"]["lr"]] == [8, 1e-3]


def test_the_page_has_a_row_per_artifact():
    chain = load_pipeline("bench", "textbook_chain")
    row = {
        "row": "fp32",
        "bytes": 90_300_000,
        "deflated_bytes": 83_000_000,
        "p50_ms": 4.5,
        "peak_mb": 200.4,
        "spearman": 86.7,
    }
    assert chain.page([row]).splitlines()[-1] == "| fp32 | 90.3 | 83.0 | 4.50 | 200 | 86.70 |"
