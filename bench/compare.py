"""Compare encoders and their exports: accuracy, speed, memory and size, every figure from a process of its own.

Reads models and evaluation text; appends to `results.jsonl` in the output folder and makes `report.html` and
`report.md` from it. A second run measures only what is missing. The first model is the reference of all ratios and
agreements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compact_labse.errors import UserError
from compact_labse.measure.artifact import Artifact, open_all
from compact_labse.measure.environment import usable_cores
from compact_labse.measure.pages.report import write_report
from compact_labse.measure.pages.summary import Summary, identity, summarise
from compact_labse.measure.quality.datasets import find, mixed_texts
from compact_labse.measure.quality.languages import TATOEBA_SETS
from compact_labse.measure.quality.suite import record_suite
from compact_labse.measure.results import Results
from compact_labse.measure.runs import record_failure
from compact_labse.measure.speed.edge import record_edge
from compact_labse.measure.speed.gpu import NoGpu, card
from compact_labse.measure.speed.latency import Cell
from compact_labse.measure.speed.roofline import record_roofline
from compact_labse.measure.speed.speeds import Pair, record_speeds
from compact_labse.measure.speed.suites import SUITES, beside, cells, fits, parts_of
from compact_labse.progress import say

QUICK: dict[str, Any] = {"rounds": 2, "seconds": 0.3, "sentences": 200, "tatoeba_set": "14"}


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to compare and how long to measure.

    `suite` None is quality and a short look at speed; "quality" and "all" add the costly measures of quality; `full` is
    the whole grid of shapes and threads. `seconds` is the length of one timing in one process; `sentences` the amount
    of real text. `data` None is the text embedded in the package.
    """

    models: tuple[str, ...]
    suite: str | None = None
    full: bool = False
    data: Path | None = None
    out: Path = Path("bench-report")
    tatoeba_set: str = "36"
    threads: int = 1
    rounds: int = 5
    seconds: float = 1.0
    sentences: int = 1000

    def __post_init__(self) -> None:
        for name in ("threads", "rounds", "seconds", "sentences"):
            if getattr(self, name) <= 0:
                raise UserError(f"{name} must be above 0, got {getattr(self, name)}")
        if not self.models:
            raise UserError("give at least one model to measure")
        if self.suite is not None and self.suite not in SUITES:
            raise UserError(f"suite must be one of {', '.join(SUITES)}, got {self.suite!r}")
        if self.tatoeba_set not in TATOEBA_SETS:
            raise UserError(f"tatoeba_set must be one of {', '.join(TATOEBA_SETS)}, got {self.tatoeba_set!r}")

    def cells(self, part: str) -> list[Cell]:
        """The configurations of a part of the suite."""
        base = Cell(mode="text", threads=self.threads, seconds=self.seconds, count=self.sentences)
        return cells(part, base, full=self.full)


def run(cfg: Config) -> Summary:
    """Measure what is missing, write the report, and return what it shows.

    Wrong paths raise UserError before anything is measured; a model that fails later becomes a row with its error.
    Ctrl-C keeps what is done and still writes the report.
    """
    results = Results(cfg.out / "results.jsonl")
    parts = parts_of(cfg.suite)
    datasets = find(cfg.data, cfg.tatoeba_set)
    opened = open_all(cfg.models, threads=usable_cores())
    artifacts = [artifact for artifact, _ in opened]
    try:
        if "quality" in parts:
            whole = cfg.suite in ("quality", "all")
            ours = [pair for pair in opened if pair[0].runner in ("", "foreign")]
            record_suite(results, ours, datasets, teacher=next(iter(ours), None), full=whole)
        opened.clear()
        texts = mixed_texts(datasets, cfg.sentences)
        for part in parts:
            extra = measure_speed(results, cfg, part, artifacts, texts)
            # A folder whose export runs is the same artifact as that file, whose name says more.
            same = [identity(artifact.record()) for artifact in extra]
            artifacts = [artifact for artifact in artifacts if identity(artifact.record()) not in same] + extra
        if "cpu" in parts:
            record_roofline(results, artifacts)
    finally:
        summary = report(results, artifacts, cfg.out)
    _check_all_measured(summary)
    return summary


def measure_speed(
    results: Results, cfg: Config, part: str, artifacts: Sequence[Artifact], texts: Sequence[str]
) -> list[Artifact]:
    """Measure a part of the suite, and give the artifacts that it took beside those named."""
    if part == "gpu":
        try:
            card()
        except NoGpu as reason:
            for artifact in artifacts:
                record_failure(
                    results, artifact, "speed", {"device": "cuda"}, "speed on cuda", f"not measured: {reason}"
                )
            return []
    extra = [artifact for artifact, _ in open_all(specs, threads=1)] if (specs := beside(part, artifacts)) else []
    pairs: list[Pair] = [(a, c) for c in cfg.cells(part) for a in (*artifacts, *extra) if fits(a, c, part)]
    if part == "edge" and not pairs:
        without = "not measured: no .tflite, .ort or .onnx file is named or lies in the folder; export it first"
        for artifact in artifacts:
            record_failure(results, artifact, "speed", {"suite": part}, "speed at the edge", without)
    if pairs:
        say(f"{part}: {len({a.label for a, _ in pairs})} artifacts, {len(pairs)} measurements x {cfg.rounds} rounds")
        record_speeds(results, pairs, cfg.rounds, texts)
    if part == "edge":
        record_edge(results, [*artifacts, *extra])
    return extra


def report(results: Results, artifacts: Sequence[Artifact], out: Path) -> Summary:
    """Write the report of these artifacts, in this order, from all results that the folder has about them."""
    models = [artifact.record() for artifact in artifacts]
    summary = summarise(results.records, models)
    write_report(summary, out)
    return summary


def _check_all_measured(summary: Summary) -> None:
    empty = [row for row in summary.rows if not (row.speeds or row.quality or row.more)]
    for row in empty:
        # What this machine cannot measure is a row, and no error of the model's; a folder may be measured by its files.
        failed = any(": not measured: " not in failure for failure in row.failures)
        if failed or (not row.failures and len(empty) == len(summary.rows)):
            reasons = "; ".join(row.failures) or "no reason was recorded"
            raise UserError(f"nothing could be measured of {row.label}: {reasons}")
