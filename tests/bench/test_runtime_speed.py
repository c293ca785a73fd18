"""The comparison of our encoder with its peers, from records."""

from __future__ import annotations

from pathlib import Path

import pytest

from compact_labse.measure.speed.latency import Cell
from compact_labse.pipelines import load_pipeline
from tests.measure.records import model, speed

runtime_speed = load_pipeline("bench", "runtime_speed")


def test_ratios_are_taken_by_rounds_with_the_faster_of_our_runtimes():
    text = Cell(mode="text", count=10)
    records = []
    for number, drift in enumerate((1.0, 1.5, 2.0, 1.2, 1.1)):
        for label, ms in (("ours", 4.0), ("ours litert", 2.0), ("fastembed", 6.0)):
            records.append(speed(model(label), ms * drift, number, text))
    found = {name: (cell, figure.ratio, figure.verdict) for name, cell, _, figure in runtime_speed.ratios(records)}
    assert found["ours litert / fastembed"] == ("text", pytest.approx(3), "higher")
    assert found["ours litert / ours"][1] == pytest.approx(2)


def test_a_bag_of_tokens_is_not_asked_of_what_cannot_run_it(tmp_path: Path):
    (tmp_path / "modules.json").write_text("sentence_transformers.models.StaticEmbedding")
    labels = runtime_speed.specs(tmp_path, tmp_path)
    assert "sentence-transformers onnx" not in labels
    assert "ours litert" not in labels
    (tmp_path / "modules.json").write_text("[]")
    (tmp_path / "tflite").mkdir()
    (tmp_path / runtime_speed.TFLITE).touch()
    assert {"sentence-transformers onnx", "bare litert"} <= set(runtime_speed.specs(tmp_path, tmp_path))
