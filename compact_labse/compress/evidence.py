"""What a search found, for people and programs: a row per candidate, the front, and what each step gained and cost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compact_labse.compress.budget import Budget
from compact_labse.compress.candidates import Candidate
from compact_labse.compress.search import front
from compact_labse.folder import writing_file
from compact_labse.measure.pages.entries import Entry, Table
from compact_labse.measure.pages.report import markdown_table

LEGEND = (
    "MB are the ONNX file and the tokenizer; ms one sentence of 20 tokens on one thread, tokenizing and model; kept is "
    "the worst ratio of a candidate's figures to the original's on text that nothing was trained on."
)
FITS, LOOKED_AT, TRAINED = "fits", "untrained", "made"
TOO_LARGE, TOO_SLOW, REFUSED = "too large", "too slow", "refused by a gate"


@dataclass(kw_only=True)
class Row:
    """A candidate.

    `least` are bytes and milliseconds that it has at least, known without making anything; `predicted` those of an
    untrained model of its shape; `look` is the quality before training; `bytes`, `latency` and `quality` are those of
    the artifact. `state` says how far it came, `why` why not further.
    """

    candidate: Candidate
    state: str
    least: tuple[float, float] = (0.0, 0.0)
    predicted: Mapping[str, Any] = field(default_factory=dict)
    look: float | None = None
    bytes: int | None = None
    latency: float | None = None
    quality: float | None = None
    ratios: Mapping[str, float] = field(default_factory=dict)
    why: str = ""
    chosen: bool = False

    @property
    def figures(self) -> tuple[float, float, float]:
        """Bytes, milliseconds and quality: of the artifact if there is one, else as predicted and before training."""
        if self.quality is not None:
            return float(self.bytes or 0), float(self.latency or 0), self.quality
        size, latency = (self.predicted["bytes"], self.predicted["latency"]) if self.predicted else self.least
        return float(size), float(latency), self.look or 0.0

    def meets(self, budget: Budget) -> bool:
        """Whether there is an artifact and it is within all limits."""
        size, latency, quality = self.figures
        return self.quality is not None and budget.fits(size, latency) and quality >= budget.min_quality

    def record(self) -> dict[str, Any]:
        """The row as plain JSON values."""
        fields = {name: value for name, value in vars(self).items() if name != "candidate"}
        return {"title": self.candidate.title, "candidate": self.candidate.record(), **fields}


def front_table(rows: Sequence[Row], title: str) -> Table:
    """The Pareto front of the rows that were judged: an artifact's figures, or a prediction and a look."""
    judged = [row for row in rows if row.state in (LOOKED_AT, TRAINED)]
    header = ["candidate", "MB", "ms", "kept untrained", "kept", ""]
    return Table(title=title, header=header, rows=[_entries(row) for row in front(judged, lambda row: row.figures)])


def _entries(row: Row) -> list[Entry]:
    size, latency, _ = row.figures
    kept = ["" if value is None else f"{value:.4f}" for value in (row.look, row.quality)]
    mark = "chosen" if row.chosen else row.state
    return [Entry(text) for text in (row.candidate.title, f"{size / 1e6:.2f}", f"{latency:.2f}", *kept, mark)]


def all_table(rows: Sequence[Row]) -> Table:
    """Every candidate that was proposed."""
    header = ["candidate", "MB predicted", "MB made", "ms predicted", "ms made", "kept untrained", "kept", "state"]
    found = []
    for row in rows:
        size = row.predicted["bytes"] if row.predicted else row.least[0]
        texts = [
            row.candidate.title,
            f"{'' if row.predicted else 'at least '}{size / 1e6:.3f}",
            "" if row.bytes is None else f"{row.bytes / 1e6:.3f}",
            f"{row.predicted['latency']:.2f}" if row.predicted else "",
            "" if row.latency is None else f"{row.latency:.2f}",
            "" if row.look is None else f"{row.look:.4f}",
            "" if row.quality is None else f"{row.quality:.4f}",
            "chosen" if row.chosen else f"{row.state}{': ' if row.why else ''}{row.why}",
        ]
        found.append([Entry(text) for text in texts])
    return Table(title="All candidates", header=header, rows=found)


def steps_table(steps: Sequence[Mapping[str, Any]]) -> Table:
    """What each step from the original to the artifact gained and cost; steps as `attribution` gives them."""
    header = ["step", "MB", "smaller", "ms", "faster", "kept", "lost"]
    found, before = [], None
    for one in steps:
        ratios = ["" if before is None else f"{before[name] / one[name]:.2f}x" for name in ("bytes", "latency")]
        lost = "" if before is None else f"{before['quality'] - one['quality']:+.4f}"
        texts = [one["step"], f"{one['bytes'] / 1e6:.2f}", ratios[0], f"{one['latency']:.2f}", ratios[1]]
        found.append([Entry(text) for text in (*texts, f"{one['quality']:.4f}", lost)])
        before = one
    return Table(title="What each step gained and cost", header=header, rows=found)


def page(title: str, budget: Budget, rows: Sequence[Row], steps: Sequence[Mapping[str, Any]], command: str) -> str:
    """The evidence as Markdown."""
    chosen = next((row for row in rows if row.chosen), None)
    tables = [front_table(rows, "Pareto front"), *([steps_table(steps)] if steps else []), all_table(rows)]
    lines = [
        f"# {title}",
        f"Budget: {budget}. Made by `{command}`.",
        f"Chosen: **{chosen.candidate.title}**." if chosen else "Nothing meets the budget.",
        LEGEND,
    ]
    for table in tables:
        lines += [f"## {table.title}", markdown_table(table)]
    return "\n\n".join(lines) + "\n"


def write(folder: Path, rows: Sequence[Row], text: str) -> None:
    """`candidates.jsonl` and `compress.md` in `folder`, each replaced in one step."""
    records = "".join(json.dumps(row.record(), ensure_ascii=False) + "\n" for row in rows)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("candidates.jsonl", records), ("compress.md", text)):
        with writing_file(folder / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
