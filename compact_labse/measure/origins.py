"""What an artifact was made from and in which number type its weights are, as far as its folder says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from compact_labse.corpus.files import format_of
from compact_labse.folder import read_lineage

_HASH = re.compile(r"[0-9a-f]{64}")
# Endings of file names, ours and other people's: model_int8.onnx, model_qint8_avx512.onnx, model_q4f16.onnx.
_TYPES = (
    ("int2", "int2"),
    ("int3", "int3"),
    ("int4", "int4"),
    ("q4", "int4"),
    ("bnb4", "int4"),
    ("int8", "int8"),
    ("q8", "int8"),
    ("quantized", "int8"),
    ("bf16", "bf16"),
    ("fp16", "fp16"),
    ("float16", "fp16"),
)


def dtype_of(spec: str) -> str:
    """The number type that a file's name tells, "fp32" where it tells none: `onnx/model_int8.onnx` is "int8"."""
    name = Path(spec).name.lower()
    return next((dtype for mark, dtype in _TYPES if mark in name), "fp32")


def made_from(source: Path | None) -> tuple[str, ...]:
    """Hashes of the models that the lineage beside an artifact (or above its format's folder) names.

    They connect the rows of a report: an int8 export with its float32 folder, a student with its teacher. Files of
    text are left out: two models of the same corpus are not made from each other.
    """
    if source is None:
        return ()
    folder = source if source.is_dir() else source.parent
    found: dict[str, None] = {}
    for place in (folder, folder.parent) if source.is_file() else (folder,):
        lineage: dict[str, Any] = read_lineage(place)
        for step in (lineage, *(lineage.get("earlier") or ())):
            inputs = step.get("inputs") if isinstance(step, dict) else None
            for name, value in inputs.items() if isinstance(inputs, dict) else ():
                if isinstance(value, str) and _HASH.fullmatch(value) and format_of(name) is None:
                    found[value] = None
    return tuple(found)
