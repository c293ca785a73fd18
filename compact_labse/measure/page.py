"""The report as one HTML page that needs no network: plots, sortable tables, a heat map, environment, commands."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import Any

from compact_labse.measure.entries import Entry, Table
from compact_labse.measure.plot import Point, scatter
from compact_labse.measure.quality_tables import DIRECTIONS, column_title
from compact_labse.measure.summary import Row, Summary
from compact_labse.measure.tables import footnotes, tables

_TEMPLATE = Path(__file__).with_name("page.html")


def html(summary: Summary) -> str:
    """The whole page. All text from records is escaped; nothing is loaded from elsewhere."""
    fields = {
        "title": _title(summary),
        "lead": _lead(summary),
        "cards": "".join(_card(row, summary) for row in summary.rows[1:]),
        "plots": _plots(summary),
        "tables": "".join(_table(table) for table in tables(summary)),
        "notes": "".join(f"<li>{_code_marks(escape(note))}</li>" for note in footnotes(summary)),
        "heatmaps": "".join(_heatmap(name, summary) for name in summary.datasets),
        "environment": _definitions({**summary.machine, "versions": summary.versions}),
        "models": "".join(_model(row) for row in summary.rows),
        "commands": escape("\n".join(summary.commands)),
    }
    page = _TEMPLATE.read_text(encoding="utf-8")
    for name, value in fields.items():
        page = page.replace(f"<!--{name}-->", escape(value) if name == "title" else value)
    return page


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
        facts.append((f"{whole / size:.1f}×", "smaller", f"{size / 1e6:.1f} MB"))
    for cell in ("text", *summary.cells):
        speed = row.speeds.get(cell)
        if speed and speed.versus:
            tie = speed.versus.verdict == "tie"
            shown = "tie" if tie else f"{speed.versus.ratio:.1f}×"
            facts.append(
                (
                    shown,
                    "in speed" if tie else "the speed",
                    f"{speed.main:,.0f} sentences/s" if cell == "text" else cell,
                )
            )
            break
    for dataset, values in row.quality.items():
        measure, name = values["measures"][0], values["headline"]
        theirs = summary.reference.quality.get(dataset, {}).get("means", {}).get(name)
        mine = values["means"][name][measure]
        delta = f"{mine - theirs[measure]:+.1f} points".replace("-", "−") if theirs else ""
        facts.append((f"{mine:.1f}", column_title(dataset, name, measure), delta))
    shown = "".join(
        f"<div><b>{escape(big)}</b><span>{escape(what)}</span><small>{escape(more)}</small></div>"
        for big, what, more in facts
    )
    return f'<article class="card"><h3>{escape(row.label)}</h3><div class="facts">{shown}</div></article>'


def _plots(summary: Summary) -> str:
    """Accuracy over size, and over speed, on the first data set that some artifact was measured on."""
    if not summary.datasets:
        return ""
    dataset = summary.datasets[0]
    sizes, speeds = [], []
    y_label = ""
    groups = sorted({row.model["runtime"] for row in summary.rows})
    for row in summary.rows:
        values = row.quality.get(dataset)
        if values is None:
            continue
        measure, name = values["measures"][0], values["headline"]
        y, group = values["means"][name][measure], groups.index(row.model["runtime"])
        y_label = f"{column_title(dataset, name, measure)}, {'%' if measure != 'spearman' else '×100'}"
        size, speed = row.model["artifact_bytes"] / 1e6, row.speeds.get("text")
        detail = _detail(row, y)
        if size:
            sizes.append(Point(label=row.label, x=size, y=y, group=group, detail=detail))
        if speed:
            speeds.append(Point(label=row.label, x=speed.main, y=y, group=group, detail=detail))
    made = []
    if sizes:
        made.append(("Accuracy and size", scatter(sizes, x_label="file size, MB", y_label=y_label, small_is_good=True)))
    if speeds:
        svg = scatter(speeds, x_label="real text, sentences per second", y_label=y_label, small_is_good=False)
        made.append(("Accuracy and speed", svg))
    legend = "".join(f'<span class="g{i % 6}"><i></i>{escape(name)}</span>' for i, name in enumerate(groups))
    figures = "".join(f"<figure><figcaption>{title}</figcaption>{svg}</figure>" for title, svg in made)
    legend += '<span class="line"><i></i>nothing here is better on both axes</span>'
    return f'<div class="plots">{figures}</div><p class="legend">{legend}</p>'


def _detail(row: Row, accuracy: float) -> str:
    parts = [f"{row.model['artifact_bytes'] / 1e6:.1f} MB", f"{accuracy:.1f}"]
    parts += [
        f"{speed.main:,.0f} sentences/s"
        if cell.startswith("text")
        else f"{cell.replace('x', '×')}: {speed.main:.2f} ms"
        for cell, speed in row.speeds.items()
    ]
    return " · ".join(parts)


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


def _heatmap(dataset: str, summary: Summary) -> str:
    """Languages down, artifacts across, worst languages of the reference first; buttons switch the measure."""
    rows = [row for row in summary.rows if dataset in row.quality]
    measures = rows[0].quality[dataset]["measures"]
    languages = dict.fromkeys(code for row in rows for code in row.quality[dataset]["languages"])
    buttons = "".join(
        f'<button data-measure="{m}" aria-pressed="{str(i == 0).lower()}">{DIRECTIONS.get(m, m)}</button>'
        for i, m in enumerate(measures)
    )
    head = "".join(f'<th scope="col">{_breakable(row.label)}</th>' for row in rows)
    body = "".join(
        f'<tr><th scope="row">{escape(code)}</th>{"".join(_heat(row.quality[dataset], code) for row in rows)}</tr>'
        for code in sorted(languages)
    )
    return (
        f'<section class="heat"><h3>{escape(dataset)}</h3><div class="buttons">{buttons}</div>'
        f'<div class="scroll"><table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        "</section>"
    )


def _breakable(label: str) -> str:
    return re.sub("([/_-])", r"\1<wbr>", escape(label))


def _heat(values: dict[str, Any], code: str) -> str:
    found = values["languages"].get(code)
    if found is None:
        return "<td></td>"
    measures = values["measures"]
    data = "".join(f' data-{measure.replace("_", "-")}="{found[measure]:.1f}"' for measure in measures)
    unseen = code in values.get("untrained", [])
    marks = ' class="unseen" title="not in the training languages"' if unseen else ""
    first = found[measures[0]]
    return f'<td{data}{marks} style="--v:{max(0.0, min(100.0, first)):.1f}">{first:.1f}</td>'


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
    return (
        f"<li><b>{escape(row.label)}</b> <code>{escape(row.model['spec'])}</code> "
        f"<span class='hash'>{escape(row.model['hash'][:16])}</span>{named}</li>"
    )


def _code_marks(text: str) -> str:
    parts = text.split("`")
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))
