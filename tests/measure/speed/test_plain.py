"""Plain encoders by shape: what a process measures, rows, files and failures."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from compact_labse.cli import main
from compact_labse.errors import UserError
from compact_labse.measure.pages.curves import Curve, curves
from compact_labse.measure.speed.plain import Shape, measure
from compact_labse.measure.speed.processes import CellFailed
from compact_labse.pipelines import load_pipeline

shapes = load_pipeline("bench", "shapes")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder with a `config.json` and nothing else."""
    sizes = {"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 64}
    (tmp_path / "bare").mkdir()
    config = {"model_type": "bert", "vocab_size": 200, "max_position_embeddings": 64, **sizes}
    (tmp_path / "bare" / "config.json").write_text(json.dumps(config))
    return tmp_path / "bare"


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_a_config_alone_is_a_model_with_random_weights(bare: Path, mode: str):
    pytest.importorskip("transformers")
    found = measure(bare, Shape(mode=mode, batch=2, tokens=16), threads=1, seconds=0.05)
    assert found["ms"] > 0
    assert found["parameters"] > 200 * 32
    assert found["peak"] >= found["baseline"] > 0
    assert measure(bare / "config.json", Shape(mode=mode, batch=1, tokens=4), 1, seconds=0.01)["calls"] >= 3


def test_a_small_model_is_not_charged_for_the_library(bare: Path):
    """A model of 30,000 parameters once cost 148 MB: the library's own code, imported when the model was built."""
    pytest.importorskip("transformers")
    from compact_labse.measure.speed.processes import answer

    request = {"model": str(bare), "shape": {"mode": "inference", "batch": 1, "tokens": 4}, "threads": 1}
    found = answer([sys.executable, "-m", "compact_labse.measure.speed.plain", json.dumps(request)], threads=1)
    assert 0 < found["peak"] - found["baseline"] < 60e6


def test_weights_are_loaded_where_they_are(tiny: Callable[[str], Path]):
    pytest.importorskip("transformers")
    from compact_labse.measure.speed.plain import build

    one, two = (build(tiny("minilm")).embeddings.word_embeddings.weight for _ in range(2))
    assert (one == two).all()


def test_what_cannot_be_measured_says_why(bare: Path):
    pytest.importorskip("transformers")
    with pytest.raises(UserError, match="not measured: the model takes at most 64 tokens, not 100"):
        measure(bare, Shape(mode="inference", batch=1, tokens=100), 1, seconds=0.01)
    (bare / "config.json").write_text('{"model_type": "no such"}')
    with pytest.raises(UserError, match="is not a model that transformers can build"):
        measure(bare, Shape(mode="inference", batch=1, tokens=4), 1, seconds=0.01)
    with pytest.raises(UserError, match="mode must be one of inference, training"):
        Shape(mode="fast", batch=1, tokens=1)


def fake(ms: dict[str, float]) -> Callable[..., dict[str, Any]]:
    asked: list[tuple[str, Shape]] = []

    def one(model: Path, shape: Shape, threads: int) -> dict[str, Any]:
        asked.append((model.name, shape))
        if shape.tokens == 512 and model.name == "large":
            raise CellFailed("out of memory, probably: the process was killed")
        if shape.tokens == 999:
            raise KeyboardInterrupt
        time = ms[model.name] * shape.tokens * (3 if shape.mode == "training" else 1) * asked.count((model.name, shape))
        return {"ms": time, "peak": 300e6, "baseline": 200e6, "parameters": 1000}

    vars(one)["asked"] = asked
    return one


@pytest.fixture
def two(tmp_path: Path) -> tuple[str, str]:
    for name in ("large", "small"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    return str(tmp_path / "large"), str(tmp_path / "small")


def test_models_take_turns_and_running_out_of_memory_is_a_row(
    two: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    machine = fake({"large": 2.0, "small": 1.0})
    monkeypatch.setattr(shapes, "measure", machine)
    cfg = shapes.Config(models=two, batch_sizes=(4,), sequence_lengths=(32, 512), rounds=3, out=tmp_path / "out")
    rows = shapes.run(cfg)
    asked = vars(machine)["asked"]
    assert [name for name, _ in asked[:4]] == ["large", "small", "large", "small"]
    assert len([step for step in asked if step[0] == "large" and step[1].tokens == 512]) == 2  # once for each mode
    killed = [row for row in rows if row["note"]]
    assert [(row["model"], row["mode"]) for row in killed] == [("large", "inference"), ("large", "training")]
    assert "out of memory" in killed[0]["note"]
    with open(tmp_path / "out" / "shapes.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(rows) == 8
    assert float(table[1]["own_mb"]) == 100
    assert float(table[1]["lowest_ms"]) < float(table[1]["highest_ms"])
    for name in ("inference-ms", "inference-own_mb", "training-ms", "training-own_mb"):
        ElementTree.parse(tmp_path / "out" / f"shapes-{name}.svg")
    assert "out of memory" in shapes.as_text(rows)
    assert json.loads(shapes.as_json(rows))[0]["model"] == "large"


def test_an_interruption_keeps_what_is_done(two: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shapes, "measure", fake({"large": 2.0, "small": 1.0}))
    settings = {"batch_sizes": (4,), "sequence_lengths": (32, 999), "modes": ("inference",), "rounds": 1}
    with pytest.raises(KeyboardInterrupt):
        shapes.run(shapes.Config(models=two, out=tmp_path / "out", **settings))
    table = (tmp_path / "out" / "shapes.csv").read_text().splitlines()
    assert len(table) == 5
    assert table[1].startswith("large,inference,4,32,")
    assert table[3].endswith("interrupted")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--models", "./nothing"], "expected a folder with config.json"),
        (["student", "--models", "minilm"], "give no other model and no --suite with it"),
        (["--models", "minilm", "--batch-sizes", "0"], "must be at least 1, got 0"),
    ],
)
def test_wrong_words_are_errors(words: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    assert main(["bench", *words]) == 2
    assert message in capsys.readouterr().err


def test_curves_lie_inside_and_rise_with_the_values():
    drawn = curves([Curve(label="a & b", points=[(8, 1.0), (64, 10.0)]), Curve(label="c", points=[(8, 2.0)])], "x", "y")
    root = ElementTree.fromstring(drawn)
    dots = [e for e in root.iter() if e.tag.endswith("circle") and len(e)]
    assert len(dots) == 3
    assert float(dots[1].get("cy") or 0) < float(dots[2].get("cy") or 0) < float(dots[0].get("cy") or 0)
    assert all(0 < float(dot.get("cx") or 0) < 640 for dot in dots)
    assert "a &amp; b" in drawn
