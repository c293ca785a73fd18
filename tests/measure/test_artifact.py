"""Labels, sizes, hashes and training languages of what is measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from compact_labse.encoder import Encoder
from compact_labse.errors import UserError
from compact_labse.folder import model_hash, sha256_file, write_lineage
from compact_labse.measure.artifact import _labels, _split_label, describe, open_all, trained_languages


@pytest.mark.parametrize(
    ("specs", "labels"),
    [
        (["minilm", "runs/student"], ["minilm", "student"]),
        (["runs/student/onnx/model_int8.onnx"], ["student/model_int8"]),
        (["runs/a/student/", "runs/b/student"], ["a/student", "b/student"]),
        (["a/onnx/model.onnx", "a/onnx/model_int8.onnx", "b/onnx/model.onnx"], ["a/model", "a/model_int8", "b/model"]),
        (["old=runs/student", "new=/x/student"], ["old", "new"]),
        (["../student", "model.onnx"], ["student", "model"]),
        (["org/name"], ["name"]),
    ],
)
def test_labels_are_the_shortest_that_tell_models_apart(specs: list[str], labels: list[str]):
    assert _labels([_split_label(spec) for spec in specs]) == labels


def test_a_path_with_an_equals_sign_is_not_a_label():
    assert _split_label("runs/lr=3/student") == (None, "runs/lr=3/student")
    assert _split_label("=x") == (None, "=x")
    assert _split_label("a=b=c") == ("a", "b=c")


def test_a_folder_is_described(tiny: Callable[[str], Path]):
    folder = tiny("minilm")
    ((artifact, encoder),) = open_all([f"small={folder}"], threads=1)
    assert artifact.label == "small"
    assert artifact.hash == model_hash(folder)
    assert (artifact.runtime, artifact.dim) == ("torch", encoder.dim)
    assert artifact.artifact_bytes == (folder / "model.safetensors").stat().st_size
    assert artifact.tokenizer_bytes == (folder / "tokenizer.json").stat().st_size
    assert artifact.tokenizer_hash == sha256_file(folder / "tokenizer.json")
    json.dumps(artifact.record())


class Fake(Encoder):
    """An encoder of which only the source matters."""

    name, dim, max_tokens = "fake", 3, None

    def __init__(self, source: Path | None) -> None:
        self.source = source

    def forward(self, ids_BT: np.ndarray, mask_BT: np.ndarray) -> np.ndarray:
        raise NotImplementedError


def test_an_exported_file_counts_its_external_data_and_the_tokenizer_above(tmp_path: Path):
    file = tmp_path / "onnx" / "model.onnx"
    file.parent.mkdir()
    file.write_bytes(b"x" * 10)
    (tmp_path / "onnx" / "model.onnx_data").write_bytes(b"x" * 100)
    (tmp_path / "onnx" / "model.onnx.data").write_bytes(b"x" * 1000)
    (tmp_path / "onnx" / "model_int8.onnx").write_bytes(b"x" * 7)
    (tmp_path / "tokenizer.json").write_text("{}")
    artifact = describe(Fake(file), spec=str(file), label="a")
    assert artifact.artifact_bytes == 1110
    assert artifact.tokenizer_bytes == 2
    assert (artifact.hash, artifact.runtime) == (sha256_file(file), "onnxruntime")


def test_an_artifact_without_a_file_is_marked():
    artifact = describe(Fake(None), spec="memory", label="memory")
    assert (artifact.hash, artifact.runtime, artifact.artifact_bytes) == ("unhashed:memory", "python", 0)


def test_training_languages_come_from_lineage_or_manifest(tmp_path: Path):
    assert trained_languages(tmp_path) is None
    files = {"data/a/en-de.tsv.gz": "1", "data/b/en-zh-Hant.jsonl": "2", "teacher": "3", "en-de.tsv": "4"}
    write_lineage(tmp_path, command="distill", config={}, inputs=files)
    assert trained_languages(tmp_path) == ("de", "zh-Hant")
    export = tmp_path / "onnx" / "model.onnx"
    export.parent.mkdir()
    export.touch()
    assert trained_languages(export) == ("de", "zh-Hant")
    (export.parent / "manifest.json").write_text(json.dumps({"languages": ["th"]}))
    assert trained_languages(export) == ("th",)
    assert trained_languages(None) is None


def test_wrong_models_are_errors_before_anything_is_measured(tiny: Callable[[str], Path]):
    with pytest.raises(UserError, match="no model was given"):
        open_all([])
    with pytest.raises(UserError, match=r"no-such-folder"):
        open_all([str(tiny("minilm")), "./no-such-folder"])
    with pytest.raises(UserError, match=r"'a' is given twice; .*LABEL=MODEL"):
        open_all(["a=x", "a=y"])


def test_files_of_two_runtimes_that_share_a_name_are_told_apart():
    specs = ["s/onnx/model_int8.onnx", "s/tflite/model_int8.tflite", "s/onnx/model_int8.ort", "t/onnx/model_int8.onnx"]
    labels = _labels([(None, spec) for spec in specs])
    assert labels == ["s/model_int8.onnx", "s/model_int8.tflite", "s/model_int8.ort", "t/model_int8"]
    assert _labels([(None, "fastembed:s/onnx/m.onnx"), (None, "s/onnx/m.onnx")]) == ["fastembed s/m", "s/m"]
