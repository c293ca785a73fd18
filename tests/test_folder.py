"""Hashes say when a model's vectors may have changed; lineage says how it was made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from compact_labse.errors import UserError
from compact_labse.folder import model_hash, read_lineage, sha256_file, write_lineage


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    for name, text in {
        "modules.json": '[{"path": ""}, {"path": "1_Pooling"}]',
        "config.json": "{}",
        "model.safetensors": "weights",
        "tokenizer.json": "{}",
        "vocab.txt": "a",
        "1_Pooling/config.json": "mean",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_sha256_of_a_file_larger_than_a_block(tmp_path: Path):
    data = bytes(range(256)) * 8192
    (tmp_path / "big").write_bytes(data)
    assert sha256_file(tmp_path / "big") == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    "name", ["model.safetensors", "tokenizer.json", "1_Pooling/config.json", "modules.json", "vocab.txt"]
)
def test_the_hash_changes_with_what_decides_vectors(model: Path, name: str):
    before = model_hash(model)
    (model / name).write_text((model / name).read_text() + " ")
    assert model_hash(model) != before


@pytest.mark.parametrize("name", ["README.md", "lineage.json", "log.jsonl", "onnx/model.onnx", "2_Unused/config.json"])
def test_the_hash_ignores_the_rest(model: Path, name: str):
    before = model_hash(model)
    (model / name).parent.mkdir(exist_ok=True)
    (model / name).write_text("anything")
    assert model_hash(model) == before


def test_the_hash_does_not_depend_on_the_place(model: Path, tmp_path: Path):
    before = model_hash(model)
    assert model_hash(model.rename(tmp_path / "elsewhere")) == before


def test_moving_bytes_between_files_changes_the_hash(model: Path):
    before = model_hash(model)
    (model / "config.json").rename(model / "added_tokens.json")
    assert model_hash(model) != before


def test_pickled_twins_of_the_weights_do_not_count(model: Path):
    before = model_hash(model)
    (model / "pytorch_model.bin").touch()
    assert model_hash(model) == before
    (model / "model.safetensors").unlink()
    assert model_hash(model) != before


def test_onnx_counts_where_it_is_all_there_is(tmp_path: Path):
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx/model_int8.onnx").write_text("a")
    before = model_hash(tmp_path)
    (tmp_path / "onnx/model_int8.onnx").write_text("b")
    assert model_hash(tmp_path) != before
    assert model_hash(tmp_path / "onnx/model_int8.onnx") == hashlib.sha256(b"b").hexdigest()


def test_a_folder_without_a_model_has_no_hash(tmp_path: Path):
    with pytest.raises(UserError, match="is not a model folder"):
        model_hash(tmp_path)
    with pytest.raises(UserError, match="nowhere is not a model folder"):
        model_hash(tmp_path / "nowhere")


def test_a_damaged_modules_json_is_named(model: Path):
    (model / "modules.json").write_text("[{")
    with pytest.raises(UserError, match="modules.json is not valid JSON"):
        model_hash(model)


@dataclass(frozen=True, kw_only=True)
class Config:
    data: tuple[Path, ...]
    layers: int = 3


def test_lineage_round_trip(tmp_path: Path):
    config = {"distill": Config(data=(Path("a.tsv"),)), "languages": {"de", "th"}}
    write_lineage(tmp_path, command="distill", config=config, inputs={"teacher": "00ff"})
    lineage = read_lineage(tmp_path)
    assert lineage["config"] == {"distill": {"data": ["a.tsv"], "layers": 3}, "languages": ["de", "th"]}
    assert lineage["inputs"] == {"teacher": "00ff"}
    assert lineage["date"].endswith("+00:00")
    assert {"python", "numpy"} <= set(lineage["versions"])
    assert json.loads((tmp_path / "lineage.json").read_text()) == lineage


def test_lineage_holds_the_commit_of_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    git: Callable[..., str] = lambda checkout, *words: "abc\n" if "rev-parse" in words else " M cli.py\n"  # noqa: E731
    monkeypatch.setattr("compact_labse.folder._git", git)
    monkeypatch.setattr("compact_labse.folder._CHECKOUT", tmp_path)
    write_lineage(tmp_path, command="x", config={}, inputs={})
    assert read_lineage(tmp_path)["git"] is None
    (tmp_path / ".git").mkdir()
    write_lineage(tmp_path, command="x", config={}, inputs={})
    assert read_lineage(tmp_path)["git"] == {"commit": "abc", "dirty": True}


def test_a_model_made_elsewhere_has_no_lineage(tmp_path: Path):
    assert read_lineage(tmp_path) == {}


@pytest.mark.parametrize(("text", "message"), [("{", "not valid JSON"), ("[]", "should hold a JSON object, got list")])
def test_a_damaged_lineage_is_named(tmp_path: Path, text: str, message: str):
    (tmp_path / "lineage.json").write_text(text)
    with pytest.raises(UserError, match=message):
        read_lineage(tmp_path)
