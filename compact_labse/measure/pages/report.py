"""A summary as a terminal table and as Markdown; `page.py` makes the HTML."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from compact_labse.folder import writing_file
from compact_labse.measure.pages.entries import Table
from compact_labse.measure.pages.page import html
from compact_labse.measure.pages.summary import Summary
from compact_labse.measure.pages.tables import footnotes, tables


def print_report(summary: Summary, file: TextIO | None = None) -> None:
    """Print all tables and notes: drawn on a terminal, aligned plain text in a pipe."""
    out = file or sys.stdout
    for table in tables(summary):
        print_table(table, out)
    for note in footnotes(summary):
        print(note.replace("`", ""), file=out)


def print_table(table: Table, file: TextIO) -> None:
    """Print one table; columns of figures are right-aligned."""
    if file.isatty():
        _print_rich(table, file)
        return
    print(table.title, file=file)
    lines = [table.header, *([entry.text for entry in row] for row in table.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.header))]
    for line in lines:
        first, *rest = (
            text.ljust(w) if i == 0 else text.rjust(w) for i, (text, w) in enumerate(zip(line, widths, strict=True))
        )
        print("  ".join([first, *rest]).rstrip(), file=file)
    print(file=file)


def _print_rich(table: Table, file: TextIO) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table as Drawn

    drawn = Drawn(title=table.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, name in enumerate(table.header):
        drawn.add_column(name, justify="right" if number else "left", overflow="fold")
    for row in table.rows:
        drawn.add_row(*(entry.text for entry in row))
    Console(file=file).print(drawn)


def markdown(summary: Summary, *, level: int = 2) -> str:
    """All tables, notes and the environment as GitHub Markdown, headings from `level`."""
    parts = []
    for table in tables(summary):
        parts += [f"{'#' * level} {table.title}", markdown_table(table)]
    parts += ["\n".join(f"- {note}" for note in footnotes(summary)), environment_line(summary)]
    return "\n\n".join(filter(None, parts)) + "\n"


def markdown_table(table: Table) -> str:
    """One table as GitHub Markdown, figures right-aligned."""
    lines = [table.header, ["---"] + ["---:"] * (len(table.header) - 1)]
    lines += [[entry.text.replace("|", "\\|") for entry in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def environment_line(summary: Summary) -> str:
    """One sentence that names the machine, the versions and the date."""
    machine, versions = summary.machine, summary.versions
    flags = ", ".join(machine["flags"]) or "none of interest"
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"Measured {summary.dates[1][:10]} on {machine['cpu']} ({machine['cores']} cores, {machine['memory_gb']} GB, "
        f"flags: {flags}), {machine['system']}, Python {machine['python']}, {packages}."
    )


def write_report(summary: Summary, folder: Path) -> list[Path]:
    """Write `report.html` and `report.md` into `folder`, each replaced in one step; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, text in (("report.html", html(summary)), ("report.md", markdown(summary))):
        with writing_file(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
        paths.append(folder / name)
    return paths


def to_json(summary: Summary) -> str:
    """The summary as indented JSON, for other programs."""
    return json.dumps(asdict(summary), indent=2, ensure_ascii=False)
