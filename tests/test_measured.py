"""Which runtime and how many threads an export gets: what the committed table says, and what is installed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compact_labse import load, measured
from compact_labse.locate import locate, preferred_export
from compact_labse.measured import RUNTIMES, STATIC, TRANSFORMER, kind_of, ranked, threads_for
from compact_labse.runtime import open_encoder


@pytest.fixture
def both(tmp_path: Path) -> Path:
    """A folder of exports for two runtimes; nothing in them is read."""
    for name in ("onnx/model.onnx", "onnx/model_int8.onnx", "tflite/model.tflite", "tflite/model_int8.tflite"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "modules.json").write_text('[{"type": "sentence_transformers.models.Transformer"}]')
    return tmp_path


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch):
    """Replace the table for transformers: `says("litert", "onnxruntime", threads="one")`; both are installed."""

    def replace(*runtimes: str, threads: str = "all") -> None:
        static = {"runtimes": ["onnxruntime", "litert"], "threads": "one"}
        other = {"runtimes": list(runtimes), "threads": threads}
        monkeypatch.setattr(measured, "table", lambda: {STATIC: static, TRANSFORMER: other})
        monkeypatch.setattr(measured, "installed", lambda runtime: True)
        monkeypatch.setattr("compact_labse.locate.installed", lambda runtime: True)

    return replace


def lacks(monkeypatch: pytest.MonkeyPatch, runtime: str) -> None:
    for place in ("compact_labse.measured.installed", "compact_labse.locate.installed"):
        monkeypatch.setattr(place, lambda name: name != runtime)


def test_the_kind_is_told_by_the_modules(tiny, both: Path):
    assert kind_of(tiny("static")) == STATIC
    assert kind_of(tiny("minilm")) == TRANSFORMER
    assert kind_of(both / "onnx" / "model.onnx") == TRANSFORMER
    (both / "modules.json").write_text('[{"type": "sentence_transformers.models.StaticEmbedding"}]')
    assert kind_of(both / "onnx" / "model.onnx") == STATIC


@pytest.mark.parametrize("first", RUNTIMES.values())
def test_the_table_decides_between_runtimes(both: Path, says, first: str):
    second = next(name for name in RUNTIMES.values() if name != first)
    says(first, second)
    suffix = next(suffix for suffix, name in RUNTIMES.items() if name == first)
    assert locate(str(both)).suffix == suffix
    assert locate(str(both)).stem == "model_int8"
    assert preferred_export(both) == str(locate(str(both)).relative_to(both))


def test_what_is_not_installed_is_not_chosen_unless_there_is_nothing_else(both: Path, says, monkeypatch):
    says("litert", "onnxruntime")
    lacks(monkeypatch, "litert")
    assert locate(str(both)).name == "model_int8.onnx"
    assert preferred_export(both) == "onnx/model_int8.onnx"
    for path in (both / "onnx").iterdir():
        path.unlink()
    assert preferred_export(both) is None
    assert locate(str(both)).name == "model_int8.tflite"  # opening it says what is missing


def test_the_number_type_comes_before_the_runtime_and_fixed_lengths_last(both: Path, says):
    says("litert", "onnxruntime")
    (both / "tflite" / "model_int8.tflite").rename(both / "tflite" / "model_int4.tflite")
    assert locate(str(both)).name == "model_int8.onnx"
    (both / "tflite" / "model_int4.tflite").rename(both / "tflite" / "model_int8.tflite")
    entry = {"model_int8.tflite": {"converter": "litert_torch"}}
    (both / "tflite" / "parity.json").write_text(json.dumps({"artifacts": entry}))
    assert locate(str(both)).name == "model_int8.onnx"
    entry["model_int8.tflite"]["converter"] = "tensorflow"
    (both / "tflite" / "parity.json").write_text(json.dumps({"artifacts": entry}))
    assert locate(str(both)).name == "model_int8.tflite"


def test_files_with_other_names_do_not_count(both: Path, says):
    says("onnxruntime", "litert")
    paths = [both / name for name in ("onnx/model_quantized.onnx", "onnx/model_int8.ort", "tflite/other.tflite")]
    assert ranked(paths) == []


def test_threads_follow_the_table(both: Path, says, monkeypatch):
    monkeypatch.setattr(measured, "usable_cores", lambda: 6)
    says("onnxruntime", "litert", threads="all")
    assert threads_for(both / "onnx" / "model.onnx") == 6
    says("onnxruntime", "litert", threads="one")
    assert threads_for(both / "onnx" / "model.onnx") == 1


def test_encoders_are_opened_with_these_threads(monkeypatch: pytest.MonkeyPatch):
    asked = []
    monkeypatch.setattr(
        "compact_labse.onnx_encoder.OnnxEncoder.open", lambda path, threads: asked.append((path.name, threads))
    )
    for place in ("compact_labse.measured.threads_for", "compact_labse.runtime.threads_for"):
        monkeypatch.setattr(place, lambda path: 5)
    load("default")
    open_encoder("default")
    load("default", threads=2)
    open_encoder("default", threads=3)
    assert asked == [(locate("default").name, threads) for threads in (5, 5, 2, 3)]


def test_the_committed_table_is_whole():
    found = measured.table()
    assert set(found) == {STATIC, TRANSFORMER}
    for entry in found.values():
        assert sorted(entry["runtimes"]) == sorted(RUNTIMES.values())
        assert entry["threads"] in ("one", "all")
