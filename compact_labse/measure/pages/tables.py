"""The tables of a report, as data: the terminal, Markdown and HTML only differ in how they draw them."""

from __future__ import annotations

from collections.abc import Sequence

from compact_labse.measure.pages.detail_tables import (
    batches_table,
    mteb_table,
    quantized_table,
    retrieval_table,
    separation_table,
    similarity_table,
    truncated_table,
    unseen_table,
)
from compact_labse.measure.pages.entries import ABSENT, Entry, Table, number
from compact_labse.measure.pages.machine_tables import (
    edge_table,
    limits_table,
    machine_notes,
    main_cells,
    memory_table,
    power_table,
    shapes_table,
)
from compact_labse.measure.pages.quality_tables import agreement_table, kept_table, quality_table, weakest_table
from compact_labse.measure.pages.summary import Speed, Summary

_MB = 1e6


def tables(summary: Summary) -> list[Table]:
    """Speed, size, quality and its details, agreement with the teacher; a table without figures is left out."""
    languages = (weakest_table, unseen_table)
    details = (
        retrieval_table,
        similarity_table,
        separation_table,
        quantized_table,
        truncated_table,
        batches_table,
        mteb_table,
    )
    machine = (shapes_table, limits_table, memory_table, power_table, edge_table)
    makers = (speed_table, size_table, quality_table, kept_table, *languages, agreement_table, *details, *machine)
    made = [make(summary) for make in makers]
    return [_without_empty_columns(table) for table in made if table is not None]


def speed_table(summary: Summary) -> Table | None:
    """Per cell: tokenizing, model p50 and p95 (ms) or sentences/s, and the ratio to the reference."""
    cells = main_cells(summary)
    if not cells:
        return None
    header = ["model"]
    for cell in cells:
        header += _speed_header(cell)
    rows = [
        [Entry(row.label, row.label)] + [e for cell in cells for e in _speed_entries(cell, row.speeds.get(cell))]
        for row in summary.rows
    ]
    return Table(title="Speed", header=header, rows=rows)


def size_table(summary: Summary) -> Table:
    """What must be shipped and what it costs in memory and at the start."""
    header = [
        "model",
        "runtime",
        "dim",
        "file MB",
        "tokenizer MB",
        "smaller",
        "cold start ms",
        "peak MB",
        "before load MB",
    ]
    reference = summary.reference.model["artifact_bytes"]
    rows = []
    for row in summary.rows:
        size = row.model["artifact_bytes"]
        rows.append(
            [
                Entry(row.label, row.label),
                Entry(row.model["runtime"], row.model["runtime"]),
                number(row.model["dim"], 0),
                number(size / _MB if size else None, 1),
                number(row.model["tokenizer_bytes"] / _MB, 1),
                number(reference / size if size and reference else None, 1, "×"),
                number(row.cold_start_ms, 0),
                number(row.peak_bytes / _MB if row.peak_bytes else None, 0),
                number(row.baseline_bytes / _MB if row.baseline_bytes else None, 0),
            ]
        )
    return Table(title="Size and memory", header=header, rows=rows)


def ratio_text(speed: Speed) -> Entry:
    """`2.6×`, or `tie` where the spread of the rounds covers 1; `?` after a single round, `†` across runs."""
    found = speed.versus
    if found is None:
        return Entry(ABSENT)
    mark = "" if speed.interleaved else "†"
    note = f"{found.low:.2f} to {found.high:.2f} over {found.rounds} rounds"
    if found.verdict == "tie":
        return Entry(f"tie{mark}", found.ratio, f"{found.ratio:.2f}×, {note}")
    return Entry(f"{_ratio(found.ratio)}×{'?' if found.verdict == 'unjudged' else ''}{mark}", found.ratio, note)


def footnotes(summary: Summary) -> list[str]:
    """What a reader must know to read the tables."""
    notes = []
    speeds = [speed for row in summary.rows for speed in row.speeds.values() if not speed.cell.startswith("long")]
    if speeds:
        counts = _range([speed.rounds for speed in speeds])
        median = "of one round" if counts == "1" else f"median of {counts} interleaved rounds"
        notes.append(
            f"Columns batch×tokens hold milliseconds per batch, one fresh process per figure, {median}; `tok` is "
            f"tokenizing. {_spread(speeds)}`vs` is speed relative to {summary.reference.label}; a difference that the "
            f"spread covers is a tie."
        )
    if any(speed.versus and speed.versus.verdict == "unjudged" for speed in speeds):
        notes.append("`?`: a single round, so noise cannot be judged.")
    if any(not speed.interleaved for speed in speeds):
        notes.append("`†`: not measured in the same run as the reference; drift of the machine may show.")
    notes += [f"Not trained on {unseen}: {', '.join(labels)}." for unseen, labels in _untrained(summary).items()]
    if summary.older:
        notes.append(f"{summary.older} older results (other machine, versions or evaluation text) are left out.")
    notes += machine_notes(summary)
    return notes + [_failure(row.label, failure) for row in summary.rows for failure in row.failures]


def _spread(speeds: Sequence[Speed]) -> str:
    repeated = [speed for speed in speeds if speed.rounds > 1]
    if not repeated:
        return ""
    widest = max(repeated, key=lambda speed: speed.spread)
    return f"The rounds of a figure spread by ±{widest.spread:.0f} % at most ({widest.cell}). "


def _failure(label: str, failure: str) -> str:
    what, absent, reason = failure.partition(": not measured: ")
    return f"Not measured: {label}, {what}: {reason}" if absent else f"Failed: {label}, {failure}"


def _untrained(summary: Summary) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in summary.rows:
        codes = {code for values in row.quality.values() for code in values["untrained"]}
        if codes:
            found.setdefault(" ".join(sorted(codes)), []).append(row.label)
    return found


def _without_empty_columns(table: Table) -> Table:
    kept = [n for n in range(len(table.header)) if n == 0 or any(row[n].text != ABSENT for row in table.rows)]
    rows = [[row[n] for n in kept] for row in table.rows]
    return Table(title=table.title, header=[table.header[n] for n in kept], rows=rows)


def _speed_header(cell: str) -> list[str]:
    if cell.startswith("text"):
        return [f"{cell} sentences/s", "tok %", "vs"]
    shape = cell.replace("x", "×")
    return [f"{shape} tok", f"{shape} p50", f"{shape} p95", "vs"]


def _speed_entries(cell: str, speed: Speed | None) -> list[Entry]:
    if speed is None:
        return [Entry(ABSENT)] * len(_speed_header(cell))
    note = speed.rounds_text
    if speed.p95 is None:
        return [number(speed.main, 0, note=note), number(100 * speed.tokenize, 0), ratio_text(speed)]
    return [number(speed.tokenize, 3), number(speed.main, 3, note=note), number(speed.p95, 3), ratio_text(speed)]


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value < 2 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"
