"""Speed and memory of plain encoders by batch and length, inference and training step: what transformers' removed
`PyTorchBenchmark` did.

Every figure is from a process of its own, memory included: in one process, the second model would be charged for what
the allocator kept of the first. A folder with weights is loaded; of a `config.json` alone the weights are random, which
changes no time. Writes `shapes.csv` and a plot of times and one of memory for each mode.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from compact_labse.errors import UserError
from compact_labse.folder import writing_file
from compact_labse.locate import EMBEDDED
from compact_labse.measure.pages.curves import Curve, curves
from compact_labse.measure.speed.plain import MODES, Shape
from compact_labse.measure.speed.processes import CellFailed, answer
from compact_labse.progress import track

FIELDS = (
    "model",
    "mode",
    "batch",
    "tokens",
    "ms",
    "lowest_ms",
    "highest_ms",
    "peak_mb",
    "own_mb",
    "parameters",
    "note",
)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Models (folders, `config.json` files or embedded names), shapes, and how often each is measured afresh."""

    models: tuple[str, ...]
    batch_sizes: tuple[int, ...] = (8,)
    sequence_lengths: tuple[int, ...] = (8, 32, 128, 512)
    modes: tuple[str, ...] = MODES
    rounds: int = 3
    threads: int = 1
    out: Path = Path("bench-report")

    def __post_init__(self) -> None:
        for name in ("rounds", "threads"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("models", "batch_sizes", "sequence_lengths", "modes"):
            if not getattr(self, name):
                raise UserError(f"give at least one of {name}")
        if wrong := [n for n in (*self.batch_sizes, *self.sequence_lengths) if n < 1]:
            raise UserError(f"batch sizes and sequence lengths must be at least 1, got {wrong[0]}")


def run(cfg: Config) -> list[dict[str, Any]]:
    """Measure all shapes in turns, and write the files. A shape that fails is a row with its reason.

    Ctrl-C keeps the rounds that are done. UserError for a model that is not there.
    """
    models = {Path(spec).parent.name if spec.endswith(".json") else Path(spec).name: found(spec) for spec in cfg.models}
    if len(models) < len(cfg.models):
        raise UserError(f"two of the models have the same name: {', '.join(cfg.models)}")
    shapes = [
        Shape(mode=mode, batch=batch, tokens=tokens)
        for mode in cfg.modes
        for batch in cfg.batch_sizes
        for tokens in cfg.sequence_lengths
    ]
    steps = [(name, shape) for _ in range(cfg.rounds) for shape in shapes for name in models]
    values: dict[tuple[str, Shape], list[dict[str, Any]]] = {}
    failed: dict[tuple[str, Shape], str] = {}
    try:
        for name, shape in track(steps, "measuring shapes"):
            if (name, shape) not in failed:
                try:
                    values.setdefault((name, shape), []).append(measure(models[name], shape, cfg.threads))
                except CellFailed as error:
                    failed[name, shape] = str(error)
    finally:
        order = dict.fromkeys(steps)
        rows = [
            _row(name, shape, values.get((name, shape), []), failed.get((name, shape), "")) for name, shape in order
        ]
        write(rows, cfg.out)
    return rows


def found(spec: str) -> Path:
    """The folder of a model, or its `config.json` where there are no weights."""
    path = EMBEDDED[spec]() if spec in EMBEDDED else Path(spec)
    if path.is_file() and path.name.endswith(".json"):
        return path
    if not (path / "config.json").is_file():
        raise UserError(f"{spec}: expected a folder with config.json, such a file, or one of {sorted(EMBEDDED)}")
    return path


def measure(model: Path, shape: Shape, threads: int) -> dict[str, Any]:
    """One shape in a fresh process; CellFailed with a sentence, running out of memory included."""
    request = json.dumps({"model": str(model), "shape": asdict(shape), "threads": threads})
    return answer([sys.executable, "-m", "compact_labse.measure.speed.plain", request], threads=threads)


def _row(name: str, shape: Shape, values: Sequence[dict[str, Any]], note: str) -> dict[str, Any]:
    row: dict[str, Any] = {"model": name, **asdict(shape), "note": note}
    if not values:
        return {**dict.fromkeys(FIELDS), **row, "note": note or "interrupted"}
    times = [each["ms"] for each in values]
    row |= {"ms": round(median(times), 4), "lowest_ms": round(min(times), 4), "highest_ms": round(max(times), 4)}
    peak = max(each["peak"] for each in values)
    own = max(each["peak"] - each["baseline"] for each in values)
    return row | {"peak_mb": round(peak / 1e6, 1), "own_mb": round(own / 1e6, 1), "parameters": values[0]["parameters"]}


def write(rows: Sequence[dict[str, Any]], out: Path) -> None:
    """`shapes.csv`, and for each mode a plot of milliseconds and one of memory against the length."""
    out.mkdir(parents=True, exist_ok=True)
    with writing_file(out / "shapes.csv") as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, FIELDS)
        table.writeheader()
        table.writerows(rows)
    for mode in dict.fromkeys(row["mode"] for row in rows):
        for figure, label in (("ms", "milliseconds"), ("own_mb", "MB beside Python and libraries")):
            lines: dict[str, list[tuple[float, float]]] = {}
            for row in rows:
                if row["mode"] == mode and row[figure]:
                    lines.setdefault(f"{row['model']}, batch {row['batch']}", []).append((row["tokens"], row[figure]))
            if lines:
                drawn = curves([Curve(label=name, points=points) for name, points in lines.items()], "tokens", label)
                with writing_file(out / f"shapes-{mode}-{figure}.svg") as temporary:
                    temporary.write_text(drawn, encoding="utf-8")


def as_text(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a table for the terminal."""
    header = f"{'model':24} {'mode':10} {'batch':>5} {'tokens':>6} {'ms':>10} {'peak MB':>8} {'own MB':>8}"
    lines = [
        f"{row['model']:24.24} {row['mode']:10} {row['batch']:5} {row['tokens']:6} "
        + (f"{row['ms']:10.2f} {row['peak_mb']:8.0f} {row['own_mb']:8.0f}" if row["ms"] else f"  {row['note']}")
        for row in rows
    ]
    return "\n".join([header, *lines])


def as_json(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as JSON."""
    return json.dumps(list(rows))
