"""The report as one HTML page that needs no network: plots, steps, sortable tables, heat maps, pictures, commands."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from compact_labse.measure.pages.entries import Entry, Table
from compact_labse.measure.pages.page_data import embedded, plot_data, space_data
from compact_labse.measure.pages.page_heat import heat_map
from compact_labse.measure.pages.page_steps import points, waterfall
from compact_labse.measure.pages.quality_tables import column_title
from compact_labse.measure.pages.summary import Row, Speed, Summary
from compact_labse.measure.pages.tables import footnotes, tables

_TEMPLATE = Path(__file__).with_name("page.html")
_CARDS = 6


def html(summary: Summary) -> str:
    """The whole page. All text from records is escaped; nothing is loaded from elsewhere."""
    plots, space = plot_data(summary), space_data(summary)
    fields = {
        "title": escape(_title(summary)),
        "style": _TEMPLATE.with_suffix(".css").read_text(encoding="utf-8"),
        "lead": _lead(summary),
        "cards": "".join(_card(row, summary) for row in summary.rows[1 : 1 + _CARDS]),
        "tables": "".join(_table(table) for table in tables(summary)),
        "notes": "".join(f"<li>{_code_marks(escape(note))}</li>" for note in footnotes(summary)),
        "waterfall": waterfall(summary),
        "heatmaps": "".join(heat_map(name, summary) for name in summary.datasets),
        "environment": _definitions({**summary.machine, "versions": summary.versions}),
        "models": "".join(_model(row) for row in summary.rows),
        "commands": escape("\n".join(summary.commands)),
        "data": embedded({"plots": plots, "space": space}),
        "script": _TEMPLATE.with_suffix(".js").read_text(encoding="utf-8"),
    }
    page = _TEMPLATE.read_text(encoding="utf-8")
    for name, empty in (
        ("plots", not plots["first"]),
        ("steps", not fields["waterfall"]),
        ("heat", not summary.datasets),
        ("space", space is None),
    ):
        page = _without(page, name) if empty else page
    # In one pass, so that nothing in a record is taken for a place.
    parts = page.split("<!--")
    return parts[0] + "".join(_filled(part, fields) for part in parts[1:])


def _filled(part: str, fields: dict[str, str]) -> str:
    name, _, rest = part.partition("-->")
    return fields.get(name, "") + rest


def _without(page: str, name: str) -> str:
    """The page without its parts between `<!--begin name-->` and `<!--end name-->`."""
    first, *rest = page.split(f"<!--begin {name}-->")
    return first + "".join(part.partition(f"<!--end {name}-->")[2] for part in rest)


def _title(summary: Summary) -> str:
    others = [row.label for row in summary.rows[1:]]
    if not others:
        return f"Benchmark of {summary.reference.label}"
    return f"{summary.reference.label} against {', '.join(others) if len(others) < 4 else f'{len(others)} others'}"


def _lead(summary: Summary) -> str:
    first, last = (date[:10] for date in summary.dates)
    when = first if first == last else f"{first} to {last}"
    cpu = f"{summary.machine['cpu']}, {summary.machine['cores']} cores"
    return f"{len(summary.rows)} artifacts · {escape(cpu)} · {when}"


def _card(row: Row, summary: Summary) -> str:
    """The headline figures of one artifact against the reference."""
    facts = []
    size, whole = row.model["artifact_bytes"], summary.reference.model["artifact_bytes"]
    if size and whole:
        ratio, word = (whole / size, "smaller") if whole >= size else (size / whole, "larger")
        change = (f"{ratio:.1f}×", word) if round(ratio, 1) > 1 else ("same", "size")
        facts.append((*change, f"{size / 1e6:.1f} MB"))
    for cell in ("text", *summary.cells):
        speed = row.speeds.get(cell)
        if speed and speed.versus:
            facts.append((*_speed_words(speed), f"{speed.main:,.0f} sentences/s" if speed.p95 is None else cell))
            break
    for dataset, values in row.quality.items():
        measure, name = values["measures"][0], values["headline"]
        theirs = summary.reference.quality.get(dataset, {}).get("means", {}).get(name)
        mine = values["means"][name][measure]
        delta = f"{points(mine - theirs[measure])} points" if theirs else ""
        facts.append((f"{mine:.1f}", column_title(dataset, name, measure), delta))
    shown = "".join(
        f"<div><b>{escape(big)}</b><span>{escape(what)}</span><small>{escape(more)}</small></div>"
        for big, what, more in facts
    )
    return f'<article class="card"><h3>{escape(row.label)}</h3><div class="facts">{shown}</div></article>'


def _speed_words(speed: Speed) -> tuple[str, str]:
    found = speed.versus
    assert found is not None
    if found.verdict == "tie":
        return "tie", "in speed"
    ratio, word = (found.ratio, "faster") if found.ratio >= 1 else (1 / found.ratio, "slower")
    return f"{ratio:.1f}×" if ratio < 100 else f"{ratio:.0f}×", word


def _table(table: Table) -> str:
    words = [all(isinstance(row[n].value, str) for row in table.rows) for n in range(len(table.header))]
    marks = [' class="words"' if word else "" for word in words]
    head = "".join(
        f'<th scope="col" tabindex="0"{mark}>{escape(name)}</th>'
        for name, mark in zip(table.header, marks, strict=True)
    )
    body = "".join(
        f"<tr>{''.join(_entry(entry, mark) for entry, mark in zip(row, marks, strict=True))}</tr>" for row in table.rows
    )
    return (
        f'<h3>{escape(table.title)}</h3><div class="scroll"><table class="sortable">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _entry(entry: Entry, mark: str) -> str:
    value = "" if entry.value is None else f' data-value="{escape(str(entry.value))}"'
    note = f' title="{escape(entry.note)}"' if entry.note else ""
    return f"<td{value}{note}{mark}>{escape(entry.text)}</td>"


def _definitions(fields: dict[str, Any]) -> str:
    parts = []
    for key, value in fields.items():
        if isinstance(value, dict):
            value = ", ".join(f"{name} {version}" for name, version in value.items())
        elif isinstance(value, list):
            value = ", ".join(map(str, value)) or "none of interest"
        parts.append(f"<dt>{escape(key.replace('_', ' '))}</dt><dd>{escape(str(value))}</dd>")
    return f"<dl>{''.join(parts)}</dl>"


def _model(row: Row) -> str:
    trained = row.model.get("trained")
    named = f"; trained on {len(trained)} languages" if trained else ""
    marks = "".join(f"; {escape(str(mark))}" for mark in row.model.get("marks") or ())
    return (
        f"<li><b>{escape(row.label)}</b> <code>{escape(row.model['spec'])}</code> "
        f"<span class='hash'>{escape(row.model['hash'][:16])}</span>{named}{marks}</li>"
    )


def _code_marks(text: str) -> str:
    parts = text.split("`")
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))
