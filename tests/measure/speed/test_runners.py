"""What runs a model while it is timed, and files that are not of our contract."""

from __future__ import annotations

import json
import mmap
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from compact_labse.errors import UserError
from compact_labse.locate import locate, shipped_folder
from compact_labse.measure.artifact import open_all
from compact_labse.measure.speed import runners
from compact_labse.measure.speed.latency import Cell, long_run
from compact_labse.measure.speed.processes import CellFailed, answer, idle_cores, run_cell
from compact_labse.measure.speed.runners import RUNNERS, command_of, open_spec, python_of, split_runner
from tests.measure.foreign import foreign_file
from tests.tiny_models import TEXT

onnx = pytest.importorskip("onnx", reason="foreign files are made with the extra 'onnx'")


@pytest.fixture
def foreign(tiny_copy: Callable[[str], Path]) -> Path:
    return foreign_file(tiny_copy("minilm"))


def test_a_foreign_file_is_measured_and_marked(foreign: Path, tmp_path: Path):
    ((artifact, encoder),) = open_all([str(foreign)], threads=1)
    assert artifact.runner == "foreign"
    assert artifact.marks[0].startswith("foreign: ")
    assert artifact.marks[1] == "no hash"
    assert artifact.record()["marks"] == list(artifact.marks)
    vectors_ND = encoder.encode(TEXT[:5])
    assert np.allclose(np.linalg.norm(vectors_ND, axis=1), 1, atol=1e-5)
    alone_ND = np.concatenate([encoder.encode([text]) for text in TEXT[:5]])
    assert np.allclose(vectors_ND, alone_ND, atol=1e-5)  # padding is left out of the mean
    texts = tmp_path / "texts.json"
    texts.write_text(json.dumps(TEXT))
    found = run_cell(artifact.spec, Cell(mode="text", seconds=0.05, count=8), texts)
    assert found["sentences_per_s"] > 0
    assert found["energy"].keys() & {"joules", "not_measured"}


def test_what_no_runtime_opens_keeps_our_error(foreign: Path):
    foreign.write_bytes(b"not a model")
    with pytest.raises(UserError, match="is not a whole ONNX model"):
        open_all([str(foreign)], threads=1)


def test_a_file_of_ours_without_its_hash_is_marked(tmp_path: Path):
    folder = Path(shutil.copytree(shipped_folder(), tmp_path / "export"))
    ((artifact, _),) = open_all([str(folder)], threads=1)
    assert artifact.marks == ()
    (folder / "onnx" / "parity.json").unlink()
    ((artifact, _),) = open_all([str(folder)], threads=1)
    assert artifact.marks == ("no hash",)


def test_runners_are_told_from_labels_and_paths(tiny: Callable[[str], Path]):
    assert split_runner("fastembed:a/model.onnx") == ("fastembed", "a/model.onnx")
    assert split_runner("C:model.onnx") == ("", "C:model.onnx")
    folder = tiny("minilm")
    with pytest.raises(UserError, match=r"fastembed takes a .onnx file, got"):
        open_all([f"fastembed:{folder}"])
    (ours, _), (theirs, _) = open_all([str(folder), f"torch-fp32:{folder}"], threads=1)
    assert (ours.label, theirs.label) == ("minilm", "torch-fp32 minilm")
    assert ours.hash == theirs.hash
    assert (ours.runtime, theirs.runtime) == ("torch", "torch-fp32")


def test_a_runner_in_the_wrong_mode_or_without_its_card_says_so(foreign: Path, tiny: Callable[[str], Path]):
    with pytest.raises(UserError, match="not measured: onnxruntime takes tokens, not texts"):
        open_spec(f"onnxruntime:{foreign}", 1, mode="text")
    with pytest.raises(UserError, match="not measured: fastembed takes texts, not tokens"):
        open_spec(f"fastembed:{foreign}", 1, mode="fixed")
    with pytest.raises(UserError, match="not measured: this ONNX Runtime has no CUDAExecutionProvider"):
        open_spec(f"onnxruntime:{foreign}", 1, device="cuda")
    with pytest.raises(UserError, match="not measured: no GPU"):
        open_spec(f"torch-bf16:{tiny('minilm')}", 1, device="cuda")


def test_bare_runtimes_give_the_vectors_of_our_encoder(tiny: Callable[[str], Path]):
    folder = tiny("minilm")
    ours, theirs = open_spec(str(folder), 1), open_spec(f"torch-fp32:{folder}", 1, device="cpu")
    assert np.allclose(ours.encode(TEXT[:3]), theirs.encode(TEXT[:3]), atol=1e-6)
    half = open_spec(f"torch-bf16:{folder}", 1, device="cpu").encode(TEXT[:3])
    assert 0.99 < (half * ours.encode(TEXT[:3])).sum(1).min() < 1.001
    peer = open_spec(f"sentence-transformers:{folder}", 1)
    assert np.allclose(ours.encode(TEXT[:3]), peer.encode(TEXT[:3]), atol=1e-5)


