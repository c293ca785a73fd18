"""What each step from the original to an artifact gained and cost, in bytes, milliseconds and quality."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from compact_labse.compress import steps
from compact_labse.compress.evidence import Row
from compact_labse.compress.workbench import Workbench, shipped_bytes
from compact_labse.formats.contract import FILES, FOLDER
from compact_labse.measure.origins import dtype_of


def attribution(bench: Workbench, row: Row) -> list[dict[str, Any]]:
    """A row per step: its name, `bytes`, `latency`, `quality`, and the `model` as `measure` records it.

    All as ONNX files: what is float32 until the last step is given with the bytes and times of its untrained shape, in
    the original's own bits where that is an export.
    """
    one, (artifact, encoder) = row.candidate, bench.judge.original
    source = Path(encoder.encoder.source) if encoder.encoder.source else Path()  # type: ignore[attr-defined]
    bits = dtype_of(str(source)) if source.is_file() else "fp32"
    start = replace(bench.space.original, pieces=len(bench.whole), bits=bits)
    if source.is_file():
        found = [_step("original", shipped_bytes(source), sum(bench.timed(source)), 1.0, artifact.record())]
    else:
        made = bench.predicted(start, bench.whole)
        found = [_step("original", made["bytes"], made["latency"], 1.0, artifact.record())]
    names = {
        bench.levels[one.pieces].model: (
            f"{one.pieces:,} of {start.pieces:,} pieces",
            replace(start, pieces=one.pieces),
        )
    }
    names.setdefault(bench.made(one).model, (_cut(start, one), replace(one, bits=bits)))
    for folder in bench.floats(row):
        name, shape = names.get(folder, (f"trained for {bench.training['minutes']:g} min", replace(one, bits=bits)))
        judged = bench.judge.judge(steps.opened(folder), folder, name)
        made = bench.predicted(shape)
        found.append(_step(name, made["bytes"], made["latency"], judged["quality"], judged["model"]))
    path = bench.artifact(row) / FOLDER / FILES[one.bits]
    judged = bench.judge.judge(steps.opened(path), path, f"{one.bits} ONNX")
    assert row.bytes is not None and row.latency is not None
    return [*found, _step(f"{one.bits} ONNX", row.bytes, row.latency, judged["quality"], judged["model"])]


def _step(name: str, size: int, latency: float, quality: float, model: dict[str, Any]) -> dict[str, Any]:
    return {"step": name, "bytes": size, "latency": round(latency, 4), "quality": quality, "model": model}


def _cut(before: Any, one: Any) -> str:
    """What pruning took away: `6 -> 4 layers, 1536 -> 768 ffn`."""
    changed = [
        f"{getattr(before, name)} -> {getattr(one, name)} {name}"
        for name in ("layers", "heads", "ffn")
        if getattr(before, name) != getattr(one, name)
    ]
    return ", ".join([*changed, *([f"table {one.table} wide"] if one.table else [])])
