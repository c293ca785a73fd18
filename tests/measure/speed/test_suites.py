"""What each suite measures, and edge checks with and without their programs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from compact_labse.cli import main
from compact_labse.errors import UserError
from compact_labse.locate import locate, shipped_folder
from compact_labse.measure.artifact import Artifact
from compact_labse.measure.results import Results
from compact_labse.measure.speed import edge, suites
from compact_labse.measure.speed.edge import aarch64, benchmark_model, record_edge
from compact_labse.measure.speed.latency import Cell
from compact_labse.measure.speed.suites import beside, cells, edge_files, fits, parts_of
from compact_labse.pipelines import load_pipeline
from tests.measure.records import model, speed

BASE = Cell(mode="text", seconds=0.5, count=100)


def artifact(spec: str, runner: str = "") -> Artifact:
    return Artifact(**{**model(Path(spec).name), "spec": spec, "runner": runner})


def names(part: str, full: bool = False) -> list[str]:
    return [cell.name for cell in cells(part, BASE, full=full)]


def test_the_default_is_quality_and_a_look_and_all_is_everything():
    assert parts_of(None) == ("quality", "short")
    assert parts_of("all") == ("quality", "cpu", "gpu", "edge")
    assert parts_of("cpu") == ("cpu",)
    assert names("short") == ["1x20", "32x20", "text"]
    assert names("quality") == []


def test_the_cpu_suite_has_shapes_text_and_a_long_run(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(suites, "usable_cores", lambda: 2)
    short = names("cpu")
    assert short[-3:] == ["text", "text@2", "long"]
    assert "32x32" in short
    full = names("cpu", full=True)
    assert len(full) == 2 * 24 + 3
    assert {"64x512", "1x8@2"} <= set(full)
    assert len(set(full)) == len(full)
    monkeypatch.setattr(suites, "usable_cores", lambda: 1)
    assert "text@2" not in names("cpu")


def test_the_gpu_suite_runs_torch_three_ways_and_onnx_once():
    named = [artifact("student"), artifact("student/onnx/model.onnx"), artifact("x/m.onnx", "fastembed")]
    specs = beside("gpu", named)
    assert [spec.partition(":")[0] for spec in specs] == ["torch-fp32", "torch-bf16", "torch-compile", "onnxruntime"]
    assert all(cell.device == "cuda" for cell in cells("gpu", BASE))
    cell = cells("gpu", BASE)[0]
    assert not fits(named[0], cell, "gpu")
    assert fits(artifact("torch-bf16:student", "torch-bf16"), cell, "gpu")


def test_the_edge_suite_finds_the_files_of_an_export(tmp_path: Path):
    for name in ("tflite/model_int8.tflite", "tflite/model_int8_mediapipe.tflite", "onnx/model_int8.ort",
                 "onnx/model_int8.onnx", "onnx/model_quantized.onnx"):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    files = [path.name for path in edge_files(str(tmp_path))]
    assert files == ["model_int8.tflite", "model_int8.ort", "model_int8.onnx"]
    specs = beside("edge", [artifact(str(tmp_path)), artifact(str(tmp_path / "onnx/model_int8.ort"))])
    assert [Path(spec).name for spec in specs] == ["model_int8.tflite", "model_int8.onnx", "model_int8.onnx"]
    assert [spec.partition(":")[0] for spec in specs[1:]] == ["wasm-node", "wasm-chromium"]
    lite, web = artifact(specs[0]), artifact(specs[1], "wasm-node")
    threads = {cell.threads for cell in cells("edge", BASE) if fits(lite, cell, "edge")}
    assert threads == {1, 2, 4}
    assert {cell.threads for cell in cells("edge", BASE) if fits(web, cell, "edge")} == {1}
    assert not any(fits(artifact("student"), cell, "edge") for cell in cells("edge", BASE))


def test_without_a_card_the_gpu_suite_is_a_row_that_says_so(
    tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("compact_labse.measure.speed.gpu.MODULES", ("no_such_module",))
    words = ["bench", str(tiny("static")), "default", "--suite", "gpu", "--out", str(tmp_path)]
    assert main(words) == 0
    shown = capsys.readouterr().out
    for label in ("static", "default"):
        assert f"Not measured: {label}, speed on cuda: no GPU library (pip install nvidia-ml-py)" in shown


def emulator(root: Path, prints: str, code: int) -> None:
    """A program that stands for qemu: prints what the client would."""
    program = root / "aarch64" / "x" / "usr" / "bin" / "qemu-aarch64"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho '{prints}'\nexit {code}\n")
    program.chmod(0o755)


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    path = tmp_path / "export" / "tflite" / "model_int8.tflite"
    path.parent.mkdir(parents=True)
    path.touch()
    (path.parent.parent / "tokenizer.json").touch()
    (path.parent / "expected.json").touch()
    return path


def test_an_emulated_processor_checks_vectors(exported: Path, tmp_path: Path):
    with pytest.raises(UserError, match="not measured: no emulator"):
        aarch64(exported, tmp_path)
    emulator(tmp_path, "worst cosine 0.9912 of 40 texts", 0)
    assert aarch64(exported, tmp_path) == {"worst_cosine": 0.9912, "texts": 40}
    (exported.parent / "expected.json").unlink()
    with pytest.raises(UserError, match=r"not measured: no expected.json"):
        aarch64(exported, tmp_path)


@pytest.mark.parametrize(
    ("prints", "message"),
    [
        ("worst cosine 0.2 of 4 texts", "other vectors: worst cosine 0.2"),
        ("Illegal instruction", "Illegal instruction"),
    ],
)
def test_other_vectors_and_crashes_are_errors(exported: Path, tmp_path: Path, prints: str, message: str):
    emulator(tmp_path, prints, 1)
    with pytest.raises(UserError, match=message):
        aarch64(exported, tmp_path)


def test_litert_s_own_program_is_asked_if_it_is_there(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(UserError, match="not measured: benchmark_model is not on the PATH"):
        benchmark_model(exported)
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "benchmark_model"
    program.write_text("#!/bin/sh\necho 'Inference timings in us: Init: 5, Inference (avg): 1523.5'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin")
    assert benchmark_model(exported)["mean_ms"] == pytest.approx(1.5235)


def test_checks_are_records_or_rows_with_reasons_and_are_not_repeated(exported: Path, monkeypatch: pytest.MonkeyPatch):
    results, asked = Results(), []

    def fine(path: Path) -> dict:
        asked.append(path)
        return {"worst_cosine": 1.0, "texts": 1}

    def missing(path: Path) -> dict:
        raise UserError("not measured: nothing there")

    monkeypatch.setattr(edge, "aarch64", fine)
    monkeypatch.setattr(edge, "benchmark_model", missing)
    for _ in range(2):
        record_edge(results, [artifact(str(exported)), artifact("student"), artifact("x.onnx", "fastembed")])
    assert len(asked) == 1
    assert [found["kind"] for found in results.records] == ["edge", "failure", "failure"]
    assert results.records[1]["values"]["error"] == "not measured: nothing there"


def test_a_name_is_checked_by_its_file(monkeypatch: pytest.MonkeyPatch):
    """`default` was passed over, because a name has no ending."""
    asked = []
    monkeypatch.setattr(edge, "aarch64", lambda path: asked.append(path.name) or {"worst_cosine": 1.0, "texts": 1})
    results = Results()
    record_edge(results, [artifact("default")])
    assert asked == [locate("default").name]
    assert [found["kind"] for found in results.records] == ["edge"]


def test_a_model_that_only_its_files_were_measured_of_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """`bench default --suite edge` ended with an error, though WebAssembly had been measured."""
    compare = load_pipeline("bench", "compare")
    cell = Cell(mode="fixed")

    def only_the_browsers(results: Results, pairs, *_) -> None:
        for found in {one.label: one for one, _ in pairs}.values():
            results.add(speed(found.record(), 1.0, 0, cell))

    monkeypatch.setattr(compare, "record_speeds", only_the_browsers)
    monkeypatch.setattr(compare, "record_edge", lambda *_: None)
    summary = compare.run(compare.Config(models=("default",), suite="edge", out=tmp_path, sentences=5))
    assert [row.label.partition(" ")[0] for row in summary.rows] == ["default", "wasm-node", "wasm-chromium"]
    assert [bool(row.speeds) for row in summary.rows] == [False, True, True]
    monkeypatch.setattr(compare, "record_speeds", lambda *_: None)
    with pytest.raises(UserError, match="nothing could be measured of default: no reason was recorded"):
        compare.run(compare.Config(models=("default",), suite="edge", out=tmp_path / "none", sentences=5))


def test_a_folder_and_the_file_that_it_stands_for_are_one_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    compare = load_pipeline("bench", "compare")
    folder = shutil.copytree(shipped_folder(), tmp_path / "export")
    file = str(folder / "onnx" / locate("default").name)
    monkeypatch.setattr(compare, "beside", lambda part, artifacts: [file])
    monkeypatch.setattr(compare, "fits", lambda artifact, cell, part: artifact.spec == file)
    monkeypatch.setattr(compare, "record_edge", lambda *_: None)
    made = Cell(mode="fixed")
    monkeypatch.setattr(
        compare, "record_speeds", lambda results, pairs, *_: results.add(speed(pairs[0][0].record(), 1.0, 0, made))
    )
    cfg = compare.Config(models=(str(folder),), suite="edge", out=tmp_path / "out", sentences=5)
    (row,) = compare.run(cfg).rows
    assert row.label == f"export/{Path(file).stem}"
    assert row.speeds["1x20"].main == 1


def test_the_edge_finds_the_file_behind_a_name():
    """`bench default --suite edge` said that nothing could be measured, without a reason."""
    assert [path.suffix for path in edge_files("default")] == [".onnx"]


def test_what_the_edge_cannot_run_is_a_row_with_its_reason(tiny, tmp_path):
    compare = load_pipeline("bench", "compare")
    cfg = compare.Config(models=(str(tiny("static")),), suite="edge", out=tmp_path, rounds=1, seconds=0.05, sentences=5)
    (row,) = compare.run(cfg).rows
    assert any("not measured: no .tflite, .ort or .onnx file" in failure for failure in row.failures)