@pytest.mark.slow
def test_a_compiled_model_gives_the_same_vectors_at_every_shape_and_is_timed(
    tiny: Callable[[str], Path], tmp_path: Path
):
    if shutil.which("g++") is None:
        pytest.skip("torch.compile needs a C++ compiler for the CPU")
    spec = f"torch-compile:{tiny('minilm')}"
    ours, compiled = open_spec(str(tiny("minilm")), 1), open_spec(spec, 1)
    for texts in (TEXT[:1], TEXT[:5], TEXT):
        assert np.allclose(ours.encode(texts), compiled.encode(texts), atol=1e-5)
    assert "Optimized" in type(compiled.module).__name__
    texts = tmp_path / "texts.json"
    texts.write_text(json.dumps(TEXT))
    found = run_cell(spec, Cell(mode="fixed", batch=2, tokens=6, seconds=0.05), texts)
    assert found["model_ms"]["p50"] > 0


def test_a_missing_environment_names_what_makes_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, foreign: Path):
    monkeypatch.setattr(runners, "PEERS", tmp_path)
    monkeypatch.setattr(runners, "_has", lambda module: False)
    with pytest.raises(UserError, match=r"fastembed is not installed \(in a checkout of the project: export/cl"):
        python_of("fastembed")
    request = {"cell": Cell(mode="text").config()}
    with pytest.raises(UserError, match="onnxruntime-web is not installed"):
        command_of(f"wasm-node:{foreign}", request)
    python = tmp_path / "peers" / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert python_of("fastembed") == str(python)
    (tmp_path / "node" / "node_modules" / "onnxruntime-web").mkdir(parents=True)
    command = command_of(f"wasm-node:{foreign}", request)
    assert command[:2] == ["node", str(tmp_path / "node" / "wasm-node.mjs")]
    assert json.loads(command[2])["folder"] == str(foreign.parent.parent)
    assert (tmp_path / "node" / "timing.mjs").is_file()


@pytest.mark.parametrize("name", ["wasm-node", "wasm-chromium"])
def test_browsers_time_the_file(foreign: Path, tmp_path: Path, name: str):
    if shutil.which("node") is None or not (runners.PEERS / "node" / ".built").is_file():
        pytest.skip("needs export/clients/environments.sh node .peers/node")
    assert RUNNERS[name].script
    texts = tmp_path / "texts.json"
    texts.write_text(json.dumps(TEXT))
    cell = Cell(mode="text", seconds=0.05, count=2)
    with pytest.raises(CellFailed, match="Error: "):  # it has neither our inputs nor our output; the cause is said
        run_cell(f"{name}:{foreign}", cell, texts, timeout_s=120)
    # Its table is a file of its own.
    shipped = locate("default")
    assert run_cell(f"{name}:{shipped}", cell, texts, timeout_s=120)["sentences_per_s"] > 0


def test_more_threads_than_cores_are_not_measured(tmp_path: Path):
    with pytest.raises(CellFailed, match="not measured: 4096 threads on"):
        idle_cores(4096)
    cores = idle_cores(1)
    assert len(cores) <= 1
    if cores:
        program = "import os, json; print('measured: ' + json.dumps({'on': sorted(os.sched_getaffinity(0))}))"
        found = answer(["python3", "-c", "import time; time.sleep(.3);" + program], threads=1)
        assert found["on"] == found["pinned"]


class Leaky:
    """Keeps a megabyte of every chunk. Mapped, because an array may get pages that the process already has."""

    def __init__(self, keeps: bool) -> None:
        self.keeps, self.kept = keeps, list[mmap.mmap]()

    def encode(self, texts: list[str]) -> None:
        block = mmap.mmap(-1, 1_000_000)
        block.write(b"1" * len(block))
        if self.keeps:
            self.kept.append(block)


@pytest.mark.parametrize("keeps", [True, False])
def test_growth_is_seen(keeps: bool):
    found = long_run(Leaky(keeps), Cell(mode="long", count=40_000), TEXT)  # type: ignore[arg-type]
    assert found["sentences"] == 40_000
    assert (found["growth"] > 800_000) == keeps


def test_a_runtime_called_bare_is_not_taken_for_ours():
    """Its results had our key, so that a run that had measured ours measured nothing of it."""
    file = locate("default")
    ours, bare = (artifact.record() for artifact, _ in open_all([f"a={file}", f"b=onnxruntime:{file}"], threads=1))
    assert ours["hash"] == bare["hash"]
    assert (ours["runtime"], bare["runtime"]) == ("onnxruntime", "bare onnxruntime")
