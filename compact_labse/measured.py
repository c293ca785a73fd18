"""Which runtime runs an export fastest, and on how many threads: what the benchmark found, from `measured.json`.

`bench/runtime_table.py` makes that table from committed results. It holds one entry for each kind of model: "static",
a bag of tokens, and "transformer".
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from compact_labse.formats.artifacts import entries
from compact_labse.measure.environment import usable_cores

TABLE = Path(__file__).with_name("measured.json")
STATIC, TRANSFORMER = "static", "transformer"
RUNTIMES = {".onnx": "onnxruntime", ".tflite": "litert"}
MODULES = {"onnxruntime": "onnxruntime", "litert": "ai_edge_litert"}
# Of several files the number type decides first, the runtime second.
TYPES = ("model_int8", "model_int4", "model_int3", "model_int2", "model", "model_fp16")


def kind_of(path: Path) -> str:
    """The kind of a model folder, or of the folder that an exported file belongs to."""
    folders = [path] if path.is_dir() else [path.parent, path.parent.parent]
    described = next((place for folder in folders if (place := folder / "modules.json").is_file()), None)
    return STATIC if described and "StaticEmbedding" in described.read_text("utf-8", "replace") else TRANSFORMER


def ranked(paths: Iterable[Path]) -> list[Path]:
    """Exports of one model with known names, the one to run first; without those whose runtime is not installed.

    If none is installed all stay, so that opening one names what is missing.
    """
    known = [path for path in paths if path.stem in TYPES and path.suffix in RUNTIMES]
    known = [path for path in known if installed(RUNTIMES[path.suffix])] or known
    return sorted(known, key=_place)


def threads_for(path: Path) -> int:
    """The threads on which `encode` of an export was the fastest: one, or as many as there are cores."""
    return usable_cores() if table()[kind_of(path)]["threads"] == "all" else 1


@cache
def installed(runtime: str) -> bool:
    """Whether a runtime can be imported."""
    return importlib.util.find_spec(MODULES[runtime]) is not None


@cache
def table() -> dict[str, Any]:
    """By kind: `runtimes`, the fastest first, `threads`, "one" or "all", and what decided."""
    return dict(json.loads(TABLE.read_text(encoding="utf-8"))["kinds"])


def _place(path: Path) -> tuple[int, bool, int]:
    runtime = RUNTIMES[path.suffix]
    # Files of fixed lengths pad every text; the measured ones take any length.
    fixed = runtime == "litert" and entries(path.parent).get(path.name, {}).get("converter") == "litert_torch"
    return TYPES.index(path.stem), fixed, table()[kind_of(path)]["runtimes"].index(runtime)
