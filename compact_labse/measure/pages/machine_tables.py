"""The tables of what a model asks of a machine: speed by shape, share of the limits, memory over time, edge checks."""

from __future__ import annotations

from compact_labse.measure.pages.entries import ABSENT, Entry, Table, number
from compact_labse.measure.pages.summary import Row, Summary
from compact_labse.measure.speed.roofline import products_in

FEW_CELLS = 4  # as many fit beside each other with all their columns
_MB = 1e6


def main_cells(summary: Summary) -> list[str]:
    """The cells of the main table: all if they are few, else real text and two shapes; long runs have their own."""
    shown = [cell for cell in summary.cells if not cell.startswith("long")]
    if len(shown) <= FEW_CELLS:
        return shown
    return [cell for cell in shown if cell.startswith(("text", "1x20", "32x20"))]


def shapes_table(summary: Summary) -> Table | None:
    """Median milliseconds per batch of the shapes that the main table leaves out."""
    left = [cell for cell in summary.cells if cell not in main_cells(summary) and not cell.startswith("long")]
    if not left:
        return None
    return Table(
        title="Milliseconds by batch × tokens (@threads)",
        header=["model", *(cell.replace("x", "×") for cell in left)],
        rows=[[Entry(row.label, row.label), *(_shape(row, cell) for cell in left)] for row in summary.rows],
    )


def _shape(row: Row, cell: str) -> Entry:
    speed = row.speeds.get(cell)
    if speed is None:
        return Entry(ABSENT)
    versus = f", {speed.versus.ratio:.2f}× ({speed.versus.verdict})" if speed.versus else ""
    return number(speed.main, 3, note=f"{speed.rounds_text}{versus}")


def limits_table(summary: Summary) -> Table | None:
    """The share of the machine's limit on one thread, by shape; hovering shows the figures."""
    found = {row.label: row.more["roofline"][""] for row in summary.rows if "roofline" in row.more}
    if not found:
        return None
    cells = list(dict.fromkeys(cell for values in found.values() for cell in values["cells"]))
    rows = []
    for label, values in found.items():
        peak = max(each["ops_per_s"] for each in values["peaks"][products_in(values["dtype"])]) / 1e9
        entries = [_limit(values["cells"].get(cell)) for cell in cells]
        rows.append([Entry(label, label), Entry(values["dtype"], values["dtype"]), number(peak, 0), *entries])
    header = ["model", "format", "peak Gop/s", *(cell.replace("x", "×") for cell in cells)]
    return Table(title="Share of the machine's limit", header=header, rows=rows)


def _limit(values: dict[str, float] | None) -> Entry:
    if values is None:
        return Entry(ABSENT)
    note = f"{values['gops_per_s']:,} of {values['limit_gops_per_s']:,} Gop/s, bound by {values['bound']}"
    return number(100 * values["share"], 0, " %", note)


def memory_table(summary: Summary) -> Table | None:
    """Long runs: sentences, resident memory at their peak, and its growth per 1,000 sentences."""
    rows = []
    for row in summary.rows:
        for values in row.more.get("long", {}).values():
            peak, growth = values["memory"]["peak"] / _MB, values["growth"] / _MB
            figures = [number(values["sentences"], 0), number(peak, 0), number(growth, 3)]
            rows.append([Entry(row.label, row.label), *figures])
    header = ["model", "sentences", "peak MB", "growth MB per 1,000"]
    return Table(title="Memory over a long run", header=header, rows=rows) if rows else None


def power_table(summary: Summary) -> Table | None:
    """Power, energy per 1,000 sentences and the graphics card's memory and use, where counters gave them."""
    rows = []
    for row in summary.rows:
        for cell, values in row.more.get("meters", {}).items():
            if cell in main_cells(summary):
                card = values.get("card_bytes")
                figures = [number(values.get("watts"), 1, note=values.get("source", ""))]
                figures += [number(values.get("joules_per_1000"), 3)]
                figures += [number(card / _MB if card else None, 0), number(values.get("card_use"), 0)]
                rows.append([Entry(row.label, row.label), Entry(cell, cell), *figures])
    header = ["model", "cell", "watts", "joules per 1,000 sentences", "card MB", "card use %"]
    return Table(title="Energy and graphics card", header=header, rows=rows) if rows else None


def edge_table(summary: Summary) -> Table | None:
    """What was checked for phones: vectors on an emulated ARM processor, LiteRT's own benchmark."""
    rows = []
    for row in summary.rows:
        for check, values in row.more.get("edge", {}).items():
            cosine, time = values.get("worst_cosine"), values.get("mean_ms")
            figures = [number(cosine, 5), number(time, 3)]
            rows.append([Entry(row.label, row.label), Entry(check, check), *figures])
    return Table(title="Edge checks", header=["model", "check", "worst cosine", "ms"], rows=rows) if rows else None


def machine_notes(summary: Summary) -> list[str]:
    """What a reader must know of energy, and of artifacts that are not of our contract."""
    reasons = {row.more["energy"][""].get("not_measured") for row in summary.rows if "energy" in row.more}
    notes = [f"Energy was not measured: {reason}." for reason in sorted(filter(None, reasons))]
    for row in summary.rows:
        notes += [f"{row.label}: {mark}" for mark in row.model.get("marks", ())]
    return notes
