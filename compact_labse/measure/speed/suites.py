"""What each suite of `compact-labse bench` measures: which cells, and what runs beside the models that were named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from compact_labse.locate import EMBEDDED, locate
from compact_labse.measure.artifact import Artifact
from compact_labse.measure.environment import usable_cores
from compact_labse.measure.speed.latency import Cell

SUITES = ("cpu", "gpu", "edge", "quality", "all")
BATCHES, TOKENS = (1, 8, 32, 64), (8, 16, 32, 64, 128, 512)
SHORT = ((1, 20), (32, 20))
GRID = ((1, 8), (1, 32), (1, 128), (8, 32), (32, 32), (32, 128), (64, 32))
EDGE_SHAPES, EDGE_THREADS = ((1, 20), (1, 64)), (1, 2, 4)
GPU_SHAPES = ((1, 32), (32, 32), (64, 128), (64, 512))
GPU_RUNNERS = {"": ("torch-fp32", "torch-bf16", "torch-compile"), ".onnx": ("onnxruntime",)}
BROWSER_RUNNERS = ("wasm-node", "wasm-chromium")
LONG_SENTENCES = 20_000


def parts_of(suite: str | None) -> tuple[str, ...]:
    """The parts that a suite consists of; without a suite, quality and a short look at speed."""
    if suite is None:
        return ("quality", "short")
    return ("quality", "cpu", "gpu", "edge") if suite == "all" else (suite,)


def cells(part: str, base: Cell, *, full: bool = False) -> list[Cell]:
    """The cells of a part of a suite, made from `base`, whose threads, seconds and number of sentences hold."""
    if part == "short":
        return [*_fixed(base, SHORT), _text(base)]
    if part == "cpu":
        shapes = [(batch, tokens) for batch in BATCHES for tokens in TOKENS] if full else GRID
        counts = sorted({base.threads, usable_cores()}) if full else [base.threads]
        long = replace(base, mode="long", count=max(LONG_SENTENCES, base.count))
        more = [_text(replace(base, threads=usable_cores()))] if usable_cores() > base.threads else []
        fixed = [cell for threads in counts for cell in _fixed(replace(base, threads=threads), shapes)]
        return [*fixed, _text(base), *more, long]
    if part == "gpu":
        card = replace(base, device="cuda")
        return [*_fixed(card, GPU_SHAPES), _text(card)]
    if part == "edge":
        return [cell for n in EDGE_THREADS for cell in _fixed(replace(base, threads=n), EDGE_SHAPES)] + [_text(base)]
    return []


def beside(part: str, artifacts: Sequence[Artifact]) -> list[str]:
    """The specs that a part measures beside the artifacts named: other runners, other files of their exports."""
    if part == "gpu":
        return [f"{runner}:{a.spec}" for a in _ours(artifacts) for runner in GPU_RUNNERS.get(Path(a.spec).suffix, ())]
    if part == "edge":
        named = {Path(artifact.spec).resolve() for artifact in artifacts}
        files = [path for artifact in _ours(artifacts) for path in edge_files(artifact.spec)]
        kinds = [path for path in files if path.suffix != ".onnx" and path.resolve() not in named]
        web = [f"{runner}:{path}" for path in files if path.suffix == ".onnx" for runner in BROWSER_RUNNERS]
        return list(dict.fromkeys([*map(str, kinds), *web]))
    return []


def edge_files(spec: str) -> list[Path]:
    """The files of an export for phones and browsers: `.tflite`, `.ort`, and the `.onnx` that a page would load.

    A file stands for itself, a folder for all of them (text-in and MediaPipe variants, which take other inputs, apart).
    """
    path = locate(spec) if spec in EMBEDDED else Path(spec)
    if path.is_file():
        return [path] if path.suffix in (".tflite", ".ort", ".onnx") else []
    places = (("tflite", "model*.tflite"), ("onnx", "model*.ort"), ("onnx", "model*.onnx"))
    found = [file for place, pattern in places for file in sorted((path / place).glob(pattern))]
    aliases = ("model_quantized.onnx", "model_q4.onnx")  # other names of the same files
    return [file for file in found if "mediapipe" not in file.name and file.name not in aliases]


def fits(artifact: Artifact, cell: Cell, part: str) -> bool:
    """Whether an artifact is measured in a cell of a part: only what a GPU runs on it, only edge files at the edge."""
    kind = Path(artifact.spec).suffix
    if part == "gpu":
        return artifact.runner.startswith("torch-") or artifact.runner == "onnxruntime"
    if part == "edge":
        browser = artifact.runner in BROWSER_RUNNERS
        return (browser and cell.threads == 1) or (not artifact.runner and kind in (".tflite", ".ort"))
    return artifact.runner not in BROWSER_RUNNERS


def _ours(artifacts: Sequence[Artifact]) -> list[Artifact]:
    return [artifact for artifact in artifacts if not artifact.runner]


def _fixed(base: Cell, shapes: Sequence[tuple[int, int]]) -> list[Cell]:
    return [replace(base, mode="fixed", batch=batch, tokens=tokens) for batch, tokens in shapes]


def _text(base: Cell) -> Cell:
    return replace(base, mode="text", seconds=2 * base.seconds)
