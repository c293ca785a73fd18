"""Compare encoders and their exports: accuracy, speed, memory and size, every figure from a process of its own.

Reads models and evaluation text; appends to `results.jsonl` in the output folder and makes `report.html` and
`report.md` from it. A second run measures only what is missing. The first model is the reference of all ratios and
agreements.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from compact_labse.encoder import Encoder
from compact_labse.errors import UserError
from compact_labse.measure.artifact import Artifact, open_all
from compact_labse.measure.datasets import Dataset, Parallel, digest, find, mixed_texts
from compact_labse.measure.environment import usable_cores
from compact_labse.measure.languages import TATOEBA_SETS
from compact_labse.measure.latency import Cell
from compact_labse.measure.report import write_report
from compact_labse.measure.results import Results
from compact_labse.measure.runs import record_agreement, record_failure, record_quality, record_speeds
from compact_labse.measure.summary import Summary, summarise
from compact_labse.progress import say

QUICK: dict[str, Any] = {"rounds": 2, "seconds": 0.3, "sentences": 200, "tatoeba_set": "14"}


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to compare and how long to measure.

    `seconds` is the length of one timing in one process; `sentences` the amount of real text; `shapes` are (batch,
    tokens). `data` None is the text embedded in the package.
    """

    models: tuple[str, ...]
    data: Path | None = None
    out: Path = Path("bench-report")
    tatoeba_set: str = "36"
    threads: int = 1
    rounds: int = 5
    seconds: float = 1.0
    sentences: int = 1000
    shapes: tuple[tuple[int, int], ...] = ((1, 20), (32, 20))

    def __post_init__(self) -> None:
        for name in ("threads", "rounds", "seconds", "sentences"):
            if getattr(self, name) <= 0:
                raise UserError(f"{name} must be above 0, got {getattr(self, name)}")
        if not self.models:
            raise UserError("give at least one model to measure")
        if self.tatoeba_set not in TATOEBA_SETS:
            raise UserError(f"tatoeba_set must be one of {', '.join(TATOEBA_SETS)}, got {self.tatoeba_set!r}")

    def cells(self) -> list[Cell]:
        """The configurations that every artifact is timed in."""
        fixed = [
            Cell(mode="fixed", threads=self.threads, seconds=self.seconds, batch=batch, tokens=tokens)
            for batch, tokens in self.shapes
        ]
        text = Cell(mode="text", threads=self.threads, seconds=2 * self.seconds, count=self.sentences)
        return [*fixed, text]


def run(cfg: Config) -> Summary:
    """Measure what is missing, write the report, and return what it shows.

    Wrong paths raise UserError before anything is measured; a model that fails later becomes a row with its error.
    Ctrl-C keeps what is done and still writes the report.
    """
    results = Results(cfg.out / "results.jsonl")
    datasets = find(cfg.data, cfg.tatoeba_set)
    opened = open_all(cfg.models, threads=usable_cores())
    artifacts = [artifact for artifact, _ in opened]
    try:
        measure_quality(results, opened, datasets)
        opened.clear()
        cells = cfg.cells()
        say(f"speed: {len(artifacts)} artifacts x {len(cells)} configurations x {cfg.rounds} rounds")
        record_speeds(results, artifacts, cells, cfg.rounds, mixed_texts(datasets, cfg.sentences))
    finally:
        summary = report(results, artifacts, cfg.out)
    _check_all_measured(summary)
    return summary


def measure_quality(results: Results, opened: Sequence[tuple[Artifact, Encoder]], datasets: Sequence[Dataset]) -> None:
    """Accuracy of every artifact on every data set, and agreement with the first one."""
    for student in opened:
        for dataset in datasets:
            say(f"quality: {student[0].label} on {dataset.name}")
            _keep_going(results, student, dataset, "quality", partial(record_quality, results, *student, dataset))
            if student is not opened[0] and isinstance(dataset, Parallel):
                step = partial(record_agreement, results, student, opened[0], dataset)
                _keep_going(results, student, dataset, "agreement", step)


def _keep_going(
    results: Results, student: tuple[Artifact, Encoder], dataset: Dataset, kind: str, step: Callable[[], object]
) -> None:
    try:
        step()
    except Exception as error:  # whatever a foreign model raises, the others are still to be measured
        config = {"dataset": dataset.name, "digest": digest(dataset)}
        what = f"{kind} on {dataset.name}"
        record_failure(results, student[0], kind, config, what, f"{type(error).__name__}: {error}")


def report(results: Results, artifacts: Sequence[Artifact], out: Path) -> Summary:
    """Write the report of these artifacts, in this order, from all results that the folder has about them."""
    models = [artifact.record() for artifact in artifacts]
    summary = summarise(results.records, models)
    write_report(summary, out)
    return summary


def _check_all_measured(summary: Summary) -> None:
    for row in summary.rows:
        if not row.speeds and not row.quality:
            reasons = "; ".join(row.failures) or "no reason was recorded"
            raise UserError(f"nothing could be measured of {row.label}: {reasons}")
