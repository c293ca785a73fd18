"""Predicted sizes against the files that the export makes of real weights."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="tiny models need the extra 'train'")
pytest.importorskip("onnxscript", reason="exports need the extra 'onnx'")

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from compact_labse import sample
from compact_labse.compress import predict
from compact_labse.compress.candidates import Candidate
from compact_labse.compress.predict import Shapes, onnx_names, tokenizer_text
from compact_labse.compress.stand_in import table_of
from compact_labse.compress.steps import narrowed
from compact_labse.compress.structure import Prune, prune
from compact_labse.formats.contract import FILES, FOLDER
from compact_labse.pipelines import load_pipeline
from compact_labse.torch_encoder import TorchEncoder

HANDFUL = 40  # bytes per quantized activation: nodes of the plan that calibration chose, and digits in names
LANGUAGES = ("en", "de")


@pytest.fixture
def trained(tiny_copy):
    """A tiny model whose weights all differ, as training leaves them: an exporter stores equal constants once."""

    def make(name: str) -> Path:
        folder = tiny_copy(name)
        for path in folder.rglob("*.safetensors"):
            weights = {key: value + 0.02 * torch.randn_like(value) for key, value in load_file(path).items()}
            save_file(weights, path, metadata={"format": "pt"})
        return folder

    return make


def exported(model: Path, out: Path, bits: str) -> Path:
    pipeline = load_pipeline("export", "onnx_export")
    gates = dict.fromkeys(("worst_cosine", "language_cosine", "neighbours", "language_neighbours"), -1.0)
    recipe = "rows" if bits in ("int8", "int4") else None
    settings = {"languages": LANGUAGES, "recipe": recipe, "loosen": gates, "reason": "random weights"}
    pipeline.run(pipeline.OnnxExport(model=str(model), out=out, formats=(bits,), **settings))
    return out / FOLDER / FILES[bits]


def predicted(source: Path, folder: Path, one: Candidate) -> Path:
    folder.mkdir()
    return Shapes(TorchEncoder.open(source, device="cpu"), LANGUAGES).write(one, folder)


def smoothing(path: Path) -> dict[str, int]:
    """Bytes of each vector that scales an activation down."""
    return {name: 4 * int(np.prod(dims)) for name, dims in onnx_names(path).items() if name.endswith("__smooth")}


def pieces(folder: Path) -> int:
    return len(table_of(TorchEncoder.open(folder, device="cpu").module))


@pytest.mark.parametrize(
    ("name", "shape"), [pytest.param("labse", (2, 2, 32), marks=pytest.mark.slow), ("static", (0, 0, 0))]
)
def test_float32_is_predicted_to_the_byte(trained, tmp_path, name, shape):
    layers, heads, ffn = shape
    folder = trained(name)
    one = Candidate(pieces=pieces(folder), layers=layers, heads=heads, ffn=ffn)
    made = exported(folder, tmp_path / "made", "fp32")
    assert predicted(folder, tmp_path / "guess", one).stat().st_size == made.stat().st_size
    source = TorchEncoder.open(folder, device="cpu")
    assert len(tokenizer_text(source)) == (tmp_path / "made" / "tokenizer.json").stat().st_size


@pytest.mark.parametrize("bits", ["int8", "int4", "int3", "int2"])
def test_a_narrowed_bag_is_predicted_to_the_byte(tiny, tmp_path, bits):
    narrowed(tiny("static"), tmp_path / "narrow", 8)
    made = exported(tmp_path / "narrow", tmp_path / "made", bits)
    one = Candidate(pieces=pieces(tiny("static")), table=8, bits=bits)
    guess = predicted(tiny("static"), tmp_path / "guess", one)
    assert guess.stat().st_size == made.stat().st_size
    wider = predicted(tiny("static"), tmp_path / "wider", Candidate(pieces=one.pieces, table=16, bits=bits))
    assert wider.stat().st_size > made.stat().st_size  # the comparison tells widths apart


@pytest.mark.parametrize(
    ("name", "sizes", "bits"),
    [
        ("minilm", {"layers": 1, "heads": 1, "ffn": 24}, "int8"),
        pytest.param("minilm", {"layers": 1, "ffn": 24, "table": 8}, "int4", marks=pytest.mark.slow),
        pytest.param("distilbert", {"heads": 1}, "int8", marks=pytest.mark.slow),
    ],
)
def test_integers_are_predicted_but_for_what_calibration_leaves_out(trained, tmp_path, name, sizes, bits):
    """Never too small; too large by the smoothing vectors that are not needed, and a handful of bytes."""
    folder, text = trained(name), tmp_path / "text.txt"
    text.write_text("\n".join(sample.sentences("en")[:40]), encoding="utf-8")
    prune(Prune(model=str(folder), data=(str(text),), out=tmp_path / "pruned", texts=16, **sizes))
    made = exported(tmp_path / "pruned", tmp_path / "made", bits)
    whole = {"layers": 2, "heads": 2, "ffn": 32, "table": 0}
    one = Candidate(pieces=pieces(folder), bits=bits, **(whole | sizes))
    guess = predicted(folder, tmp_path / "guess", one)
    largest, needed = smoothing(guess), smoothing(made)
    assert largest and set(needed) <= set(largest)  # names tell the same activations apart
    left = guess.stat().st_size - made.stat().st_size - (sum(largest.values()) - sum(needed.values()))
    assert 0 <= left <= (HANDFUL + 250) * len(largest)
    assert guess.stat().st_size >= made.stat().st_size


def test_a_large_table_is_stretched_to_its_rows_exactly(tiny, tmp_path, monkeypatch):
    """The same bytes as without stretching, at a number of rows that takes other lengths in the file's headers."""
    one = Candidate(pieces=pieces(tiny("static")), bits="int4")
    whole = predicted(tiny("static"), tmp_path / "whole", one)
    monkeypatch.setattr(predict, "ROWS", 67)
    stretched = predicted(tiny("static"), tmp_path / "stretched", one)
    assert onnx_names(stretched) == onnx_names(whole)
    assert stretched.stat().st_size == whole.stat().st_size


def test_times_are_those_of_a_sentence_in_fresh_processes(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(predict, "ROUNDS", 1)
    monkeypatch.setattr(predict, "SECONDS", 0.01)
    one = Candidate(pieces=pieces(tiny("static")))
    (tmp_path / "guess").mkdir()
    shapes = Shapes(TorchEncoder.open(tiny("static"), device="cpu"), LANGUAGES)
    found = shapes.predict(one, tmp_path / "guess", sample.sentences("en"))
    assert found.bytes == found.file_bytes + len(tokenizer_text(shapes.source))
    assert 0 < found.latency < 1000 and found.latency == pytest.approx(found.model_ms + found.tokenize_ms, abs=1e-3)
