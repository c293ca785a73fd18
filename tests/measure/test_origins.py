"""What file names and lineages say of an artifact."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compact_labse.measure.origins import dtype_of, made_from


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("a/onnx/model.onnx", "fp32"),
        ("model_int8.onnx", "int8"),
        ("model_qint8_avx512.onnx", "int8"),
        ("model_quantized.onnx", "int8"),
        ("model_q4f16.onnx", "int4"),
        ("tflite/model_fp16.tflite", "fp16"),
        ("int8/student", "fp32"),
    ],
)
def test_types_are_told_by_the_file_not_by_its_folder(name: str, dtype: str):
    assert dtype_of(name) == dtype


def test_an_export_knows_its_source_through_the_lineage_above_it(tmp_path: Path):
    (tmp_path / "onnx").mkdir()
    file = tmp_path / "onnx" / "model.onnx"
    file.touch()
    assert made_from(file) == ()
    step = {"inputs": {"student": "a" * 64, "file": "not a hash", "data/en-de.tsv.gz": "c" * 64}}
    (tmp_path / "lineage.json").write_text(json.dumps({**step, "earlier": [{"inputs": {"older": "b" * 64}}, "?"]}))
    assert made_from(file) == ("a" * 64, "b" * 64)
    assert made_from(tmp_path) == ("a" * 64, "b" * 64)
    assert made_from(None) == ()
